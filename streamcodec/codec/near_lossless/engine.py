"""Near-lossless engine: blocks of samples in, payloads out; an MDCT, one step size, and context-mixed coding.

Payload, big-endian::

    byte 0      bit 0 key, bit 1 step follows, bit 2 shaped, bit 3 mid/side; bits 4-7 block counter, modulo 16
    key only    format (1): bits 0-3 sample rate, of ``RATES_HZ``, bit 4 channels less one, bits 5-7 log2 of the block
                length less 6; sample rate in Hz (3) where bits 0-3 are all set; step index (2)
    step        difference of the step index to the last block's, signed (1), where it changes; not in key blocks
    body        range code; shaped: whether the block is split in time, and band energies; then the coefficients;
                empty where all are zero

The transform's windows span two blocks, so what a decoder returns lags by one: ``decode`` of a stream's first payload
gives (almost) silence, and one block more must be coded to get the last samples out.

A block's contexts are the blocks before it, back to the last key block. A lost block therefore costs the blocks up to
the next key block, all concealed; with ``key=True`` for every block it costs itself alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding.coefficient_coder import LARGEST
from native_dsp.coding.noise_shape import FINE_SHAPE, USUAL_SHAPE, noise_shape_at
from native_dsp.state import copy_state
from native_dsp.transforms.mdct import MdctState, make_mdct, mdct_backward, mdct_forward
from streamcodec.codec.near_lossless.concealment import Concealment, begin_lost_block, conceal, hear, make_concealment
from streamcodec.codec.near_lossless.format import (
    FULL_SCALE,
    SMALLEST_STEP_LOG2,
    STEP_INDEXES,
    STEPS_PER_OCTAVE,
    NearLosslessFormat,
    default_block_samples,
)
from streamcodec.codec.near_lossless.rate import (
    FixedStep,
    NearLosslessRateControl,
    RateTarget,
    TargetBitrate,
    noise_shape_of,
)
from streamcodec.codec.near_lossless.spectra import Layout, SpectrumContexts
from streamcodec.codec.options import Optimise
from streamcodec.codec.packet import MAX_PAYLOAD_BYTES
from streamcodec.errors import AudioFormatError, BitrateError, DamagedPayload

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]

FINER_TRIES = 3
"""Passes that look for how many blocks may be finer; what the blocks take depends a little on those before."""

_KEY, _STEP, _SHAPED, _MID_SIDE = 1, 2, 4, 8


@dataclass(slots=True)
class _Contexts:
    """What encoder and decoder keep in step."""

    spectra: SpectrumContexts
    step_index: int = -1
    counter: int = -1

    def copy(self) -> _Contexts:
        return replace(self, spectra=self.spectra.copy())


class NearLosslessEncoder:
    """Codes blocks of one stream.

    ``block_samples`` is a power of two of samples (0: the default for the rate); ``optimise`` is ``"mse"`` for the
    least squared error, or ``"perceptual"`` to let noise follow the spectral envelope. A block that would take more
    than ``max_payload_bytes`` is coded coarser.
    Errors: AudioFormatError, BitrateError for what is out of range.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        channels: int = 1,
        target: RateTarget | None = None,
        optimise: Optimise = "perceptual",
        block_samples: int = 0,
        max_payload_bytes: int = MAX_PAYLOAD_BYTES,
    ) -> None:
        if optimise not in ("mse", "perceptual"):
            raise BitrateError(f'near-lossless coding is optimised for "mse" or "perceptual", got {optimise!r}')
        block_samples = block_samples or default_block_samples(sample_rate_hz)
        self.format = NearLosslessFormat(sample_rate_hz, channels, block_samples)
        self._layout = Layout.of(self.format, optimise == "perceptual")
        self._rate = NearLosslessRateControl(
            target or TargetBitrate.from_ratio(8, sample_rate_hz, channels), self.format
        )
        self._transforms = [make_mdct(block_samples, self._layout.overlap_samples) for _ in range(channels)]
        self._max_payload_bytes = max_payload_bytes
        self._contexts: _Contexts | None = None

    def copy(self) -> NearLosslessEncoder:
        """An encoder in the same state that shares nothing with this one."""
        twin = NearLosslessEncoder.__new__(NearLosslessEncoder)
        twin.format = self.format
        twin._layout = self._layout.copy()
        twin._rate = self._rate.copy()
        twin._transforms = _copied(self._transforms)
        twin._max_payload_bytes = self._max_payload_bytes
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
        return self._payload(spectra, key, mid_side)

    def _payload(self, spectra: Float32Array, key: bool, mid_side: bool) -> bytes:
        contexts = self._contexts
        power = float(np.mean(np.square(spectra, dtype=np.float64)))
        if contexts is None:
            contexts, key = _Contexts(SpectrumContexts.fresh(self._layout)), True
            self._contexts = contexts
        elif key:
            contexts.spectra.restart()
        contexts.spectra.noise = noise_shape_of(self._rate.target, self.format)
        contexts.counter = (contexts.counter + 1) & 15
        block = contexts.spectra.shape(spectra, self._rate.index, key)
        magnitudes = contexts.spectra.magnitudes(block)
        index = max(self._rate.next_index(magnitudes, power), _finest_index(spectra))
        while True:
            change = index - contexts.step_index
            if not key and abs(change) > 127:
                key = True
                contexts.spectra.restart()
                block = contexts.spectra.shape(spectra, index, key)
            contexts.step_index = index
            flags = (_SHAPED if self._layout.shaped else 0) | (_MID_SIDE if mid_side else 0)
            flags |= contexts.counter << 4
            if key:
                flags |= _KEY
                header = self.format.to_bytes() + index.to_bytes(2, "big")
            else:
                flags |= _STEP if change else 0
                header = bytes((change & 255,)) if change else b""
            body, error = contexts.spectra.encode(block, index, key)
            payload = bytes((flags,)) + header + body
            if len(payload) <= self._max_payload_bytes:
                break
            # Too long for a packet: again, coarser, and from fresh contexts, since these have moved on.
            index, key = min(index + STEPS_PER_OCTAVE, STEP_INDEXES - 1), True
            contexts.spectra.restart()
            block = contexts.spectra.shape(spectra, index, key)
        self._rate.learn(len(payload), magnitudes, power, error / spectra.size)
        return payload

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
        self._in_step = False
        self._transforms: list[MdctState] = []
        self._spectra: Float32Array = np.zeros((1, 0), np.float32)
        self._concealment: Concealment | None = None

    def copy(self) -> NearLosslessDecoder:
        """A decoder in the same state that shares nothing with this one."""
        twin = NearLosslessDecoder()
        twin.format = self.format
        twin.concealed_blocks = self.concealed_blocks
        twin._contexts = self._contexts.copy() if self._contexts else None
        twin._in_step = self._in_step
        twin._transforms = _copied(self._transforms)
        twin._spectra = self._spectra.copy()
        twin._concealment = copy_state(self._concealment)
        return twin

    def decode(self, payload: bytes | None) -> Float32Array:
        """Samples of the block before the payload's, or of what stands in for it; None is a lost payload.

        Shape: float32 ``[block_samples, channels]``, full scale 1.
        Errors: DamagedPayload, and nothing else whatever the bytes, as long as no key block has come; later on,
        whatever cannot be decoded is concealed, and counted in ``concealed_blocks``.
        """
        try:
            self._spectra = self._decoded(payload)
            assert self._concealment is not None
            self._concealment.control.lost_in_a_row[0] = 0
        except DamagedPayload:
            self._in_step = False
            if self._concealment is None:
                raise
            self.concealed_blocks += 1
            begin_lost_block(self._concealment)
            for channel, transform in enumerate(self._transforms):
                conceal(self._concealment, transform, channel, self._spectra[channel])
        assert self.format is not None
        output = np.zeros((self.format.channels, self.format.block_samples), np.float32)
        for channel, transform in enumerate(self._transforms):
            mdct_backward(transform, self._spectra[channel], output[channel])
            hear(self._concealment, transform, channel, output[channel])
        samples: Float32Array = np.ascontiguousarray(output.T) * np.float32(1 / FULL_SCALE)
        return samples

    def _decoded(self, payload: bytes | None) -> Float32Array:
        if not payload:
            raise DamagedPayload("near-lossless payload is missing")
        flags, counter = payload[0], payload[0] >> 4
        position, key, shaped = 1, bool(flags & _KEY), bool(flags & _SHAPED)
        if key:
            form, index, length = _key_header(payload[1:8])
            position += length
            contexts = self._prepared(form, shaped)
            contexts.step_index = index
        elif self._contexts is None or not self._in_step:
            raise DamagedPayload("near-lossless payload depends on blocks that are missing")
        else:
            contexts = self._contexts
            if counter != (contexts.counter + 1) & 15 or shaped != contexts.spectra.layout.shaped:
                raise DamagedPayload("near-lossless payload is not the one after the last")
            if flags & _STEP:
                if len(payload) < 2:
                    raise DamagedPayload("near-lossless payload ends before its step")
                contexts.step_index += (payload[1] ^ 128) - 128
                position = 2
                if not 0 <= contexts.step_index < STEP_INDEXES:
                    raise DamagedPayload("near-lossless payload has a step out of range")
        contexts.counter = counter
        spectra = contexts.spectra.decode(payload[position:], contexts.step_index, key)
        self._in_step = True
        return _rotated(spectra) if flags & _MID_SIDE and len(spectra) == 2 else spectra

    def _prepared(self, form: NearLosslessFormat, shaped: bool) -> _Contexts:
        """Contexts of a key block; layout and transforms are made anew where the format is another than before."""
        if self._contexts is not None and (form, shaped) == (self.format, self._contexts.spectra.layout.shaped):
            self._contexts.spectra.restart()
            return self._contexts
        self.format, layout = form, Layout.of(form, shaped)
        self._transforms = [make_mdct(form.block_samples, layout.overlap_samples) for _ in range(form.channels)]
        self._contexts = _Contexts(SpectrumContexts.fresh(layout))
        self._concealment = make_concealment(form, layout.overlap_samples)
        self._spectra = np.zeros((form.channels, form.block_samples), np.float32)
        return self._contexts


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
    carried_bytes: Callable[[int], int] = int,
) -> FixedStep:
    """The finest fixed step with which a whole signal takes at most ``payload_bytes``.

    Found by bisection (nine passes); what is left over then goes into a finer step for the first blocks (one to
    three more). Key blocks are counted as :func:`encode_signal` makes them, and of each payload ``carried_bytes`` of
    its length.

    Shape: ``samples [n, channels]``, full scale 1.
    Errors: BitrateError where even the coarsest step takes more.
    """

    bitrate_bps = 8 * payload_bytes * sample_rate_hz / max(samples.size, 1)
    noise = noise_shape_at(bitrate_bps) if optimise == "perceptual" else USUAL_SHAPE

    def sizes(step: FixedStep) -> Int64Array:
        encoder = NearLosslessEncoder(sample_rate_hz, samples.shape[1], step, optimise, block_samples)
        payloads = encode_signal(encoder, samples, key_period_blocks)
        return np.array([carried_bytes(len(payload)) for payload in payloads], np.int64)

    found: dict[int, Int64Array] = {}
    finest, coarsest = -1, STEP_INDEXES
    while coarsest - finest > 1:
        middle = (finest + coarsest) // 2
        found[middle] = sizes(FixedStep(middle, 0, noise))
        if found[middle].sum() <= payload_bytes:
            coarsest = middle
        else:
            finest = middle
    if coarsest == STEP_INDEXES:
        raise BitrateError(
            f"{max(payload_bytes, 0)} bytes are too few for this sound at any step: ask for a lower ratio"
        )
    if finest < 0:
        return FixedStep(coarsest, 0, noise)
    # Bytes by how many blocks are finer, but for what the change from one step to the other costs.
    expected = np.maximum.accumulate(found[coarsest].sum() + np.cumsum(found[finest] - found[coarsest]))
    allowed = payload_bytes
    for _ in range(FINER_TRIES):
        finer = int(np.count_nonzero(expected <= allowed))
        if not finer:
            break
        over = int(sizes(FixedStep(coarsest, finer, noise)).sum()) - payload_bytes
        if over <= 0:
            return FixedStep(coarsest, finer, noise)
        allowed = int(expected[finer - 1]) - over
    return FixedStep(coarsest, 0, noise)


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
    for shape in (USUAL_SHAPE, FINE_SHAPE):
        encoder = NearLosslessEncoder(sample_rate_hz, 1, FixedStep(200, noise=shape), "perceptual", block_samples)
        decoder = NearLosslessDecoder()
        for payload in (*encode_signal(encoder, tone), None):
            decoder.decode(payload)


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
