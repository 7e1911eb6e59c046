"""A sender, a network and a receiver on one simulated clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from streamcodec.codec.packet import Packet, PacketFlags, RedundantCopy, Tier
from streamcodec.net.jitter_buffer import JitterBuffer
from streamcodec.net.jitter_types import FRAME_MS, JitterConfig, Lost, Play, Silence, TimeScale


def packet(
    index: int, *, sequence: int | None = None, flags: PacketFlags = PacketFlags.KEY, redundancy: int = 0
) -> Packet:
    """Packet number ``index`` of a stream; its payload tells who it is, so that a test can see what was played."""
    return Packet(
        tier=Tier.NEURAL,
        sequence=(index if sequence is None else sequence) % 65536,
        timestamp=index % 65536,
        quality_index=8,
        flags=flags,
        payload=b"p%d" % index,
        redundant=tuple(
            RedundantCopy(age, 2, PacketFlags.KEY, b"c%d" % (index - age))
            for age in range(1, redundancy + 1)
            if index >= age
        ),
    )


@dataclass
class Receiver:
    """Asks the buffer for a packet whenever its (simulated) decoded sound runs out; scaling adds or removes 6 ms."""

    buffer: JitterBuffer = field(default_factory=lambda: JitterBuffer(JitterConfig()))
    tick_ms: float = 10.0
    queued_ms: float = 0.0
    decisions: list[object] = field(default_factory=list)
    keep: bool = True

    def tick(self, now_ms: float) -> None:
        while self.queued_ms < self.tick_ms:
            decision = self.buffer.get(now_ms, self.tick_ms)
            if self.keep:
                self.decisions.append(decision)
            if isinstance(decision, Play):
                expanding = decision.scale in (TimeScale.EXPAND, TimeScale.EXPAND_IN_PAUSE, TimeScale.EXPAND_NOW)
                self.queued_ms += FRAME_MS + (decision.scale is not TimeScale.KEEP) * (6.0 if expanding else -6.0)
            elif isinstance(decision, Lost | Silence):
                self.queued_ms += FRAME_MS
            else:
                self.queued_ms = self.tick_ms
        self.queued_ms -= self.tick_ms


def run(
    receiver: Receiver,
    packets: int,
    *,
    delay_ms: Callable[[int], float | None],
    drift: float = 0.0,
    first: int = 0,
    make: Callable[[int], Packet] = packet,
    each_tick: Callable[[float], None] | None = None,
) -> float:
    """Send ``packets`` packets; ``delay_ms(i)`` is the transit time of packet i, None when it is lost.

    ``drift`` is how much faster the sender's clock runs. Returns the receiver's clock at the end.
    """
    in_flight: list[tuple[float, int]] = []
    sent = 0
    tick = 0
    while sent < packets or in_flight:
        now_ms = tick * receiver.tick_ms
        while sent < packets and (sent + 1) * FRAME_MS / (1 + drift) <= now_ms:
            delay = delay_ms(first + sent)
            if delay is not None:
                heapq.heappush(in_flight, ((sent + 1) * FRAME_MS / (1 + drift) + delay, first + sent))
            sent += 1
        while in_flight and in_flight[0][0] <= now_ms:
            arrival_ms, index = heapq.heappop(in_flight)
            receiver.buffer.put(make(index), arrival_ms)
        receiver.tick(now_ms)
        if each_tick is not None:
            each_tick(now_ms)
        tick += 1
    return tick * receiver.tick_ms
