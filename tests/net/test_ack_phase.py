"""When packets go over the relay: two talkers, the relay between them, and TCP's delayed acknowledgements."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

import pytest

from streamcodec.net.ack_phase import LONGEST_HOLD_MS, AckPhase, Segments

DELAYED_MS = 40.0


@dataclass
class End:
    """One end of a TCP connection as Linux acknowledges small segments: with data, after 40 ms, or at the second."""

    unacknowledged_ms: list[float] = field(default_factory=list)
    bare: int = 0
    sent: int = 0

    def hear(self, now_ms: float) -> None:
        self.unacknowledged_ms.append(now_ms)
        if len(self.unacknowledged_ms) == 2:
            self.bare += 1
            self.unacknowledged_ms.clear()

    def send(self, now_ms: float) -> None:
        self.tick(now_ms)
        self.sent += 1
        self.unacknowledged_ms.clear()

    def tick(self, now_ms: float) -> None:
        if self.unacknowledged_ms and now_ms - self.unacknowledged_ms[0] >= DELAYED_MS:
            self.bare += 1
            self.unacknowledged_ms.clear()


def bare_per_packet(
    packet_ms: float, offset_ms: float, *, jitter_ms: float = 2.0, transit_ms: float = 1.0, controlled: bool = True
) -> tuple[float, list[float]]:
    """Bare acknowledgements beside packets on both connections in the last of ten seconds, and what is held."""
    rng = random.Random(1)
    phases = [AckPhase(), AckPhase()]
    ends, far_ends = [End(), End()], [End(), End()]
    events: list[tuple[float, int, str, int]] = []
    order = 0

    def at(when_ms: float, what: str, who: int) -> None:
        nonlocal order
        order += 1
        heapq.heappush(events, (when_ms, order, what, who))

    for who, start_ms in enumerate((0.0, offset_ms)):
        for index in range(round(10_000 / packet_ms)):
            at(start_ms + index * packet_ms + rng.uniform(0.0, jitter_ms), "speak", who)
    for tick in range(5_000):
        at(2.0 * tick, "tick", 0)
    before = (0, 0)
    while events:
        now_ms, _, what, who = heapq.heappop(events)
        if what == "speak":
            at(now_ms + phases[who].hold_ms * controlled, "send", who)
        elif what == "send":
            phases[who].send(now_ms)
            ends[who].send(now_ms)
            at(now_ms + transit_ms, "relay", who)
        elif what == "relay":
            far_ends[who].hear(now_ms)
            far_ends[1 - who].send(now_ms)
            at(now_ms + transit_ms, "hear", 1 - who)
        elif what == "hear":
            ends[who].hear(now_ms)
            phases[who].hear(now_ms)
        else:
            for end in (*ends, *far_ends):
                end.tick(now_ms)
            if now_ms % 250 == 0:
                for me, phase in enumerate(phases):
                    phase.note(Segments(ends[me].bare + far_ends[me].bare, ends[me].sent), me == 0, now_ms)
            if now_ms == 6_000:
                before = counted(ends, far_ends)
    bare, sent = counted(ends, far_ends)
    return (bare - before[0]) / (sent - before[1]), [phase.hold_ms for phase in phases]


def counted(ends: list[End], far_ends: list[End]) -> tuple[int, int]:
    return sum(end.bare for end in ends + far_ends), sum(end.sent for end in ends)


@pytest.mark.parametrize("packet_ms", [20.0, 40.0, 60.0])
def test_whatever_the_phase_tcp_soon_acknowledges_with_packets(packet_ms: float) -> None:
    found = [bare_per_packet(packet_ms, share * packet_ms) for share in (0.0, 0.01, 0.15, 0.3, 0.5, 0.7, 0.85, 0.98)]
    assert max(bare for bare, _ in found) < 0.06
    assert all(min(held) == 0.0 and max(held) <= LONGEST_HOLD_MS for _, held in found)
    unmended = [bare_per_packet(packet_ms, share * packet_ms, controlled=False)[0] for share in (0.0, 0.01)]
    assert max(unmended) > 0.2


def test_where_nothing_is_to_be_won_nothing_is_held() -> None:
    for jitter_ms, transit_ms in ((120.0, 1.0), (2.0, 12.5)):
        # No phase at all; a way so long that any phase is too late for one of the two.
        _, held = bare_per_packet(60.0, 5.0, jitter_ms=jitter_ms, transit_ms=transit_ms)
        assert max(held) < 12.0
    quiet = AckPhase()
    for index in range(500):
        quiet.hear(20.0 * index)
        quiet.send(20.0 * index + 9.0)
        quiet.note(Segments(0, index), True, 20.0 * index)
    assert quiet.hold_ms == 0.0
