"""Whole arrays and whole files, built on the streaming classes, so that streaming equals offline."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from streamcodec.codec.audio_format import FiniteSamples, as_array
from streamcodec.codec.bitstream import bitstream_of, check_bitstream
from streamcodec.codec.files.container import (
    COMPACT_BELOW_BPS,
    COMPACT_KEY_PERIOD_S,
    OVERHEAD_BYTES_PER_PACKET,
    FileHeader,
    TimedPacket,
    overhead_bytes,
    payload_share,
    record_bytes,
)
from streamcodec.codec.files.container_pictures import fitting_pictures
from streamcodec.codec.files.container_writer import FileWriter
from streamcodec.codec.files.decoding import Progress, check_tier_rate, decode_timed, lag_samples, trimmed
from streamcodec.codec.files.look_ahead import encode_running, encode_steadily
from streamcodec.codec.files.output_file import check_file, whole_file
from streamcodec.codec.files.sound_file import SoundReader, SoundSource
from streamcodec.codec.options import (
    SAMPLE_RATES_HZ,
    NearLosslessOptions,
    NeuralOptions,
    Samples,
    TierName,
    check_neural_channels,
    tier_name,
    tier_of,
)
from streamcodec.codec.packet import SEQUENCE_MODULUS, Packet, Tier
from streamcodec.codec.stream import StreamDecoder, StreamEncoder
from streamcodec.errors import AudioFormatError, StreamcodecWarning
from streamcodec.models.shipped import DEFAULT_MODEL, load_model
from streamcodec.wording import given

MAX_METADATA_BYTES = 48 * 1024
MISSED_BY = 1.1
"""A bitrate is missed where so many times as much is taken."""
FILE_PACKET_MS = 60
LOW_RATE_FILE_PACKET_MS = 120
USUAL_S = 60.0
"""Length of a sound that does not say it."""
LOSSLESS_FILE_PACKET_MS = 100
LOSSLESS_FILE_KEY_PERIOD_S = 2.0
"""Headers and starting anew cost a lossless file 1 to 2 % more at 20 ms and 1 s; 5 s would save 0.1 % and lose
more where a file is damaged."""


@dataclass(frozen=True)
class EncodedAudio:
    """A whole sound as packets, with what is needed to give back exactly as many samples of the same shape."""

    sample_rate_hz: int
    samples: int
    delay_samples: int
    packets: tuple[TimedPacket, ...]
    tier: Tier = Tier.NEURAL
    channels: int = 1
    bits_per_sample: int = 16
    model: str = ""
    """Model of the neural tier that the packets belong to, a name or a folder."""
    bitstream: str = ""
    """See :mod:`streamcodec.codec.bitstream`."""
    one_dimensional: bool = field(default=False, compare=False)
    """Whether the sound came as ``[n]``; the waveform tiers give it back so."""

    @property
    def payload_bytes(self) -> int:
        """Bytes of coded sound, packet headers not counted."""
        return sum(len(timed.packet.payload) for timed in self.packets)

    @property
    def payload_bps(self) -> float:
        """Payload bits per second of sound."""
        return 8.0 * self.payload_bytes * self.sample_rate_hz / max(self.samples, 1)


class _Clock:
    """Extends the wrapping timestamps of packets in order to times that never wrap."""

    def __init__(self) -> None:
        self._time = -1

    def time_of(self, packet: Packet) -> int:
        self._time += (packet.timestamp - self._time) % SEQUENCE_MODULUS
        return self._time


class _Counted:
    """Blocks of a sound, counted as they are taken."""

    def __init__(self, blocks: Iterable[Samples], expected: int, progress: Progress | None) -> None:
        self._blocks, self._expected, self._progress = blocks, expected, progress
        self.total = 0

    def __iter__(self) -> Iterator[Samples]:
        for block in self._blocks:
            yield block
            self.total += len(block)
            if self._progress is not None and self._expected > 0:
                self._progress(min(self.total / self._expected, 1.0))


def encode_array(
    samples: object,
    sample_rate_hz: int,
    bitrate_bps: float | None = None,
    *,
    tier: TierName | Tier = "neural",
    look_ahead: bool = False,
    **options: Any,
) -> EncodedAudio:
    """Encode a whole sound; ``options`` as for :class:`StreamEncoder`.

    The packets are those of a live stream, unless ``look_ahead`` spreads the neural tier's rate as files have it.

    For the waveform tiers ``channels`` is the array's, and lossless ``bits_per_sample`` is 16 for int16 and, for
    wider integers, 24 where that holds them, else 32, unless said otherwise.

    Shape: ``[n]`` or ``[n, channels]``.
    """
    array = FiniteSamples("the sound", live=False).clean(as_array(samples))
    kind = tier_of(tier)
    if kind is not Tier.NEURAL:
        options.setdefault("channels", array.shape[1] if array.ndim == 2 else 1)
        options.setdefault("bits_per_sample", _depth_of(array, kind))
    encoder = StreamEncoder(sample_rate_hz, bitrate_bps, tier=kind, **options)
    if encoder.settings.ratio is not None:
        encoder = _with_one_step(encoder, encoder.accept(array))
    clock = _Clock()
    spread = encode_steadily if look_ahead else encode_running
    packets = [TimedPacket(clock.time_of(p), p) for p in spread(encoder, [array])]
    return EncodedAudio(
        encoder.sample_rate_hz,
        len(array),
        encoder.delay_samples,
        tuple(packets),
        kind,
        encoder.settings.channels,
        encoder.settings.bits_per_sample,
        encoder.settings.model if kind is Tier.NEURAL else "",
        bitstream_of(kind, encoder.settings.model, encoder.settings.channels, encoder.settings.frames),
        array.ndim == 1,
    )


def _depth_of(array: Samples, tier: Tier) -> int:
    """Depth of an array's integers, of 16, 24 and 32 the narrowest that its type and values ask for."""
    if array.dtype.itemsize <= 2:
        return 16
    if tier is not Tier.LOSSLESS or not array.size or array.dtype.kind != "i":
        return 24
    limit = 1 << 23
    return 24 if -limit <= min(int(array.min()), ~int(array.max())) else 32


