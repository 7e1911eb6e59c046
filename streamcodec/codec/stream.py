"""The classes that callers use, the same for all tiers: push sound, get packets; push packets or None, get sound."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from streamcodec.codec.audio_format import FiniteSamples, as_array
from streamcodec.codec.options import (
    DEFAULT_BITRATE_BPS,
    DEFAULT_KEY_PERIOD_S,
    FRAME_MS,
    DecoderOptions,
    EncoderOptions,
    NeuralOptions,
    Optimise,
    PacketMode,
    Samples,
    TierName,
    check_number,
    encoder_options,
    tier_of,
)
from streamcodec.codec.packet import MAX_FRAMES, SEQUENCE_MODULUS, Packet, Tier
from streamcodec.codec.registry import (
    RECENT_PACKETS,
    AdjustableEncoder,
    BridgingDecoder,
    EncodedBlock,
    PlanningEncoder,
    RedundantEncoder,
    TierDecoder,
    TierEncoder,
    make_tier_decoder,
    make_tier_encoder,
)
from streamcodec.errors import AudioFormatError, BitrateError, PacketError
from streamcodec.models.shipped import DEFAULT_MODEL
from streamcodec.runtime.backend import Backend
from streamcodec.wording import named

STATE_SETTINGS = (
    "tier",
    "sample_rate_hz",
    "channels",
    "bits_per_sample",
    "model",
    "packet_ms",
    "mode",
    "post_filter",
    "bitrate_bps",
    "constrained",
    "dtx",
    "key_period_s",
    "ratio",
    "snr_db",
    "step_index",
    "optimise",
)
"""What two streams must have alike for one to go on from the state of the other."""


@dataclass
class EncoderState:
    """Snapshot of a :class:`StreamEncoder`."""

    engine: Any
    pending: Samples
    sequence: int
    timestamp: int
    recent: tuple[int, ...] = ()
    settings: EncoderOptions | None = None
    """Of the encoder that it is from; it fits encoders of the same."""


@dataclass
class DecoderState:
    """Snapshot of a :class:`StreamDecoder`."""

    engine: Any
    settings: DecoderOptions | None = None
    """Of the decoder that it is from; it fits decoders of the same."""


def frames_of(packet: Packet | bytes | None) -> list[Packet | None]:
    """A packet frame by frame, however it came; one None for one that is lost or damaged.

    Errors: PacketError for what is neither a packet, nor bytes, nor None.
    """
    if isinstance(packet, bytes | bytearray | memoryview):
        try:
            packet = Packet.from_bytes(packet)
        except PacketError:
            packet = None
    if packet is not None and not isinstance(packet, Packet):
        raise PacketError(f"a decoder takes a Packet, its bytes, or None for a lost one, got {type(packet).__name__}")
    if packet is None or packet.frames == 1 or packet.part is not None:
        return [packet]
    return list(packet.each_frame())


def _meant(settings: object, name: str) -> object:
    """What is set, or stands for nothing said."""
    value = getattr(settings, name, None)
    if value is None and isinstance(settings, NeuralOptions):
        usual = {"bitrate_bps": settings.channels * DEFAULT_BITRATE_BPS, "mode": "independent", "packet_ms": FRAME_MS}
        return usual.get(name)
    return value


def _check_state(state: object, kind: type[EncoderState | DecoderState], settings: object) -> None:
    """Raise AudioFormatError for a state of something else; how fast it is stepped makes no difference."""
    if not isinstance(state, kind):
        raise AudioFormatError(f"a state here is of type {kind.__name__}, got {type(state).__name__}")
    if state.settings is None or settings is None:
        return
    differing = [
        f"{name} {before!r} in place of {now!r}"
        for name in STATE_SETTINGS
        if (before := _meant(state.settings, name)) != (now := _meant(settings, name))
    ]
    if differing:
        raise AudioFormatError(f"the state belongs to another stream: {', '.join(differing)}")


class StreamEncoder:
    """Turns live sound into packets, one for each block of 10 to 20 ms.

    ``tier`` says how: ``"neural"`` (8 to 48 kHz, 1 to 24 kbps a channel, mixed down
    to one unless ``channels`` is 2), ``"near-lossless"`` (8 to 96 kHz,
    1 or 2 ``channels``) or ``"lossless"`` (integers of ``bits_per_sample``, 8 to 32, 8 to 384 kHz, up to 8
    ``channels``).

    Rate: ``bitrate_bps`` on average (6,000 where the neural tier is told nothing; it codes voiced packets finer than
    others); the near-lossless tier takes one of ``bitrate_bps``, ``ratio`` (of 16-bit sound, 8 where it is told
    nothing), ``snr_db`` or ``step_index`` (a fixed quantiser step) and is optimised for ``"perceptual"`` quality or
    least squared error (``"mse"``, which ``snr_db`` implies and needs).

    ``mode="independent"`` makes every packet decodable alone (for lossy links); ``"stream"`` lets packets use
    earlier ones, with a key packet every ``key_period_s``, for files and reliable links. The neural tier's default is
    ``"independent"``, the waveform tiers' ``"stream"``.
    ``packet_ms`` (20, 40, ... 120, lossless 100; default 20) puts more into one packet, which takes fewer bits for
    the same quality, most at the lowest rates, and delays by as much. Near-lossless packets come as near to it as 1
    to 6 blocks of 11 to 16 ms do, and hold one block where nothing is said.
    Neural tier only: ``constrained`` keeps every packet within its share of ``bitrate_bps`` instead of meeting
    the rate on average; ``dtx`` sends next to nothing while there is only background; ``backend`` says what steps
    the networks (``"onnxruntime"``, which ``"auto"`` takes, ``"compiled"``, ``"torch"`` or ``"torch-cuda"``; any
    decoder hears any encoder).

    Samples that are NaN or infinite are no error: they are coded as silence and as the loudest sample, counted in
    :attr:`not_finite`, and told once (StreamcodecWarning).

    Errors: AudioFormatError, BackendError, BitrateError, ModelError on arguments or samples that do not fit.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        bitrate_bps: float | None = None,
        *,
        tier: TierName | Tier = "neural",
        channels: int = 1,
        bits_per_sample: int = 16,
        mode: PacketMode | None = None,
        constrained: bool = False,
        dtx: bool = False,
        model: str = DEFAULT_MODEL,
        optimise: Optimise | None = None,
        ratio: float | None = None,
        snr_db: float | None = None,
        step_index: int | None = None,
        key_period_s: float = DEFAULT_KEY_PERIOD_S,
        packet_ms: int | None = None,
        backend: Backend = "auto",
    ) -> None:
        self._start(
            encoder_options(
                tier,
                sample_rate_hz,
                bitrate_bps,
                channels=channels,
                bits_per_sample=bits_per_sample,
                mode=mode,
                constrained=constrained,
                dtx=dtx,
                model=model,
                optimise=optimise,
                ratio=ratio,
                snr_db=snr_db,
                step_index=step_index,
                key_period_s=key_period_s,
                packet_ms=packet_ms,
                backend=backend,
            )
        )

    @classmethod
    def of(cls, settings: EncoderOptions, coder: TierEncoder | None = None) -> StreamEncoder:
        """An encoder of settings, and of a tier's coder, made elsewhere."""
        encoder = cls.__new__(cls)
        encoder._start(settings, coder)
        return encoder

    def _start(self, settings: EncoderOptions, coder: TierEncoder | None = None) -> None:
        self.settings = settings
        self.tier = settings.tier
        self._coder = coder or make_tier_encoder(settings)
        self.sample_rate_hz = int(settings.sample_rate_hz)
        self.block_samples = self._coder.block_samples
        self.frame_samples = self.block_samples // settings.frames
        self._restart()

    def _restart(self) -> None:
        self._pending = self._coder.silence(0)
        self._sequence = 0
        self._timestamp = 0
        self._recent: deque[int] = deque(maxlen=RECENT_PACKETS)
        self._finite = FiniteSamples()

    @property
    def not_finite(self) -> int:
        """Samples pushed since the start of the stream that were NaN or infinite."""
        return self._finite.count

    @property
    def delay_samples(self) -> int:
        """Samples (at ``sample_rate_hz``) by which this side makes the decoded stream lag the input."""
        return self._coder.delay_samples

    @property
    def latency_samples(self) -> int:
        """Delay of this side as heard: the lag, and collecting one packet."""
        return self.delay_samples + self.block_samples

    @property
    def packets_per_second(self) -> float:
        """How many packets a second of sound makes; timestamps count frames, of which a packet may hold several."""
        return self.sample_rate_hz / self.block_samples

    @property
    def state(self) -> EncoderState:
        """A copy of everything remembered; assign it to any encoder of the same settings to go on from there."""
        return EncoderState(
            self._coder.state(),
            self._pending.copy(),
            self._sequence,
            self._timestamp,
            tuple(self._recent),
            self.settings,
        )

    @state.setter
    def state(self, state: EncoderState) -> None:
        wanted = self.settings
        if isinstance(state, EncoderState) and isinstance(wanted, NeuralOptions) and state.settings is not None:
            wanted = replace(wanted, packet_ms=state.settings.packet_ms)
        _check_state(state, EncoderState, wanted)
        if wanted.frames != self.settings.frames:
            self.set_packet_ms(FRAME_MS * wanted.frames)
        self._recent = deque(state.recent, maxlen=RECENT_PACKETS)
        self._coder.restore(state.engine)
        self._pending = state.pending.copy()
        self._sequence = state.sequence
        self._timestamp = state.timestamp

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies (``copy.deepcopy``, ``pickle``) go on by themselves from the same place."""
        return _encoder_from, (self.settings, self.state, self.not_finite)

    def set_bitrate(self, bitrate_bps: float) -> None:
        """Aim at another rate from the next packet on; raises BitrateError."""
        check_number("bitrate_bps", bitrate_bps, BitrateError)
        self._coder.set_bitrate(bitrate_bps)

    def request_key(self) -> None:
        """Make the next packet decode without those before it, as all of the neural tier's usual mode do."""
        self._coder.request_key()

    def set_packet_ms(self, packet_ms: int) -> None:
        """Neural tier: packets of another length (20, 40, ... 120) from the next one on; the sound goes on unbroken.

        Errors: AudioFormatError in the waveform tiers, and for other lengths.
        """
        if not isinstance(self._coder, AdjustableEncoder) or not isinstance(self.settings, NeuralOptions):
            raise AudioFormatError(
                f"packets of this tier are as long as its blocks: {named('packet_ms')} is the neural tier's"
            )
        settings = replace(self.settings, packet_ms=packet_ms)
        self._coder.set_frames(settings.frames)
        self.settings = settings
        self.block_samples = self._coder.block_samples

    @property
    def packet_ms(self) -> float:
        """Sound in one packet."""
        return 1_000.0 * self.block_samples / self.sample_rate_hz

    def reset(self) -> None:
        """Back to the start of a stream."""
        self._coder.reset()
        self._restart()

    def accept(self, samples: object) -> Samples:
        """Samples as they are coded: checked and cleaned, of the tier's type and shape; AudioFormatError."""
        return self._coder.accept(self.as_finite(samples))

    def as_finite(self, samples: object) -> Samples:
        """Samples with NaN at 0 and infinities at the loudest, counted in :attr:`not_finite`; AudioFormatError.

        Shape: as of :meth:`push`, kept.
        """
        return self._finite.clean(as_array(samples))

    def push(self, samples: object) -> list[Packet]:
        """Take any number of samples, return the packets they complete.

        Shape: neural ``[n]`` or ``[n, channels]`` (downmixed; where two are coded ``[n, 2]``), waveform tiers
        ``[n, channels]`` (``[n]`` for one channel), n >= 0. float32, float64 (full scale 1.0) or int16; lossless:
        integers within ``bits_per_sample``.
        """
        blocks, rest = self._cut(self.as_finite(samples))
        packets = self._encode(blocks)
        self._pending = rest.copy()
        return packets

    def _cut(self, samples: object) -> tuple[list[Samples], Samples]:
        """What is pending and these samples, as whole blocks and the rest."""
        sound = self._coder.accept(samples)
        if len(self._pending):
            sound = np.concatenate([self._pending, sound])
        length = self.block_samples
        whole = len(sound) - len(sound) % length
        return [sound[start : start + length] for start in range(0, whole, length)], sound[whole:]

    def flush(self) -> list[Packet]:
        """Packets that carry what is still inside, so that a decoder gives out every sample pushed."""
        blocks = self._coder.closing_blocks(self._pending)
        self._pending = self._coder.silence(0)
        return self._encode(blocks)

    def plan_constant_quality(self, samples: object, budget_s: float, *, ends: bool = False) -> float:
        """Neural tier: look ahead at what will be pushed next, and keep the fractional quality index at which it
        meets the rate.

        A rate followed closely makes speech coarser and pauses finer; where the sound is known before, quality can
        be steady instead. The samples (and what :meth:`flush` adds, if the stream ``ends`` with them) may take
        ``budget_s`` seconds' worth of the bitrate; returns how much of that they leave over. The other tiers do
        nothing.

        Shape: as of :meth:`push`, which must get the same samples next.
        """
        if not isinstance(self._coder, PlanningEncoder):
            return 0.0
        before = self._coder.state()
        blocks, rest = self._cut(samples)
        # To take samples in moves the mixdown along, and they will come again.
        self._coder.restore(before)
        return self._coder.plan_constant_quality(
            [*blocks, *self._coder.closing_blocks(rest)] if ends else blocks, budget_s
        )

    def encode_redundant(self, packet: Packet, share: float = 0.5) -> tuple[int, bytes] | None:
        """(quality index, payload) of one of the last 9 packets at about this share of its rate, to ride along with
        others.

        Where packets have changed their length, ``packet`` may also name a stretch of frames, by ``sequence`` and
        ``frames``, that begins and ends within packets. The payload decodes alone. None for older packets, in stream
        mode and in the waveform tiers. Packets to come are not affected. Errors: PacketError for what is no Packet,
        BitrateError for a share outside 0 to 1.
        """
        if not isinstance(packet, Packet):
            raise PacketError(f"redundant copies are of Packet objects, got {type(packet).__name__}")
        if not 0.0 < check_number("share", share, BitrateError) <= 1.0:
            raise BitrateError(f"share must be above 0 and at most 1, got {share!r}")
        if not isinstance(self._coder, RedundantEncoder):
            return None
        for age, sequence in enumerate(reversed(self._recent)):
            first = (packet.sequence - sequence) % SEQUENCE_MODULUS
            if first < MAX_FRAMES:
                return self._coder.encode_redundant(age, first, packet.frames, packet.quality_index, share)
        return None

    def _encode(self, blocks: Iterable[Samples]) -> list[Packet]:
        packets = []
        for block in blocks:
            packet = self.number(self._coder.encode(block))
            if packet is not None:
                packets.append(packet)
        return packets

    def number(self, encoded: EncodedBlock | None) -> Packet | None:
        """The next packet, of what the tier's coder made of the next block; None where it sends nothing."""
        frames = self.settings.frames
        timestamp = self._timestamp
        self._timestamp = (timestamp + frames) % SEQUENCE_MODULUS
        if encoded is None:
            return None
        sequence = self._sequence
        self._sequence = (sequence + frames) % SEQUENCE_MODULUS
        self._recent.append(sequence)
        return Packet(
            self.tier, sequence, timestamp, encoded.quality_index, encoded.flags, encoded.payload, frames=frames
        )


