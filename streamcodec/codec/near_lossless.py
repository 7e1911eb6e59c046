"""Near-lossless engine: blocks of samples in, payloads out; an MDCT, one step size, and context-mixed coding.

Payload, big-endian::

    byte 0      bit 0 key, bit 1 step follows, bit 2 steps follow the envelope, bit 3 mid/side; bits 4-7 block
                counter, modulo 16
    key only    format (1): bits 0-3 sample rate, of ``RATES_HZ``, bit 4 channels less one, bits 5-7 log2 of the block
                length less 6; sample rate in Hz (3) where bits 0-3 are all set; step index (2)
    step        difference of the step index to the last block's, signed (1), where it changes; not in key blocks
    body        range code: offsets of the bands' steps, where they follow the envelope, then the coefficients;
                empty where every coefficient is zero

The transform overlaps blocks by half, so what a decoder returns lags by one block: ``decode`` of a stream's first
payload gives (almost) silence, and one block more must be coded to get the last samples out.

A block's contexts are the blocks before it, back to the last key block. A lost block therefore costs the blocks up to
the next key block, all concealed; with ``key=True`` for every block it costs itself alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from native_dsp.band_steps import BandState, decode_offsets, encode_offsets, make_bands, measure_offsets
from native_dsp.coefficient_coder import (
    LARGEST,
    CoefficientCoder,
    decode_coefficients,
    encode_coefficients,
    make_coefficient_coder,
    remember_block,
)
from native_dsp.mdct import MdctState, make_mdct, mdct_backward, mdct_forward
from native_dsp.quantiser import dequantise, quantise
from native_dsp.range_coder import decoder_init, encoder_finish, encoder_init, make_state
from native_dsp.state import copy_state
from streamcodec.codec.learnt_coefficients import learnt_coefficients
from streamcodec.codec.packet import MAX_PAYLOAD_BYTES
from streamcodec.errors import AudioFormatError, BitrateError, DamagedPayload

Float32Array = NDArray[np.float32]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
Optimise = Literal["mse", "perceptual"]

MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 96_000
MAX_CHANNELS = 2
MIN_LOG2_BLOCK, MAX_LOG2_BLOCK = 6, 11
LONGEST_DEFAULT_MS = 20
# Spectra are in steps of 16-bit sound; step index i is a step of 2^(i / 16 - 8) of them.
FULL_SCALE = 32_768.0
STEPS_PER_OCTAVE = 16
SMALLEST_STEP_LOG2 = -8
STEP_INDEXES = 400
RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000)
_OTHER_RATE = 15
# A concealed block is the one before at this share of its amplitude.
CONCEALMENT_FADE = 0.7

_KEY, _STEP, _BANDS, _MID_SIDE = 1, 2, 4, 8


def step_size(index: int) -> float:
    """Quantiser step, in steps of 16-bit sound, of a step index."""
    return float(2.0 ** (index / STEPS_PER_OCTAVE + SMALLEST_STEP_LOG2))


def default_block_samples(sample_rate_hz: int) -> int:
    """The longest block of a power of two of samples that lasts 20 ms at most (10.7 to 16 ms at usual rates)."""
    return 1 << ((sample_rate_hz * LONGEST_DEFAULT_MS // 1000).bit_length() - 1)


@dataclass(frozen=True, slots=True)
class NearLosslessFormat:
    """What a key block says about the stream; constructing one out of range raises AudioFormatError."""

    sample_rate_hz: int
    channels: int
    block_samples: int

    def __post_init__(self) -> None:
        if not MIN_RATE_HZ <= self.sample_rate_hz <= MAX_RATE_HZ:
            raise AudioFormatError(
                f"near-lossless coding takes {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz, got {self.sample_rate_hz}"
            )
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise AudioFormatError(f"near-lossless coding takes 1 or 2 channels, got {self.channels}")
        lengths = [1 << log2 for log2 in range(MIN_LOG2_BLOCK, MAX_LOG2_BLOCK + 1)]
        if self.block_samples not in lengths:
            raise AudioFormatError(f"a near-lossless block has one of {lengths} samples, got {self.block_samples}")

    @property
    def delay_samples(self) -> int:
        """How far the decoder's output lags behind its input, beyond the block itself."""
        return self.block_samples

    def to_bytes(self) -> bytes:
        """One byte, or four where the rate is an unusual one."""
        usual = self.sample_rate_hz in RATES_HZ
        rate = RATES_HZ.index(self.sample_rate_hz) if usual else _OTHER_RATE
        log2_block = self.block_samples.bit_length() - 1 - MIN_LOG2_BLOCK
        mark = bytes((rate | (self.channels - 1) << 4 | log2_block << 5,))
        return mark if usual else mark + self.sample_rate_hz.to_bytes(3, "big")

    @classmethod
    def from_bytes(cls, data: bytes) -> tuple[NearLosslessFormat, int]:
        """Inverse of :meth:`to_bytes`: the format and how many bytes it took; AudioFormatError where out of range."""
        if not data:
            raise AudioFormatError("the format is missing")
        length, rate = 1, data[0] & 15
        if rate == _OTHER_RATE:
            length, rate_hz = 4, int.from_bytes(data[1:4], "big")
        elif rate < len(RATES_HZ):
            rate_hz = RATES_HZ[rate]
        else:
            raise AudioFormatError(f"sample rate code {rate} is not known to this build")
        return cls(rate_hz, (data[0] >> 4 & 1) + 1, 1 << (MIN_LOG2_BLOCK + (data[0] >> 5))), length


