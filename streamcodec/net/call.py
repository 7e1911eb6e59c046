"""A call: push your samples, pull everyone else's; rooms, paths, loss and rates are looked after."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from streamcodec.net.codec_thread import CAPACITY_JOBS, CodecThread
from streamcodec.net.jitter_buffer import JitterStats
from streamcodec.net.media import OURSELVES, Media, MediaConfig
from streamcodec.net.playout import Decoder, PlayoutStats
from streamcodec.net.redundancy import RedundantForm
from streamcodec.net.room import Room, RoomConfig
from streamcodec.net.session import Encoder, ReceiverStats, SenderStats
from streamcodec.net.signalling import PeerInfo
from streamcodec.net.time_scale import Samples

TICK_S = 0.1
_NOTHING_YET = ReceiverStats(JitterStats(), PlayoutStats(), damaged=0, incomplete=0, talking=False)


@dataclass(frozen=True, slots=True)
class CallConfig:
    """How to be in a call."""

    room: RoomConfig
    media: MediaConfig = field(default_factory=MediaConfig)
    queue_jobs: int = CAPACITY_JOBS
    """Blocks and datagrams that may wait for the codec's thread; what comes beyond is dropped and counted."""
    bitstreams: frozenset[str] = frozenset()
    """What our decoders read, ``bitstreams_read(model)``; whoever says to send something else is not played. Empty:
    whoever comes is."""


@dataclass(frozen=True, slots=True)
class PeerStats:
    """One other person in the call."""

    name: str
    path: str
    """``direct``, ``relay`` or ``none``."""
    round_trip_ms: float | None
    stream: ReceiverStats
    foreign: str = ""
    """What this person sends, where that is none of our bitstreams."""


@dataclass(frozen=True, slots=True)
class Came:
    """Somebody has entered the room."""

    identity: str
    name: str


@dataclass(frozen=True, slots=True)
class Left:
    """Somebody has gone, or has been out of reach for too long."""

    identity: str
    name: str


@dataclass(frozen=True, slots=True)
class Talking:
    """Somebody has begun or stopped talking; an ``identity`` of ``""`` is ourselves."""

    identity: str
    name: str
    talking: bool


CallEvent = Came | Left | Talking


