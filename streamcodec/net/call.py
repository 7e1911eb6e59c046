"""A call: push your samples, pull everyone else's; rooms, paths, loss and rates are looked after."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from streamcodec.codec.audio_format import as_floats
from streamcodec.codec.bitstream import bitstream_of, bitstreams_read
from streamcodec.codec.options import DEFAULT_MODEL, check_whole
from streamcodec.codec.packet import Tier
from streamcodec.codec.stream import StreamDecoder, StreamEncoder
from streamcodec.errors import AudioFormatError
from streamcodec.net.client import ClientConfig, failure_of
from streamcodec.net.codec_thread import CAPACITY_JOBS, CodecThread
from streamcodec.net.congestion import CongestionConfig
from streamcodec.net.e2e import SealState, room_key_from_passphrase
from streamcodec.net.jitter_types import JitterStats
from streamcodec.net.media import OURSELVES, Media, MediaConfig
from streamcodec.net.pacing import Pacer
from streamcodec.net.playout import Decoder, PlayoutStats
from streamcodec.net.redundancy import RedundantForm
from streamcodec.net.relay.rate_limit import RateLimit
from streamcodec.net.room import Room, RoomConfig
from streamcodec.net.sender_bounds import SenderBounds
from streamcodec.net.session import Encoder, ReceiverStats, SenderStats
from streamcodec.net.signalling import PeerInfo
from streamcodec.net.time_scale import Samples
from streamcodec.net.trouble import Status, Trouble, sentence
from streamcodec.net.wire_meter import RateMeter, WireBytes, WireStats
from streamcodec.net.wire_rate import SendPlan, WireRateConfig

TICK_S = 0.1
TICKS_PER_NOTE = 10
STATUS_EVERY_S = 5.0
"""A status is told when it changes, and again so often: the relay may have lost one."""
STATUSES = (3.0, 8.0)
"""Told per second, and at once: with exchanges of keys below what relays take, which hang up on who signals more."""
_NOTHING_YET = ReceiverStats(JitterStats(), PlayoutStats(), damaged=0, incomplete=0, talking=False)


@dataclass(frozen=True, slots=True)
class CallConfig:
    """How to be in a call."""

    room: RoomConfig
    media: MediaConfig = field(default_factory=MediaConfig)
    queue_jobs: int = CAPACITY_JOBS
    """Blocks and datagrams that may wait for the codec's thread; what comes beyond is dropped and counted."""
    wire_bps: int | None = None
    """Keep to this rate on the wire in sending, headers and acknowledgements included: packet length, payload rate
    and redundancy are chosen, and changed during the call, to make the most of it. None: as ``media`` says."""
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
    troubles: tuple[Trouble, ...] = ()
    """Why this person is not heard, or does not hear us, as far as it is known; most serious first."""
    refused: int = 0
    """Datagrams beyond what one person may send."""
    verification: str = ""
    """Eight digits that this peer's screen shows too unless a third party sits between; empty without passphrase."""
    seal: SealState = SealState.NONE
    """How it stands with the encryption; where it is ``silent`` neither hears the other, and the name is the relay's
    word."""

    def sentences(self) -> dict[Trouble, str]:
        """The troubles in words."""
        return {trouble: sentence(trouble, self.name, bitstream=self.foreign) for trouble in self.troubles}


@dataclass(frozen=True, slots=True)
class Came:
    """A peer has entered the room."""

    identity: str
    name: str


@dataclass(frozen=True, slots=True)
class Left:
    """A peer has left, or has been out of reach for too long."""

    identity: str
    name: str