@dataclass(frozen=True, slots=True)
class FixedStep:
    """The same step for every block: least mean squared error for the bytes of a whole stream."""

    index: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < STEP_INDEXES:
            raise BitrateError(f"a step index lies within 0 to {STEP_INDEXES - 1}, got {self.index}")


@dataclass(frozen=True, slots=True)
class TargetBitrate:
    """A bitrate held on average over about ``window_s`` seconds, whatever the sound."""

    bitrate_bps: float
    window_s: float = 1.0

    def __post_init__(self) -> None:
        if not 4_000 <= self.bitrate_bps <= 6_000_000:
            raise BitrateError(f"near-lossless coding runs at 4 to 6000 kbps, got {self.bitrate_bps / 1000:g}")
        if not 0.05 <= self.window_s <= 60:
            raise BitrateError(f"a bitrate is averaged over 0.05 to 60 s, got {self.window_s:g}")

    @classmethod
    def from_ratio(cls, ratio: float, sample_rate_hz: int, channels: int, window_s: float = 1.0) -> TargetBitrate:
        """The bitrate of 16-bit samples divided by ``ratio``."""
        if not ratio > 0:
            raise BitrateError(f"a compression ratio is above 0, got {ratio:g}")
        return cls(16 * sample_rate_hz * channels / ratio, window_s)


@dataclass(frozen=True, slots=True)
class TargetSnr:
    """A signal-to-noise ratio held over about a second of sound."""

    snr_db: float

    def __post_init__(self) -> None:
        if not 0 <= self.snr_db <= 120:
            raise BitrateError(f"a signal-to-noise ratio lies within 0 to 120 dB, got {self.snr_db:g}")


RateTarget = FixedStep | TargetBitrate | TargetSnr


