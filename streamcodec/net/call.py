"""A call: push your samples, pull everyone else's; rooms, paths, loss and rates are looked after."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from streamcodec.net.congestion import CongestionConfig
from streamcodec.net.jitter_buffer import JitterConfig
from streamcodec.net.mixer import Mixer
from streamcodec.net.playout import Decoder
from streamcodec.net.redundancy import Coarser
from streamcodec.net.room import Room, RoomConfig
from streamcodec.net.session import Encoder, MediaReceiver, MediaSender, ReceiverStats, SenderStats
from streamcodec.net.signalling import PeerInfo
from streamcodec.net.time_scale import Samples

TICK_S = 0.1


@dataclass(frozen=True, slots=True)
class CallConfig:
    """How to be in a call."""

    room: RoomConfig
    sample_rate_hz: int = 24_000
    congestion: CongestionConfig = field(default_factory=CongestionConfig)
    jitter: JitterConfig = field(default_factory=JitterConfig)
    copies: int | None = None
    """Redundant copies in each packet; None follows the receivers' reports."""


@dataclass(frozen=True, slots=True)
class PeerStats:
    """One other person in the call."""

    name: str
    path: str
    """``direct``, ``relay`` or ``none``."""
    round_trip_ms: float | None
    stream: ReceiverStats


class Call:
    """``async with Call(config, encoder, make_decoder) as call``, then :meth:`push` and :meth:`pull`.

    ``encoder`` and the decoders that ``make_decoder`` makes run at ``sample_rate_hz``, one decoder for each peer.
    ``coarser`` makes redundant copies (see :mod:`streamcodec.net.redundancy`). All methods belong to the event loop's
    thread. ``clock_s`` is a monotonic clock.
    """

    def __init__(
        self,
        config: CallConfig,
        encoder: Encoder,
        make_decoder: Callable[[], Decoder],
        coarser: Coarser | None = None,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.muted = False
        self._make_decoder = make_decoder
        self._clock_s = clock_s
        self._sender = MediaSender(encoder, coarser, config.congestion, config.copies)
        self._receivers: dict[str, MediaReceiver] = {}
        self._mixer = Mixer(config.sample_rate_hz)
        self._room = Room(config.room, self._receive, self._come_or_go)

    async def __aenter__(self) -> Call:
        await self._room.__aenter__()
        self._ticker = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *exit_info: object) -> None:
        self._ticker.cancel()
        for datagram in self._sender.flush():
            self._room.send(datagram)
        await self._room.__aexit__(*exit_info)

    @property
    def peers(self) -> dict[str, PeerStats]:
        """Everyone else, by identity."""
        paths, round_trips_ms = self._room.paths, self._sender.round_trips_ms
        return {
            identity: PeerStats(
                info.name, paths[identity], round_trips_ms.get(identity), self._receivers[identity].stats
            )
            for identity, info in self._room.peers.items()
        }

    @property
    def sender_stats(self) -> SenderStats:
        """What we send."""
        return self._sender.stats

    @property
    def failed(self) -> Exception | None:
        """Why the call cannot go on, if it cannot."""
        return self._room.failed

    def push(self, samples: Samples) -> None:
        """Send the next samples of the microphone; silence instead while ``muted``.

        Shape: ``[n]``, float32, any n.
        """
        if self.muted:
            samples = np.zeros_like(samples)
        for datagram in self._sender.push(samples):
            self._room.send(datagram)

    def pull(self, count_samples: int) -> Samples:
        """The next samples for the loudspeaker: everyone, mixed.

        Shape: ``[count]``, within full scale.
        """
        now_ms = self._now_ms()
        blocks = [receiver.pull(now_ms, count_samples) for receiver in self._receivers.values()]
        return self._mixer.mix(blocks, count_samples)

    # -- inside -------------------------------------------------------------------------------------------------

    def _now_ms(self) -> float:
        return self._clock_s() * 1_000.0

    def _receive(self, identity: str, datagram: bytes) -> None:
        receiver = self._receivers.get(identity)
        if receiver is None:
            return
        now_ms = self._now_ms()
        report = receiver.receive(datagram, now_ms)
        if report is not None:
            self._sender.hear_report(identity, report, now_ms)

    def _come_or_go(self, info: PeerInfo, present: bool) -> None:
        if present:
            self._receivers[info.identity] = MediaReceiver(
                self._make_decoder(), self.config.sample_rate_hz, self.config.jitter
            )
        else:
            self._receivers.pop(info.identity, None)
            self._sender.forget(info.identity)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now_ms = self._now_ms()
            self._sender.tick(now_ms)
            for identity, receiver in self._receivers.items():
                report = receiver.report(now_ms)
                if report is not None:
                    self._room.send(report, identity)