@dataclass(frozen=True, slots=True)
class Talking:
    """A peer has begun or stopped talking; an ``identity`` of ``""`` stands for this end."""

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
    ``clock_s`` is a monotonic clock. Set ``muted`` at any moment, and ``silent_microphone`` where it is known.
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
        """While set, silence is sent in place of what is pushed; the others are told."""
        self.silent_microphone = False
        """Set by whoever knows that the microphone gives nothing; the others are told."""
        self._on_event = on_event
        self._clock_s = clock_s
        media = config.media
        if config.wire_bps is not None:
            media = replace(media, wire=WireRateConfig(config.wire_bps, redundancy=media.redundancy))
        self._media = Media(media, encoder, make_decoder, encode_redundant)
        self._stats = self._media.stats
        self._talking: set[str] = set()
        self._wire_meter, self._wire = RateMeter(), WireStats()
        self._ways = (0, 0)
        self._codec = CodecThread(config.queue_jobs)
        self._room = Room(config.room, self._receive, self._come_or_go)
        self._bounds: dict[str, SenderBounds] = {}
        self._told: dict[str, tuple[Status, float]] = {}
        self._statuses = RateLimit(*STATUSES)
        spoken_rate_hz = config.media.spoken_rate_hz or config.media.sample_rate_hz
        self._pacer = Pacer(spoken_rate_hz, self._post_block, self._post_pause)
        self._pacing: asyncio.Task[None] | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._spoken_shape: tuple[int, ...] | None = None
        """Of one sample pushed, once there was any."""

    @classmethod
    def join(
        cls,
        url: str,
        room: str,
        *,
        name: str = "",
        sample_rate_hz: int = 24_000,
        bitrate_bps: int | None = None,
        wire_bps: int | None = None,
        token: str = "",
        passphrase: str | None = None,
        model: str = DEFAULT_MODEL,
        on_event: Callable[[CallEvent], None] = lambda event: None,
    ) -> Call:
        """A call for the common case: neural tier, mono, the usual limits; ``async with Call.join(...) as call``.

        ``bitrate_bps`` is the payload's highest rate (6,000 unless said otherwise), ``wire_bps`` the rate on the wire
        to keep to. With a ``passphrase`` the call is sealed end to end. Errors: AudioFormatError, BitrateError,
        ModelError, StreamcodecError for arguments that do not fit; entering raises what ``RelayClient`` raises.
        """
        congestion = CongestionConfig()
        if bitrate_bps is not None:
            congestion = replace(congestion, start_bps=bitrate_bps, maximum_bps=bitrate_bps)
        encoder = StreamEncoder(sample_rate_hz, congestion.start_bps, model=model)
        client = ClientConfig(url, room, name=name, token=token, bitstream=bitstream_of(Tier.NEURAL, model))
        key = None if passphrase is None else room_key_from_passphrase(passphrase, room)
        config = CallConfig(
            RoomConfig(client, key),
            MediaConfig(sample_rate_hz, congestion=congestion),
            wire_bps=wire_bps,
            bitstreams=bitstreams_read(model),
        )

        def make_decoder() -> StreamDecoder:
            return StreamDecoder(sample_rate_hz, model=model)

        return cls(config, encoder, make_decoder, encoder.encode_redundant, on_event)

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
        assert self._ticker is not None
        self._ticker.cancel()
        self.clear()
        try:
            if self._codec.failure is None:
                counted = self._room.reaches_anyone
                for datagram in await self._codec.run(lambda: self._finish(counted), refusable=False) or []:
                    self._room.send(datagram)
        finally:
            try:
                await self._room.__aexit__(*exit_info)
            finally:
                await self._codec.stop()

    @property
    def peers(self) -> dict[str, PeerStats]:
        """Every peer, by identity, and those with whom no key could be agreed on, once it is known why; figures are
        as of the last block pushed or pulled."""
        room, stats = self._room, self._stats
        paths, seals, verifications, troubles = room.paths, room.seals, room.verifications, room.troubles
        strangers = {identity: info for identity, info in room.strangers.items() if seals[identity].silent}
        return {
            identity: PeerStats(
                info.name,
                paths.get(identity, "none"),
                stats.round_trips_ms.get(identity),
                stats.receivers.get(identity, _NOTHING_YET),
                "" if self._understands(info) else info.bitstream,
                (*troubles[identity], *(() if self._understands(info) else (Trouble.FOREIGN,))),
                self._bounds[identity].refused if identity in self._bounds else 0,
                verifications.get(identity, ""),
                seals[identity],
            )
            for identity, info in {**room.peers, **strangers}.items()
        }

    @property
    def talking(self) -> bool:
        """Whether we are heard talking: never while muted."""
        return OURSELVES in self._talking

    @property
    def may_speak(self) -> bool:
        """Whether our token lets us speak; else what is pushed goes to nobody."""
        return self._room.grants[0]

    @property
    def may_hear(self) -> bool:
        """Whether our token lets us hear the others."""
        return self._room.grants[1]

    @property
    def level_rms(self) -> float:
        """Loudness of what we send."""
        return self._stats.level_rms

    @property
    def not_finite(self) -> int:
        """Samples pushed that were NaN or infinite: they are sent as silence and as the loudest sample, and told once
        (StreamcodecWarning)."""
        return self._stats.not_finite

    @property
    def sender_stats(self) -> SenderStats:
        """What has gone out to anybody, as of the last block."""
        return self._stats.sender

    @property
    def wire(self) -> WireStats:
        """What the call costs on the wire in both directions, headers and acknowledgements included."""
        return self._wire

    @property
    def plan(self) -> SendPlan | None:
        """How the rate on the wire is spent now; None where none was asked for."""
        return self._stats.plan

    @property
    def wire_bytes(self) -> WireBytes:
        """The same as bytes since the start, as of now."""
        return self._room.wire_bytes

    @property
    def unopened(self) -> int:
        """Datagrams and signals of the others whose seal could not be opened."""
        return self._room.stats.unopened

    @property
    def refused(self) -> int:
        """Blocks and datagrams dropped because the codec's thread was too far behind."""
        return self._codec.refused

    @property
    def failed(self) -> Exception | None:
        """Why the call cannot go on, if it cannot."""
        return self._codec.failure or self._room.failed or failure_of(self._ticker)

    def push(self, samples: Samples, *, live: bool = False) -> None:
        """Send the next samples; silence instead while ``muted``.

        They may come faster than real time, as synthesised speech does: they wait here and go out at the pace at
        which they are heard, and nothing need be pushed where nobody speaks. With ``live`` they come from a device at
        its own pace, without pauses, and go out at once.

        Shape: ``[n]``, float32, float64 (full scale 1) or int16, any n; ``[n, channels]`` where the encoder has
        several. Errors: AudioFormatError for anything else; StreamcodecError where more than ten minutes would wait.
        """
        block = as_floats(samples)
        if self._spoken_shape not in (None, block.shape[1:]):
            raise AudioFormatError(
                f"sound of a call keeps its number of channels: got shape {block.shape} after blocks of "
                f"{self._spoken_shape or 'one channel'}"
            )
        self._spoken_shape = block.shape[1:]
        if live:
            self._pacer.passed_by(self._clock_s())
            self._post_block(block)
            return
        self._pacer.push(block, self._clock_s())
        if self._pacer.queued_s and (self._pacing is None or self._pacing.done()):
            self._pacing = asyncio.create_task(self._pace())

    @property
    def queued_s(self) -> float:
        """Sound pushed that waits for its time, in seconds."""
        return self._pacer.queued_s

    async def drained(self) -> None:
        """Wait until everything pushed has been sent, or cleared."""
        while self._pacer.queued_s and self._pacing is not None and not self._pacing.done():
            await asyncio.sleep(min(0.1, self._pacer.queued_s))

    def clear(self) -> float:
        """Drop what was pushed and waits for its time, as when a speaking machine is interrupted.

        Returns the seconds of sound dropped; at most 0.12 s more may already be on their way.
        """
        return self._pacer.clear()

    async def pull(self, count_samples: int) -> Samples:
        """The next samples for the loudspeaker: everyone, mixed. Silence where the codec cannot keep up.

        Shape: ``[count]``, within full scale; ``[count, channels]`` for more than one. Errors: AudioFormatError for a
        count below 0 or no whole number; what the codec raised.
        """
        count_samples = check_whole("count_samples", count_samples)
        if count_samples < 0:
            raise AudioFormatError(f"count_samples must be at least 0, got {count_samples}")
        now_ms = self._now_ms()
        samples = await self._codec.run(lambda: self._decode(now_ms, count_samples))
        if samples is None:
            if self._codec.failure is not None:
                raise self._codec.failure
            channels = self.config.media.channels
            return np.zeros(count_samples if channels == 1 else (count_samples, channels), np.float32)
        return samples

    # -- on the codec's thread ----------------------------------------------------------------------------------

    def _encode(self, samples: Samples, muted: bool, counted: bool) -> None:
        datagrams = self._media.push(samples, muted=muted, counted=counted)
        self._note()
        if datagrams:
            self._codec.call_back(lambda: self._send(datagrams))

    def _decode(self, now_ms: float, count_samples: int) -> Samples:
        samples = self._media.pull(now_ms, count_samples)
        self._note()
        return samples

    def _finish(self, counted: bool) -> list[bytes]:
        datagrams = self._media.flush(counted=counted)
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

    def _post_block(self, block: Samples) -> None:
        muted, counted = self.muted, self._room.reaches_anyone
        self._codec.post(lambda: self._encode(block, muted, counted))

    def _post_pause(self, pause_s: float) -> None:
        self._codec.post(lambda: self._media.pause(1_000.0 * pause_s))

    async def _pace(self) -> None:
        while (wait_s := self._pacer.step(self._clock_s())) is not None:
            await asyncio.sleep(wait_s)

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
        now_s = self._clock_s()
        bounds = self._bounds.get(identity)
        form = self._stats.receivers.get(identity, _NOTHING_YET).format
        if bounds is None or not bounds.take(len(datagram), None if form is None else form.tier, now_s):
            return

        def work() -> None:
            self._media.receive(identity, datagram, now_s * 1_000.0)
            bounds.done()

        if not self._codec.post(work):
            bounds.untaken()

    def _tell_status(self, now_s: float) -> None:
        """Tell everybody how we are, where that is news or was said some time ago; who has waited longest first."""
        due: list[tuple[float, str, Status]] = []
        for identity, info in self._room.peers.items():
            status = Status(self.muted, self.silent_microphone, not self._understands(info))
            told, told_s = self._told.get(identity, (None, float("-inf")))
            if status != told or now_s - told_s > STATUS_EVERY_S:
                due.append((told_s, identity, status))
        for _, identity, status in sorted(due, key=lambda item: item[0]):
            if not self._statuses.allow(now_s):
                break
            self._told[identity] = (status, now_s)
            self._room.tell_status(identity, status)

    def _understands(self, info: PeerInfo) -> bool:
        """Whether a peer's packets can be decoded here, as far as either side has told its bitstream."""
        return not info.bitstream or not self.config.bitstreams or info.bitstream in self.config.bitstreams

    def _come_or_go(self, info: PeerInfo, present: bool) -> None:
        identity = info.identity
        self._told.pop(identity, None)
        if present:
            self._bounds[identity] = SenderBounds(self.config.queue_jobs)
            if self._understands(info):
                self._codec.post(lambda: self._media.come(identity), refusable=False)
            self._on_event(Came(identity, info.name))
        else:
            self._bounds.pop(identity, None)
            self._codec.post(lambda: self._media.leave(identity), refusable=False)
            if identity in self._talking:
                self._talking.discard(identity)
                self._on_event(Talking(identity, info.name, False))
            self._on_event(Left(identity, info.name))

    async def _tick(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(TICK_S)
            now_ms = self._now_ms()
            self._wire = self._wire_meter.note(self._room.wire_bytes, now_ms / 1_000.0)
            self._codec.post(lambda now_ms=now_ms: self._report(now_ms))  # type: ignore[misc]
            self._tell_status(now_ms / 1_000.0)
            ticks += 1
            self._note_wire(now_ms, measured=ticks % TICKS_PER_NOTE == 0)

    def _note_wire(self, now_ms: float, *, measured: bool) -> None:
        """Tell the sender what its packets go over, when that changes, and what that was seen to cost."""
        peers, sent_bps = self._room.peers, self._wire.sent_bps
        # To whom the relay lets nothing pass nothing is sent.
        paths = [path for identity, path in self._room.paths.items() if peers[identity].hears]
        direct, relayed = paths.count("direct"), paths.count("relay")
        # One message to the relay does for all, if it is to go to all.
        ways = (direct, relayed if direct else min(relayed, 1))
        if ways != self._ways:
            seal_bytes = self._room.seal_bytes
            if self._codec.post(lambda: self._media.note_paths(*ways, seal_bytes, now_ms)):
                self._ways = ways
        if measured:
            self._codec.post(lambda: self._media.note_wire(sent_bps, now_ms))