@dataclass(slots=True)
class _RateControl:
    """Chooses the step of the next block from what the blocks before took."""

    target: RateTarget
    form: NearLosslessFormat
    index: float = 200.0
    debt_blocks: float = 0.0
    mean_log2: float = 0.0
    signal_power: float = 0.0
    noise_power: float = 0.0

    def copy(self) -> _RateControl:
        return replace(self)

    def next_index(self, block_power: float) -> int:
        """Step index for a block of this mean power."""
        if isinstance(self.target, FixedStep):
            return self.target.index
        if isinstance(self.target, TargetSnr):
            share = self.form.block_samples / self.form.sample_rate_hz
            self.signal_power += max(share, 0.02) * (block_power - self.signal_power)
            power = max(self.signal_power, block_power * 0.1, 1e-3) * 10 ** (-self.target.snr_db / 10)
            wanted = STEPS_PER_OCTAVE * (0.5 * float(np.log2(12 * power)) - SMALLEST_STEP_LOG2)
            return _clipped(wanted + self.index - 200.0)
        return _clipped(self.index)

    def learn(self, payload_bytes: int, block_power: float, error_power: float) -> None:
        """Take in what a block took."""
        if isinstance(self.target, TargetBitrate):
            blocks_per_s = self.form.sample_rate_hz / self.form.block_samples
            window = max(self.target.window_s * blocks_per_s, 2.0)
            wanted = self.target.bitrate_bps / 8 / blocks_per_s
            spent = payload_bytes / wanted
            # The debt never grows past two windows, so that silence is not saved up for minutes.
            self.debt_blocks = min(max(self.debt_blocks + spent - 1, -2 * window), 2 * window)
            excess = float(np.log2(max(spent, 0.05)))
            self.mean_log2 += (excess - self.mean_log2) * min(1.0, 8 / window)
            pull = self.mean_log2 + 2 * self.debt_blocks / window
            self.index = float(_clipped(self.index + 16 * STEPS_PER_OCTAVE * pull / window))
        elif isinstance(self.target, TargetSnr):
            # Zeroed coefficients make less noise than a uniform error would: measure, and correct slowly.
            self.noise_power += 0.05 * (error_power - self.noise_power)
            reference = self.signal_power * 10 ** (-self.target.snr_db / 10)
            if self.noise_power > 0 and reference > 0 and block_power > 1:
                pull = float(np.log2(reference / self.noise_power))
                self.index = min(max(self.index + 0.3 * min(max(pull, -4.0), 4.0), 150.0), 290.0)


def _clipped(index: float) -> int:
    return min(max(round(index), 0), STEP_INDEXES - 1)


@dataclass(slots=True)
class _Contexts:
    """What encoder and decoder keep in step."""

    coefficients: CoefficientCoder
    bands: BandState
    step_index: int
    counter: int
    coder: Int64Array = field(default_factory=make_state)

    @classmethod
    def fresh(cls, form: NearLosslessFormat, step_index: int, counter: int) -> _Contexts:
        return cls(
            make_coefficient_coder(form.channels, form.block_samples, learnt_coefficients()),
            make_bands(form.channels, form.block_samples, form.sample_rate_hz),
            step_index,
            counter,
        )

    def copy(self) -> _Contexts:
        return replace(
            self,
            coefficients=copy_state(self.coefficients),
            bands=copy_state(self.bands),
            coder=self.coder.copy(),
        )