class StreamDecoder:
    """Turns packets, in order, into sound; every push gives one block (of each frame in the packet), whatever came.

    ``tier``, ``channels`` and ``bits_per_sample`` (lossless) say what comes out; packets of another tier, rate or
    format are foreign. ``backend`` as for :class:`StreamEncoder`, whatever the encoder's. ``post_filter=False``
    leaves out the neural tier's filters for the ear: for sound that is coded again (bridges, mixers, transcoding),
    which is then better by 0.3 PESQ at 6 kbps. Two channels' neural packets do not say so: one channel makes noise of
    them. Never raises on a damaged, foreign or missing packet: those are concealed and counted in :attr:`concealed`.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        *,
        tier: TierName | Tier = "neural",
        channels: int = 1,
        bits_per_sample: int = 16,
        model: str = DEFAULT_MODEL,
        backend: Backend = "auto",
        post_filter: bool = True,
    ) -> None:
        settings = DecoderOptions(
            tier_of(tier), sample_rate_hz, channels, bits_per_sample, model, backend, post_filter
        )
        self._start(settings)

    @classmethod
    def of(cls, settings: DecoderOptions, coder: TierDecoder | None = None) -> StreamDecoder:
        """A decoder of settings, and of a tier's coder, made elsewhere."""
        decoder = cls.__new__(cls)
        decoder._start(settings, coder)
        return decoder

    def _start(self, settings: DecoderOptions, coder: TierDecoder | None = None) -> None:
        self.settings = settings
        self.tier = settings.tier
        self._coder = coder or make_tier_decoder(settings)
        self.sample_rate_hz = int(settings.sample_rate_hz)
        self.concealed = 0

    @property
    def block_samples(self) -> int:
        """Samples of a frame, which is what a push gives for one (a lossless stream's last may be shorter)."""
        return self._coder.block_samples

    @property
    def delay_samples(self) -> int:
        """Samples (at ``sample_rate_hz``) by which this side makes the decoded stream lag the input."""
        return self._coder.delay_samples

    @property
    def state(self) -> DecoderState:
        """A copy of everything remembered; assign it to any decoder of the same settings to go on from there."""
        return DecoderState(self._coder.state(), self.settings)

    @state.setter
    def state(self, state: DecoderState) -> None:
        _check_state(state, DecoderState, self.settings)
        self._coder.restore(state.engine)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies (``copy.deepcopy``, ``pickle``) go on by themselves from the same place."""
        return _decoder_from, (self.settings, self.state, self.concealed)

    def reset(self) -> None:
        """Back to the start of a stream."""
        self._coder.reset()
        self.concealed = 0

    def push(self, packet: Packet | bytes | None, following: Packet | bytes | None = None) -> Samples:
        """Sound of the packet's frames; ``None`` says that the next frame is lost.

        Whoever has the first packet after a gap already, as a jitter buffer often does, gives it as ``following``
        with each None: the neural tier bridges gaps of up to 80 ms between independent packets with it.

        Shape: output neural float32 ``[frames * block_samples]`` (of two channels ``[..., 2]``), within full scale;
        near-lossless float32 ``[block_samples, channels]``; lossless the same in int16 (up to 16 bits) or int32.
        """
        if following is not None:
            first = frames_of(following)[0]
            if packet is None and first is not None and isinstance(self._coder, BridgingDecoder):
                self.concealed += 1
                return self._coder.bridge(first)
        frames = frames_of(packet)
        if len(frames) == 1:
            return self._push_frame(frames[0])
        return np.concatenate([self._push_frame(frame) for frame in frames])

    def _push_frame(self, packet: Packet | None) -> Samples:
        sound, usable = self._coder.decode(packet)
        if not usable:
            self.concealed += 1
        return sound

    def flush(self) -> Samples:
        """What is still inside: the neural tier's tail of the last overlap and of the resampler.

        Shape: output as of :meth:`push`; neural ``[delay_samples]``, waveform tiers of length 0.
        """
        return self._coder.drain()

    def silence(self, samples: int) -> Samples:
        """So many samples of silence, of the type and shape of what :meth:`push` gives."""
        return self._coder.silence(samples)


def _encoder_from(settings: EncoderOptions, state: EncoderState, not_finite: int) -> StreamEncoder:
    encoder = StreamEncoder.of(settings)
    encoder.state = state
    encoder._finite.count = not_finite
    return encoder


def _decoder_from(settings: DecoderOptions, state: DecoderState, concealed: int) -> StreamDecoder:
    decoder = StreamDecoder.of(settings)
    decoder.state = state
    decoder.concealed = concealed
    return decoder
