"""The near-lossless tier as a tier: floating-point samples at the caller's rate and number of channels.

A packet of several blocks is their payloads, joined (:mod:`~streamcodec.codec.payload_parts`). Key blocks are asked
for at its start alone; the engine may make others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding.noise_shape import USUAL_SHAPE
from streamcodec.codec.audio_format import as_array, as_floats, clean
from streamcodec.codec.near_lossless import engine as near_lossless
from streamcodec.codec.near_lossless.engine import (
    NearLosslessDecoder,
    NearLosslessEncoder,
    is_key_payload,
    step_for_bytes,
)
from streamcodec.codec.near_lossless.format import NearLosslessFormat, check_rate, default_block_samples
from streamcodec.codec.near_lossless.rate import MIN_BITRATE_BPS, FixedStep, RateTarget, TargetBitrate, TargetSnr
from streamcodec.codec.options import DecoderOptions, NearLosslessOptions, Samples
from streamcodec.codec.packet import MAX_PAYLOAD_BYTES, Packet, Tier
from streamcodec.codec.payload_parts import MOST_LENGTH_BYTES, joined, parts_of
from streamcodec.codec.varint import varint_bytes
from streamcodec.codec.waveform_blocks import KeyPace, WaveformBlock, padded_to_blocks, waveform_block, with_channels
from streamcodec.errors import AudioFormatError, BitrateError, DamagedPayload

Float32Array = NDArray[np.float32]
DEFAULT_RATIO = 8.0


@lru_cache(maxsize=16)
def _warm_up_once(sample_rate_hz: int) -> None:
    near_lossless.warm_up(sample_rate_hz)


def rate_target(settings: NearLosslessOptions) -> RateTarget:
    """What the settings aim at; an eighth of the 16-bit rate where they say nothing. Raises BitrateError."""
    if settings.step_index is not None:
        return FixedStep(settings.step_index, settings.finer_blocks, settings.noise or USUAL_SHAPE)
    if settings.snr_db is not None:
        return TargetSnr(settings.snr_db)
    if settings.bitrate_bps is not None:
        return _bitrate_target(settings, settings.bitrate_bps)
    ratio = DEFAULT_RATIO if settings.ratio is None else settings.ratio
    whole = TargetBitrate.from_ratio(ratio, settings.sample_rate_hz, settings.channels)
    return _bitrate_target(settings, whole.bitrate_bps)


def _bitrate_target(settings: NearLosslessOptions, bitrate_bps: float) -> TargetBitrate:
    """What blocks may take of a bitrate of whole packets; raises BitrateError."""
    blocks_per_second = settings.sample_rate_hz / default_block_samples(settings.sample_rate_hz)
    told = blocks_per_second * (settings.frames - 1) / settings.frames
    length_bytes = varint_bytes(round(TargetBitrate(bitrate_bps).bitrate_bps / 8 / blocks_per_second))
    return TargetBitrate(max(bitrate_bps - 8 * told * length_bytes, MIN_BITRATE_BPS))


def step_for_ratio(
    settings: NearLosslessOptions,
    samples: Samples,
    overhead_bytes: int = 0,
    carried_bytes: Callable[[int], int] = int,
) -> NearLosslessOptions:
    """The settings with the finest fixed step that meets their ratio.

    ``overhead_bytes`` are counted, and ``carried_bytes`` of each payload's length. The ratio is to the bytes of
    16-bit samples.

    Shape: ``samples [n, channels]``.
    Errors: BitrateError where no step does.
    """
    ratio = settings.ratio
    if ratio is None or not 0 < ratio < float("inf"):
        raise BitrateError(f"a compression ratio is a number above 0, got {ratio!r}")
    budget_bytes = int(2 * samples.size / ratio)
    block_samples = default_block_samples(settings.sample_rate_hz)
    packet_samples = settings.frames * block_samples
    if settings.frames > 1:
        packets = -(-(len(samples) + block_samples) // packet_samples)
        # The blocks that fill up the last packet are coded, too; the step's search adds the last of them.
        filler = packets * packet_samples - block_samples - len(samples)
        samples = np.pad(samples, ((0, filler), (0, 0)))
        overhead_bytes += packets * (carried_bytes(0) + MOST_LENGTH_BYTES)
        carried_bytes = _with_length
    budget_bytes -= overhead_bytes
    step = step_for_bytes(
        samples,
        settings.sample_rate_hz,
        budget_bytes,
        settings.optimise or "perceptual",
        block_samples,
        settings.frames * settings.key_period_blocks(packet_samples),
        carried_bytes,
    )
    return replace(settings, ratio=None, step_index=step.index, finer_blocks=step.finer_blocks, noise=step.noise)


def block_of(packet: Packet) -> bytes | None:
    """The payload of one of a packet's blocks, the first where it does not say which; None of another tier's, and
    where the packet holds no such block.
    """
    if packet.tier is not Tier.NEAR_LOSSLESS:
        return None
    blocks = parts_of(packet.payload, packet.frames)
    return None if blocks is None else blocks[packet.part or 0]


def _with_length(payload_bytes: int) -> int:
    return varint_bytes(payload_bytes) + payload_bytes


@dataclass
class EncoderState:
    """Snapshot of a :class:`Encoder`."""

    engine: NearLosslessEncoder
    keys: KeyPace


class Encoder:
    """See :class:`~streamcodec.codec.registry.TierEncoder`; blocks are float32 ``[block_samples, channels]``."""

    delay_samples = 0

    def __init__(self, settings: NearLosslessOptions) -> None:
        check_rate(settings.sample_rate_hz)
        self._settings = settings
        self._target = rate_target(settings)
        self.reset()
        self.block_samples = settings.frames * self._engine.format.block_samples
        _warm_up_once(settings.sample_rate_hz)

    def accept(self, samples: object) -> Float32Array:
        """Clean float32: NaN to 0, infinities and faults clipped.

        Shape: ``[n]`` (one channel) or ``[n, channels]``, float32, float64 (full scale 1) or int16
        -> ``[n, channels]``.
        Errors: AudioFormatError for another type or shape.
        """
        sound = as_floats(with_channels(as_array(samples), self._settings.channels))
        clean(sound.reshape(-1))
        return sound

    def encode(self, block: Samples) -> WaveformBlock:
        """Code one packet's worth.

        Shape: ``[block_samples, channels]``.
        """
        length = self._engine.format.block_samples
        key = self._keys.take()
        payloads = [
            self._engine.encode(block[start : start + length], key=key and start == 0)
            for start in range(0, len(block), length)
        ]
        return waveform_block(joined(payloads), is_key_payload(payloads[0]))

    def silence(self, samples: int) -> Float32Array:
        """Silence.

        Shape: output ``[samples, channels]``.
        """
        return np.zeros((samples, self._settings.channels), np.float32)

    def closing_blocks(self, pending: Samples) -> list[Samples]:
        """Pending samples padded with silence, and the one block more that completes the last overlap."""
        needed = len(pending) + self._engine.format.block_samples
        return padded_to_blocks(pending, -(-needed // self.block_samples), self.block_samples)

    def set_bitrate(self, bitrate_bps: float) -> None:
        """Aim at another rate from the next block on; raises BitrateError."""
        self._target = _bitrate_target(self._settings, bitrate_bps)
        self._engine.set_target(self._target)

    def request_key(self) -> None:
        """Make the next block a key block."""
        self._keys.request()

    def reset(self) -> None:
        """Back to the start of a stream."""
        s = self._settings
        self._engine = NearLosslessEncoder(
            s.sample_rate_hz,
            s.channels,
            self._target,
            s.optimise or "perceptual",
            max_payload_bytes=MAX_PAYLOAD_BYTES // s.frames - MOST_LENGTH_BYTES,
        )
        self._keys = KeyPace(s.key_period_blocks(s.frames * self._engine.format.block_samples))

    def state(self) -> EncoderState:
        """A copy of everything remembered."""
        return EncoderState(self._engine.copy(), self._keys.copy())

    def restore(self, state: EncoderState) -> None:
        """Continue from a copied state."""
        self._engine, self._keys = state.engine.copy(), state.keys.copy()


class Decoder:
    """See :class:`~streamcodec.codec.registry.TierDecoder`; gives float32 ``[block_samples, channels]``.

    What comes out lags by one block, since blocks overlap by half. Concealment is the engine's.
    """

    def __init__(self, settings: DecoderOptions) -> None:
        self._format = NearLosslessFormat(
            settings.sample_rate_hz, settings.channels, default_block_samples(settings.sample_rate_hz)
        )
        self.reset()
        _warm_up_once(settings.sample_rate_hz)

    @property
    def block_samples(self) -> int:
        """Length of a block, as the last key block said."""
        return (self._engine.format or self._format).block_samples

    @property
    def delay_samples(self) -> int:
        """The overlap of the transform."""
        return (self._engine.format or self._format).delay_samples

    def decode(self, packet: Packet | None) -> tuple[Samples, bool]:
        """Samples of the block before the packet's, and whether the packet was of use.

        Shape: output ``[block_samples, channels]``.
        """
        payload = block_of(packet) if packet is not None else None
        if payload is not None and not self._is_ours(payload):
            payload = None
        concealed = self._engine.concealed_blocks
        try:
            samples = self._engine.decode(payload)
        except DamagedPayload:
            return self.silence(self.block_samples), False
        return samples, self._engine.concealed_blocks == concealed

    def _is_ours(self, payload: bytes) -> bool:
        """Whether a block is, where it says so, of this stream's format."""
        if not is_key_payload(payload):
            return True
        try:
            form, _ = NearLosslessFormat.from_bytes(payload[1:5])
        except AudioFormatError:
            return False
        return (form.sample_rate_hz, form.channels) == (self._format.sample_rate_hz, self._format.channels)

    def drain(self) -> Samples:
        """Nothing: the encoder ends a stream with the block that completes the last overlap."""
        return self.silence(0)

    def silence(self, samples: int) -> Float32Array:
        """Silence.

        Shape: output ``[samples, channels]``.
        """
        return np.zeros((samples, self._format.channels), np.float32)

    def reset(self) -> None:
        """Back to the start of a stream."""
        self._engine = NearLosslessDecoder()

    def state(self) -> NearLosslessDecoder:
        """A copy of everything remembered."""
        return self._engine.copy()

    def restore(self, state: NearLosslessDecoder) -> None:
        """Continue from a copied state."""
        self._engine = state.copy()