class NearLosslessEncoder:
    """Codes blocks of one stream.

    ``block_samples`` is a power of two of samples (0: the default for the rate); ``optimise`` is ``"mse"`` for the
    least squared error, or ``"perceptual"`` to let noise follow the spectral envelope.
    Errors: AudioFormatError, BitrateError for what is out of range.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        channels: int = 1,
        target: RateTarget | None = None,
        optimise: Optimise = "perceptual",
        block_samples: int = 0,
    ) -> None:
        if optimise not in ("mse", "perceptual"):
            raise BitrateError(f'near-lossless coding is optimised for "mse" or "perceptual", got {optimise!r}')
        block_samples = block_samples or default_block_samples(max(sample_rate_hz, MIN_RATE_HZ))
        self.format = NearLosslessFormat(sample_rate_hz, channels, block_samples)
        self._shaped = optimise == "perceptual"
        self._rate = _RateControl(target or TargetBitrate.from_ratio(8, sample_rate_hz, channels), self.format)
        self._transforms = [make_mdct(block_samples) for _ in range(channels)]
        self._contexts: _Contexts | None = None

    def copy(self) -> NearLosslessEncoder:
        """An encoder in the same state that shares nothing with this one."""
        twin = NearLosslessEncoder.__new__(NearLosslessEncoder)
        twin.format = self.format
        twin._shaped = self._shaped
        twin._rate = self._rate.copy()
        twin._transforms = _copied(self._transforms)
        twin._contexts = self._contexts.copy() if self._contexts else None
        return twin

    def set_target(self, target: RateTarget) -> None:
        """Aim at something else from the next block on."""
        self._rate.target = target

    def encode(self, block: NDArray[np.floating], key: bool = False) -> bytes:
        """Payload of one block; the first block of a stream is always a key block.

        Shape: ``block [block_samples, channels]``, floating point, full scale 1.
        Errors: AudioFormatError for another type or shape, or samples that are not finite.
        """
        samples = self._checked(block)
        spectra = np.zeros((self.format.channels, self.format.block_samples), np.float32)
        for channel, transform in enumerate(self._transforms):
            mdct_forward(transform, np.ascontiguousarray(samples[:, channel]), spectra[channel])
        mid_side = self.format.channels == 2 and _prefers_mid_side(spectra)
        if mid_side:
            spectra = _rotated(spectra)
        power = float(np.mean(np.square(spectra, dtype=np.float64)))
        index = self._rate.next_index(power)
        payload, error = self._payload(spectra, index, key, mid_side)
        while len(payload) > MAX_PAYLOAD_BYTES:
            index = min(index + STEPS_PER_OCTAVE, STEP_INDEXES - 1)
            payload, error = self._payload(spectra, index, True, mid_side)
        self._rate.learn(len(payload), power, error / spectra.size)
        return payload

    def _payload(self, spectra: Float32Array, index: int, key: bool, mid_side: bool) -> tuple[bytes, float]:
        contexts = self._contexts
        counter = 0 if contexts is None else (contexts.counter + 1) & 15
        index = max(index, _finest_index(spectra))
        change = index - contexts.step_index if contexts is not None else 0
        key = key or abs(change) > 127
        flags = (_BANDS if self._shaped else 0) | (_MID_SIDE if mid_side else 0) | counter << 4
        if contexts is None or key:
            flags |= _KEY
            header = self.format.to_bytes() + index.to_bytes(2, "big")
            self._contexts = contexts = _Contexts.fresh(self.format, index, counter)
        else:
            flags |= _STEP if change else 0
            header = bytes((change & 255,)) if change else b""
        contexts.step_index, contexts.counter = index, counter
        bands = contexts.bands
        offsets = np.zeros_like(bands.offsets)
        quantised = np.zeros(spectra.shape, np.int32)
        error = 0.0
        for channel in range(len(spectra)):
            if self._shaped:
                measure_offsets(bands, channel, spectra[channel], offsets[channel])
            error += quantise(
                spectra[channel], bands.edges, offsets[channel], step_size(index), LARGEST, quantised[channel]
            )
        is_key = bool(flags & _KEY)
        body = b""
        if quantised.any():
            buffer = np.zeros(MAX_PAYLOAD_BYTES, np.uint8)
            encoder_init(contexts.coder)
            if self._shaped:
                encode_offsets(contexts.coder, buffer, bands, offsets, is_key)
            encode_coefficients(contexts.coder, buffer, contexts.coefficients, quantised, is_key)
            length = encoder_finish(contexts.coder, buffer)
            body = buffer[:length].tobytes() if length >= 0 else bytes(MAX_PAYLOAD_BYTES + 1)
        else:
            contexts.coefficients.magnitudes[:] = 0
            remember_block(contexts.coefficients)
        return bytes((flags,)) + header + body, error

    def _checked(self, block: NDArray[np.floating]) -> Float32Array:
        block = np.asarray(block)
        shape = (self.format.block_samples, self.format.channels)
        if not np.issubdtype(block.dtype, np.floating):
            raise AudioFormatError(
                f"near-lossless coding takes floating-point samples of full scale 1, got {block.dtype}: divide "
                "integers by their full scale first"
            )
        if block.shape != shape:
            raise AudioFormatError(f"a block has the shape {list(shape)}, got {list(block.shape)}")
        if not np.isfinite(block).all():
            raise AudioFormatError("samples must be finite numbers, got NaN or infinity")
        scaled: Float32Array = np.clip(block, -16, 16).astype(np.float32) * np.float32(FULL_SCALE)
        return scaled


class NearLosslessDecoder:
    """Decodes the payloads of one stream and conceals what is missing."""

    def __init__(self) -> None:
        self.format: NearLosslessFormat | None = None
        """Format of the stream, known from the first key block on."""
        self.concealed_blocks = 0
        """How many blocks were lost, damaged or not decodable so far."""
        self._contexts: _Contexts | None = None
        self._transforms: list[MdctState] = []
        self._spectra: Float32Array = np.zeros((1, 0), np.float32)
        self._signs = np.random.Generator(np.random.PCG64(1))

    def copy(self) -> NearLosslessDecoder:
        """A decoder in the same state that shares nothing with this one."""
        twin = NearLosslessDecoder()
        twin.format = self.format
        twin.concealed_blocks = self.concealed_blocks
        twin._contexts = self._contexts.copy() if self._contexts else None
        twin._transforms = _copied(self._transforms)
        twin._spectra = self._spectra.copy()
        twin._signs.bit_generator.state = self._signs.bit_generator.state
        return twin

    def decode(self, payload: bytes | None) -> Float32Array:
        """Samples of the block before the payload's, or of what stands in for it; None is a lost payload.

        Shape: float32 ``[block_samples, channels]``, full scale 1.
        Errors: DamagedPayload, and nothing else whatever the bytes, as long as no key block has come; later on,
        whatever cannot be decoded is concealed, and counted in ``concealed_blocks``.
        """
        try:
            self._spectra = self._decoded(payload)
        except DamagedPayload:
            self._contexts = None
            if self.format is None:
                raise
            self.concealed_blocks += 1
            signs = self._signs.integers(0, 2, self._spectra.shape).astype(np.float32) * 2 - 1
            self._spectra = self._spectra * signs * np.float32(CONCEALMENT_FADE)
        assert self.format is not None
        output = np.zeros((self.format.channels, self.format.block_samples), np.float32)
        for channel, transform in enumerate(self._transforms):
            mdct_backward(transform, self._spectra[channel], output[channel])
        samples: Float32Array = np.ascontiguousarray(output.T) * np.float32(1 / FULL_SCALE)
        return samples

    def _decoded(self, payload: bytes | None) -> Float32Array:
        if not payload:
            raise DamagedPayload("near-lossless payload is missing")
        flags, counter = payload[0], payload[0] >> 4
        position = 1
        if flags & _KEY:
            form, index, length = _key_header(payload[1:8])
            position += length
            if form != self.format:
                self.format = form
                self._transforms = [make_mdct(form.block_samples) for _ in range(form.channels)]
            contexts = _Contexts.fresh(form, index, counter)
        elif self._contexts is None or self.format is None:
            raise DamagedPayload("near-lossless payload depends on blocks that are missing")
        else:
            form, contexts = self.format, self._contexts
            if counter != (contexts.counter + 1) & 15:
                raise DamagedPayload("near-lossless payload is not the one after the last")
            if flags & _STEP:
                if len(payload) < 2:
                    raise DamagedPayload("near-lossless payload ends before its step")
                contexts.step_index += (payload[1] ^ 128) - 128
                position = 2
                if not 0 <= contexts.step_index < STEP_INDEXES:
                    raise DamagedPayload("near-lossless payload has a step out of range")
        contexts.counter = counter
        spectra = _decode_body(form, contexts, payload[position:], bool(flags & _KEY), bool(flags & _BANDS))
        self._contexts = contexts
        return _rotated(spectra) if flags & _MID_SIDE and form.channels == 2 else spectra


def _key_header(data: bytes) -> tuple[NearLosslessFormat, int, int]:
    """Format, step index, and how many bytes they took."""
    try:
        form, length = NearLosslessFormat.from_bytes(data)
        if len(data) < length + 2:
            raise DamagedPayload("near-lossless payload ends before its step index")
        index = FixedStep(int.from_bytes(data[length : length + 2], "big")).index
    except (AudioFormatError, BitrateError) as error:
        raise DamagedPayload(f"near-lossless payload has a damaged format: {error}") from error
    return form, index, length + 2


def _decode_body(form: NearLosslessFormat, contexts: _Contexts, body: bytes, key: bool, shaped: bool) -> Float32Array:
    bands = contexts.bands
    spectra = np.zeros((form.channels, form.block_samples), np.float32)
    if not body:
        contexts.coefficients.magnitudes[:] = 0
        remember_block(contexts.coefficients)
        return spectra
    offsets = np.zeros_like(bands.offsets)
    quantised = np.zeros(spectra.shape, np.int32)
    data = np.frombuffer(body, np.uint8).copy()
    decoder_init(contexts.coder, data, len(data))
    if shaped:
        decode_offsets(contexts.coder, data, bands, offsets, key)
    decode_coefficients(contexts.coder, data, contexts.coefficients, quantised, key)
    for channel in range(form.channels):
        dequantise(
            quantised[channel], bands.edges, offsets[channel], step_size(contexts.step_index), spectra[channel]
        )
    return spectra


def _finest_index(spectra: Float32Array) -> int:
    """The smallest step index that keeps the largest coefficient within what the coder takes."""
    peak_log2 = float(np.log2(max(float(np.abs(spectra).max()), 1.0) / LARGEST))
    return max(0, math.ceil(STEPS_PER_OCTAVE * (peak_log2 - SMALLEST_STEP_LOG2)))


def is_key_payload(payload: bytes) -> bool:
    """Whether a payload decodes without any earlier one."""
    return bool(payload) and bool(payload[0] & _KEY)


def step_for_bytes(
    samples: NDArray[np.floating],
    sample_rate_hz: int,
    payload_bytes: int,
    optimise: Optimise = "mse",
    block_samples: int = 0,
    key_period_blocks: int = 0,
) -> FixedStep:
    """The finest fixed step with which a whole signal takes at most ``payload_bytes``, by bisection (nine passes).

    Key blocks are counted as :func:`encode_signal` makes them.

    Shape: ``samples [n, channels]``, full scale 1.
    Errors: BitrateError where even the coarsest step takes more.
    """

    def fits(index: int) -> bool:
        encoder = NearLosslessEncoder(sample_rate_hz, samples.shape[1], FixedStep(index), optimise, block_samples)
        return sum(map(len, encode_signal(encoder, samples, key_period_blocks))) <= payload_bytes

    finest, coarsest = -1, STEP_INDEXES
    while coarsest - finest > 1:
        middle = (finest + coarsest) // 2
        if fits(middle):
            coarsest = middle
        else:
            finest = middle
    if coarsest == STEP_INDEXES:
        raise BitrateError(f"{max(payload_bytes, 0)} bytes are too few for {len(samples)} samples at any step")
    return FixedStep(coarsest)


def encode_signal(
    encoder: NearLosslessEncoder, samples: NDArray[np.floating], key_period_blocks: int = 0
) -> list[bytes]:
    """Payloads of a whole signal, and of the one block more that gets its last samples out.

    Every ``key_period_blocks``-th block is a key block, or the first alone where that is 0.

    Shape: ``samples [n, channels]``, full scale 1.
    """
    length = encoder.format.block_samples
    blocks = -(-len(samples) // length) + 1
    padded = np.zeros((blocks * length, encoder.format.channels), np.float32)
    padded[: len(samples)] = samples
    return [
        encoder.encode(padded[k * length : (k + 1) * length], bool(key_period_blocks) and k % key_period_blocks == 0)
        for k in range(blocks)
    ]


def decode_signal(payloads: list[bytes], samples: int) -> Float32Array:
    """Inverse of :func:`encode_signal`, for a signal of so many ``samples``; the delay is taken off."""
    decoder = NearLosslessDecoder()
    blocks = [decoder.decode(payload) for payload in payloads]
    return np.concatenate(blocks[1:])[:samples]


def warm_up(sample_rate_hz: int, block_samples: int = 0) -> None:
    """Compile all kernels for this block length, or load them from the cache, before sound flows."""
    tone = np.sin(np.arange(4096) * 0.05).astype(np.float32)[:, None]
    encoder = NearLosslessEncoder(sample_rate_hz, 1, FixedStep(200), "perceptual", block_samples)
    decode_signal(encode_signal(encoder, tone), len(tone))


def _copied(transforms: list[MdctState]) -> list[MdctState]:
    return [copy_state(transform) for transform in transforms]


def _rotated(spectra: Float32Array) -> Float32Array:
    """Left and right to mid and side and back: the rotation is its own inverse."""
    half = np.float32(np.sqrt(0.5))
    return np.stack([(spectra[0] + spectra[1]) * half, (spectra[0] - spectra[1]) * half])


def _prefers_mid_side(spectra: Float32Array) -> bool:
    """Whether mid and side promise fewer bits: the smaller sum of logarithms."""
    plain = np.log2(np.abs(spectra) + 1).sum()
    return bool(np.log2(np.abs(_rotated(spectra)) + 1).sum() < plain)