class Call:
    """``async with Call(config, encoder, make_decoder) as call``, then :meth:`push` and :meth:`pull`.

    ``encoder`` and the decoders that ``make_decoder`` makes run at the call's sample rate, one decoder for each peer.
    ``encode_redundant`` makes redundant copies (see :mod:`streamcodec.net.redundancy`). ``on_event`` hears who comes,
    leaves and talks, on the event loop, and must not block. Everything that codes runs on a thread of the call's own,
    and encoder and decoders belong to it; all methods belong to the event loop's thread, and none holds the loop up.
    ``clock_s`` is a monotonic clock. Set ``muted`` at any moment.
    """

    def __init__(
        self,
        config: CallConfig,
        encoder: Encoder,
        make_decoder: Callable[[], Decoder],
        encode_redundant: RedundantForm | None = None,
        on_event: Callable[[CallEvent], None] = lambda event: None,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.muted = False
        """While set, silence is sent in place of what is pushed."""
        self._on_event = on_event
        self._clock_s = clock_s
        self._media = Media(config.media, encoder, make_decoder, encode_redundant)
        self._stats = self._media.stats
        self._talking: set[str] = set()
        self._codec = CodecThread(config.queue_jobs)
        self._room = Room(config.room, self._receive, self._come_or_go)

    async def __aenter__(self) -> Call:
        self._codec.start()
        try:
            await self._room.__aenter__()
        except BaseException:
            await self._codec.stop()
            raise
        self._ticker = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *exit_info: object) -> None:
        self._ticker.cancel()
        if self._codec.failure is None:
            for datagram in await self._codec.run(self._finish, refusable=False) or []:
                self._room.send(datagram)
        await self._room.__aexit__(*exit_info)
        await self._codec.stop()

    @property
    def peers(self) -> dict[str, PeerStats]:
        """Everyone else, by identity; figures are as of the last block pushed or pulled."""
        paths, stats = self._room.paths, self._stats
        return {
            identity: PeerStats(
                info.name,
                paths[identity],
                stats.round_trips_ms.get(identity),
                stats.receivers.get(identity, _NOTHING_YET),
                "" if self._understands(info) else info.bitstream,
            )
            for identity, info in self._room.peers.items()
        }

    @property
    def talking(self) -> bool:
        """Whether we are heard talking: never while muted."""
        return OURSELVES in self._talking

    @property
    def level_rms(self) -> float:
        """Loudness of what we send."""
        return self._stats.level_rms

    @property
    def sender_stats(self) -> SenderStats:
        """What we send, as of the last block."""
        return self._stats.sender

    @property
    def refused(self) -> int:
        """Blocks and datagrams dropped because the codec's thread was too far behind."""
        return self._codec.refused

    @property
    def failed(self) -> Exception | None:
        """Why the call cannot go on, if it cannot."""
        return self._codec.failure or self._room.failed

    def push(self, samples: Samples) -> None:
        """Send the next samples of the microphone; silence instead while ``muted``.

        Shape: ``[n]``, float32, any n; ``[n, channels]`` where the encoder has several.
        """
        block, muted = np.array(samples), self.muted
        self._codec.post(lambda: self._encode(block, muted))

    async def pull(self, count_samples: int) -> Samples:
        """The next samples for the loudspeaker: everyone, mixed. Silence where the codec cannot keep up.

        Shape: ``[count]``, within full scale; ``[count, channels]`` for more than one. Errors: what the codec raised.
        """
        now_ms = self._now_ms()
        samples = await self._codec.run(lambda: self._decode(now_ms, count_samples))
        if samples is None:
            if self._codec.failure is not None:
                raise self._codec.failure
            channels = self.config.media.channels
            return np.zeros(count_samples if channels == 1 else (count_samples, channels), np.float32)
        return samples

    # -- on the codec's thread ----------------------------------------------------------------------------------

    def _encode(self, samples: Samples, muted: bool) -> None:
        datagrams = self._media.push(samples, muted=muted)
        self._note()
        if datagrams:
            self._codec.call_back(lambda: self._send(datagrams))

    def _decode(self, now_ms: float, count_samples: int) -> Samples:
        samples = self._media.pull(now_ms, count_samples)
        self._note()
        return samples

    def _finish(self) -> list[bytes]:
        datagrams = self._media.flush()
        self._note()
        return datagrams

    def _report(self, now_ms: float) -> None:
        reports = self._media.tick(now_ms)
        if reports:
            self._codec.call_back(lambda: self._send_reports(reports))

    def _note(self) -> None:
        """Let the other thread see how it goes: in one reference, to something that no longer changes."""
        self._stats = self._media.stats
        changes = self._media.voice_activity_changes()
        if changes:
            self._codec.call_back(lambda: self._tell(changes))

    # -- on the event loop --------------------------------------------------------------------------------------

    def _now_ms(self) -> float:
        return self._clock_s() * 1_000.0

    def _send(self, datagrams: list[bytes]) -> None:
        for datagram in datagrams:
            self._room.send(datagram)

    def _send_reports(self, reports: list[tuple[str, bytes]]) -> None:
        for identity, report in reports:
            self._room.send(report, identity)

    def _tell(self, changes: list[tuple[str, bool]]) -> None:
        peers = self._room.peers
        for identity, talking in changes:
            if talking:
                self._talking.add(identity)
            else:
                self._talking.discard(identity)
            if identity == OURSELVES or identity in peers:
                name = peers[identity].name if identity in peers else self.config.room.client.name
                self._on_event(Talking(identity, name, talking))

    def _receive(self, identity: str, datagram: bytes) -> None:
        now_ms = self._now_ms()
        self._codec.post(lambda: self._media.receive(identity, datagram, now_ms))

    def _understands(self, info: PeerInfo) -> bool:
        """Whether somebody's packets mean here what they mean there, as far as either side has said."""
        return not info.bitstream or not self.config.bitstreams or info.bitstream in self.config.bitstreams

    def _come_or_go(self, info: PeerInfo, present: bool) -> None:
        identity = info.identity
        if present:
            if self._understands(info):
                self._codec.post(lambda: self._media.come(identity), refusable=False)
            self._on_event(Came(identity, info.name))
        else:
            self._codec.post(lambda: self._media.leave(identity), refusable=False)
            if identity in self._talking:
                self._talking.discard(identity)
                self._on_event(Talking(identity, info.name, False))
            self._on_event(Left(identity, info.name))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now_ms = self._now_ms()
            self._codec.post(lambda now_ms=now_ms: self._report(now_ms))  # type: ignore[misc]