def decode_array(
    encoded: EncodedAudio,
    sample_rate_hz: int | None = None,
    *,
    model: str | None = None,
    post_filter: bool = True,
) -> Samples:
    """Decode to the source's length, delay removed.

    The neural tier decodes to any rate, the waveform tiers to the one they were encoded at (AudioFormatError);
    ``model`` is the encoder's where it is None, and must be one that reads its packets (FileFormatError);
    ``post_filter`` as for ``StreamDecoder``.

    Shape: output of the neural tier ``[n]`` (of two channels ``[n, 2]``), of the waveform tiers as encoded, ``[n]``
    or ``[n, channels]`` (integers where lossless); ``n`` as encoded, times the ratio of the rates.
    """
    if not isinstance(encoded, EncodedAudio):
        raise AudioFormatError(f"decode_array takes what encode_array gives, got {type(encoded).__name__}")
    model = model or encoded.model or DEFAULT_MODEL
    if encoded.bitstream:
        check_bitstream(encoded.bitstream, encoded.tier, model, encoded.channels)
    rate_hz = sample_rate_hz or encoded.sample_rate_hz
    check_tier_rate(encoded.tier, encoded.sample_rate_hz, rate_hz)
    decoder = StreamDecoder(
        rate_hz,
        tier=encoded.tier,
        channels=encoded.channels,
        bits_per_sample=encoded.bits_per_sample,
        model=model,
        post_filter=post_filter,
    )
    total = -(-encoded.samples * rate_hz // encoded.sample_rate_hz)
    lag = lag_samples(decoder, encoded.delay_samples, encoded.sample_rate_hz)
    blocks = decode_timed(decoder, encoded.packets)
    sound = np.concatenate([decoder.silence(0), *trimmed(blocks, lag, total, lambda: total, decoder)])
    return sound[:, 0] if encoded.one_dimensional and sound.ndim == 2 else sound


def encode_file(
    source: SoundSource,
    target: SoundSource,
    bitrate_bps: float | None = None,
    *,
    tier: TierName | Tier = "neural",
    progress: Progress | None = None,
    model: str = DEFAULT_MODEL,
    channels: int | None = None,
    **options: Any,
) -> FileHeader:
    """Encode a sound file (any format libsndfile reads) to a ``.sc`` file, block by block.

    ``options`` as for :class:`StreamEncoder`; ``mode`` is ``"stream"`` and ``packet_ms`` 60 (lossless: 100, with a
    key packet every 2 s) unless said otherwise, since a file is a reliable link and in no hurry. For the same reason
    the neural tier keeps one fractional quality index for each minute, that at which the rate is met, unless
    ``constrained`` or ``dtx`` say otherwise. Below 2 kbps a channel, packets are of 120 ms with a key packet every
    10 s unless said otherwise, the file is of the compact form, and the rate is that of the whole file (from ten
    seconds on, pictures and long tags not counted; ``constrained`` and ``dtx`` count payloads alone). It mixes
    channels down (of two it keeps both with ``channels=2``) and resamples to the next of its rates, which is told
    (StreamcodecWarning). The waveform tiers keep channels and rate, the lossless tier takes integer PCM alone (8 to
    32 bits, up to 8 channels, up to 384 kHz). For a ``ratio``, headers counted, the file is read whole and coded
    about ten times.
    Raises AudioFormatError, BitrateError or FileFormatError.
    """
    options.setdefault("mode", "stream")
    kind = tier_of(tier)
    compact = False
    if kind is Tier.LOSSLESS:
        options.setdefault("packet_ms", LOSSLESS_FILE_PACKET_MS)
        options.setdefault("key_period_s", LOSSLESS_FILE_KEY_PERIOD_S)
    elif kind is Tier.NEAR_LOSSLESS:
        options.setdefault("packet_ms", FILE_PACKET_MS)
    with SoundReader(source, kind) as sound:
        rate_hz = sound.sample_rate_hz
        if kind is Tier.NEURAL:
            rate_hz = neural_rate_for(rate_hz)
            options["channels"] = _neural_channels(sound, channels)
            compact = _is_low(bitrate_bps, options["channels"])
            options.setdefault("packet_ms", LOW_RATE_FILE_PACKET_MS if compact else FILE_PACKET_MS)
            if compact:
                options.setdefault("key_period_s", COMPACT_KEY_PERIOD_S)
            mixed = sound.channels > options["channels"]
            if rate_hz != sound.sample_rate_hz or mixed:
                _say_what_is_changed(sound, rate_hz, mixed)
        else:
            if channels not in (None, sound.channels):
                raise AudioFormatError(
                    f"{sound.name} has {sound.channels} channels, and the {tier_name(kind)} tier keeps them: "
                    f"{given('channels', channels)} is for the neural tier"
                )
            options |= {"channels": sound.channels, "bits_per_sample": sound.bits_per_sample}
        with _output(target, source) as out:
            # Only now, since this may compile kernels: what cannot be written is told at once.
            encoder = StreamEncoder(rate_hz, bitrate_bps, tier=kind, model=model, **options)
            if isinstance(encoder.settings, NearLosslessOptions) and not encoder.settings.has_target:
                encoder.set_bitrate(_default_bitrate_bps(encoder))
            header = replace(_header_of(encoder, sound.metadata), compact=compact)
            share = _payload_share(encoder, header, sound.samples / sound.sample_rate_hz or USUAL_S)
            blocks: Iterable[Samples] = sound.blocks()
            if rate_hz != sound.sample_rate_hz:
                blocks = _resampled(blocks, sound.sample_rate_hz, rate_hz, sound.channels)
            if encoder.settings.ratio is not None:
                whole = encoder.accept(sound.read())
                encoder = _with_one_step(encoder, whole, header)
                blocks = (whole[start : start + rate_hz] for start in range(0, len(whole), rate_hz))
            writer = FileWriter(out, header, fitting_pictures(sound.pictures))
            clock = _Clock()
            counted = _Counted(blocks, sound.samples * rate_hz // sound.sample_rate_hz, progress)
            payload_bytes = 0
            for packet in encode_steadily(encoder, counted, share):
                payload_bytes += len(packet.payload)
                writer.write(clock.time_of(packet), packet)
            writer.close(counted.total)
    if kind is Tier.NEAR_LOSSLESS and bitrate_bps is not None:
        _warn_of_missed_bitrate(bitrate_bps, 8 * payload_bytes * rate_hz / max(counted.total, rate_hz))
    return header


def _warn_of_missed_bitrate(asked_bps: float, taken_bps: float) -> None:
    if taken_bps > MISSED_BY * asked_bps:
        warnings.warn(
            f"{asked_bps / 1000:g} kbps were asked for, and this sound takes {taken_bps / 1000:.1f} in the "
            "near-lossless tier; the neural tier goes lower",
            StreamcodecWarning,
            stacklevel=3,
        )


def _is_low(bitrate_bps: object, channels: int) -> bool:
    """Whether a rate of so many channels of the neural tier together is one at which files are compact."""
    return isinstance(bitrate_bps, Real) and bitrate_bps < COMPACT_BELOW_BPS * channels


def _payload_share(encoder: StreamEncoder, header: FileHeader, seconds: float) -> float:
    """Share of the bitrate that payloads may take: less than 1 in compact files of steady quality alone.

    Warns (StreamcodecWarning) where speech takes more than that share.
    """
    settings = encoder.settings
    if not (header.compact and isinstance(settings, NeuralOptions)) or settings.constrained or settings.dtx:
        return 1.0
    from streamcodec.codec.neural.encoder import warn_of_low_share

    assert settings.bitrate_bps is not None
    inter_coded = settings.mode == "stream"
    key_packets = max(1, round(settings.key_period_s * encoder.packets_per_second)) if inter_coded else 1
    share = payload_share(header, settings.bitrate_bps, encoder.packets_per_second, seconds, key_packets)
    warn_of_low_share(load_model(settings.model), settings, share)
    return share


def _default_bitrate_bps(encoder: StreamEncoder) -> float:
    """The rate at which a file has the default ratio, what it adds to each packet counted."""
    from streamcodec.codec.near_lossless.tier import DEFAULT_RATIO

    settings = encoder.settings
    raw_bps = 16 * settings.sample_rate_hz * settings.channels
    return raw_bps / DEFAULT_RATIO - 8 * OVERHEAD_BYTES_PER_PACKET * encoder.packets_per_second


def _output(target: SoundSource, source: SoundSource) -> Any:
    """Where a file goes: one that appears when it is whole, or the caller's own file object; FileFormatError."""
    check_file(target, "write")
    return whole_file(target, source) if isinstance(target, str | Path) else contextlib.nullcontext(target)


def _header_of(encoder: StreamEncoder, metadata: dict[str, str]) -> FileHeader:
    settings = encoder.settings
    return FileHeader(
        settings.tier,
        encoder.sample_rate_hz,
        settings.channels,
        encoder.sample_rate_hz / encoder.frame_samples,
        encoder.delay_samples,
        load_model(settings.model).name if settings.tier is Tier.NEURAL else "",
        _fitting(metadata),
        settings.bits_per_sample,
        bitstream_of(settings.tier, settings.model, settings.channels, settings.frames),
    )


def _fitting(metadata: dict[str, str]) -> dict[str, str]:
    """The tags that fit into a header; the longest are left out with a warning."""
    kept = dict(sorted(metadata.items(), key=lambda item: len(item[1])))
    left_out = []
    while len(json.dumps(kept)) > MAX_METADATA_BYTES:
        left_out.append(kept.popitem()[0])
    if left_out:
        warnings.warn(
            f"too long for the header of a .sc file: {', '.join(left_out)}; left out",
            StreamcodecWarning,
            stacklevel=3,
        )
    return {key: value for key, value in metadata.items() if key in kept}


def neural_rate_for(rate_hz: int) -> int:
    """The rate at which the neural tier takes sound of any rate: its own, or the next above, or the highest."""
    return next((taken for taken in SAMPLE_RATES_HZ if taken >= rate_hz), SAMPLE_RATES_HZ[-1])


def _neural_channels(sound: SoundReader, wanted: int | None) -> int:
    """Channels of a file to code: two where they are asked for and there, else one. Raises AudioFormatError."""
    if wanted not in (None, 1, 2):
        check_neural_channels(wanted)
    if wanted != 2 or sound.channels == 1:
        return 1
    if sound.channels > 2:
        raise AudioFormatError(
            f"{sound.name} has {sound.channels} channels and the neural tier codes two at most: leave channels out "
            "to mix them down to one, or make two of them first"
        )
    return 2


def _say_what_is_changed(sound: SoundReader, rate_hz: int, mixed: bool) -> None:
    done = [] if rate_hz == sound.sample_rate_hz else [f"resampled from {sound.sample_rate_hz} Hz to {rate_hz}"]
    if mixed:
        two = f" ({given('channels', 2)} keeps both)" if sound.channels == 2 else ""
        done.append(f"mixed down from {sound.channels} channels to one{two}")
    warnings.warn(
        f"{sound.name} is {' and '.join(done)} for the neural tier; the other tiers keep it as it is",
        StreamcodecWarning,
        stacklevel=3,
    )


def _resampled(blocks: Iterable[Samples], in_hz: int, out_hz: int, channels: int) -> Iterator[Samples]:
    """Shape: each block ``[n, channels]``, kept but for n."""
    import soxr

    stream = soxr.ResampleStream(in_hz, out_hz, channels, dtype="float32")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros((0, channels), np.float32), last=True)


def _with_one_step(encoder: StreamEncoder, samples: Samples, header: FileHeader | None = None) -> StreamEncoder:
    """A near-lossless encoder like this one, of the finest step with which samples meet the ratio.

    With a header, they and all else that a file of them holds.
    """
    from streamcodec.codec.near_lossless.tier import step_for_ratio

    options = encoder.settings
    assert isinstance(options, NearLosslessOptions)
    if header is None:
        return StreamEncoder.of(step_for_ratio(options, samples))
    packets = -(-len(samples) // encoder.block_samples) + 1
    overhead = overhead_bytes(header, packets, options.key_period_blocks(encoder.block_samples))
    return StreamEncoder.of(step_for_ratio(options, samples, overhead, record_bytes))
