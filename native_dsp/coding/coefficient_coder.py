"""Context-mixing coder of quantised transform coefficients: integers along frequency, block after block.

What is known when a coefficient's turn comes: the lower neighbours in its block, its surroundings in the two blocks
before, a running mean of its own past, for a second channel the first one's block, and a hint at its size where
band energies have been sent before it. Each of ``INPUTS`` contexts made of these picks a counter for every binary
decision, and the mixer weighs them. Magnitudes are coded unary, after division by a power of two that follows the
expected size where that is large; remainders and signs are all but flat and coded as such. Integers only, so that
every machine decodes the same.

A key block knows nothing of earlier ones: hints stand in for them, and counters and weights are its own (the first
*bank*).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding.bit_mixing import BANKS, Mixer, learn_bit, make_mixer, mixed_probability
from native_dsp.coding.elias_gamma import decode_gamma, encode_gamma
from native_dsp.coding.range_coder import decode_bit, decode_bits, encode_bit, encode_bits
from native_dsp.integer_math import bit_length
from native_dsp.jit import inlined, kernel
from native_dsp.state import copy_state

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
ByteArray = NDArray[np.uint8]

UNARY_LIMIT = 18
NODES = 64
INPUTS = 9
CONTEXTS = 512
SLOTS = INPUTS * CONTEXTS * NODES
SIZES = 12
SETS = NODES * SIZES
LARGEST = 1 << 26
HIGHEST_HINT = 31
# Zeros around the spectra, so that neighbours past the ends need no test.
MARGIN = 4

SLOWEST_COUNT = 120
LEARNING_RATE = 3


class CoefficientCoder(NamedTuple):
    """Models, and what is remembered of earlier blocks.

    Shape: ``last``, ``before`` and ``mean [channels, coefficients + 2 * MARGIN]`` int32: magnitudes of the last two
    blocks, and a running mean of the magnitudes in sixteenths; ``magnitudes``, the same shape, is scratch.
    """

    mixer: Mixer
    last: Int32Array
    before: Int32Array
    mean: Int32Array
    magnitudes: Int32Array


def make_coefficient_mixer() -> Mixer:
    """Models of both banks that have seen nothing."""
    return make_mixer(BANKS * SLOTS, BANKS * SETS, INPUTS)


def make_coefficient_coder(channels: int, coefficients: int, learnt: Mixer | None = None) -> CoefficientCoder:
    """A coder that has seen no block; its models know what a copy of ``learnt`` knows, or nothing."""
    shape = (channels, coefficients + 2 * MARGIN)
    return CoefficientCoder(
        mixer=make_coefficient_mixer() if learnt is None else copy_state(learnt),
        last=np.zeros(shape, np.int32),
        before=np.zeros(shape, np.int32),
        mean=np.zeros(shape, np.int32),
        magnitudes=np.zeros(shape, np.int32),
    )


@inlined
def _coarse(value: int, highest: int) -> int:
    """Exact below 4, then two steps to the octave."""
    bits = bit_length(value)
    level = value if value < 4 else 2 * bits - 2 + ((value >> (bits - 2)) & 1)
    return min(level, highest)


@inlined
def _fine(value: int, highest: int) -> int:
    """Exact below 8, then four steps to the octave."""
    bits = bit_length(value)
    level = value if value < 8 else 4 * bits - 8 + ((value >> (bits - 3)) & 3)
    return min(level, highest)


@inlined
def _code_coefficients(
    coder: Int64Array,
    buffer: ByteArray,
    models: CoefficientCoder,
    quantised: Int32Array,
    hints: Int32Array,
    key: bool,
    decoding: bool,
) -> None:
    channels, coefficients = quantised.shape
    mixer = models.mixer
    bank = 0 if key else 1
    for channel in range(channels):
        now = models.magnitudes[channel]
        last = models.last[channel]
        before = models.before[channel]
        mean = models.mean[channel]
        other = models.magnitudes[0]
        run = np.int64(0)
        for k in range(coefficients):
            i = k + MARGIN
            a1 = np.int64(now[i - 1])
            a2 = np.int64(now[i - 2])
            a34 = np.int64(now[i - 3]) + np.int64(now[i - 4])
            p0 = np.int64(last[i])
            p1 = np.int64(last[i - 1]) + np.int64(last[i + 1])
            p2 = np.int64(last[i - 2]) + np.int64(last[i + 2])
            p3 = np.int64(last[i + 3]) + np.int64(last[i + 4])
            b = 2 * np.int64(before[i]) + np.int64(before[i - 1]) + np.int64(before[i + 1])
            m = np.int64(mean[i])
            neighbours = np.int64(mean[i - 1]) + np.int64(mean[i + 1])
            hint = np.int64(hints[channel, k])
            first = np.int64(0)
            if channel == 1:
                first = 2 * np.int64(other[i]) + np.int64(other[i - 1]) + np.int64(other[i + 1])
            if key:
                size = (24 * a1 + 16 * a2 + 8 * a34 + 4 * run) >> 3
                if channel == 1:
                    size = (3 * size + 4 * first) >> 2
            else:
                size = 24 * a1 + 12 * a2 + 4 * a34 + 16 * p0 + 8 * p1 + 4 * p2 + 4 * b
                size = (size + 2 * run + 3 * m + neighbours) // 14
            shift = max(0, bit_length(size >> 4) - 2)
            scaled_a1 = (a1 << 1) >> shift
            scaled_p0 = (p0 << 1) >> shift
            kind = min(shift, 2)
            level = _coarse(size, 2 * SIZES - 1) >> 1
            fine = _fine(size, 63)

            base = bank * SLOTS
            c0 = _coarse((2 * a1 + a2) >> shift, 15) * 16 + _coarse((p1 + 2 * p0) >> shift, 15)
            c1 = (k * 32 // coefficients) * 16 + min(level, 15)
            c2 = _coarse((2 * run >> 3) >> shift, 15) * 16 + _coarse((p0 + p1 + p2 + p3) >> shift, 15)
            c4 = (min(scaled_a1, 7) * 8 + min(scaled_p0, 7)) * 4 + min((a2 << 1) >> shift, 3)
            c5 = fine * 8 + min(_coarse(a34 >> shift, 7), 7)
            if key:
                c3 = hint * 16 + _coarse(scaled_a1, 15)
                c6 = hint * 16 + _coarse((2 * run >> 3) >> shift, 15)
                c7 = hint * 16 + _coarse(a34 >> shift, 15)
            else:
                c3 = (_coarse(b >> shift, 15) * 4 + min(scaled_p0, 3)) * 4 + min(scaled_a1, 3)
                c6 = _fine((m << 1) >> shift, 63) * 4 + min(scaled_a1, 3)
                c7 = _coarse(neighbours >> shift, 31) * 16 + _coarse(m >> shift, 15)
            place = hint if hint > 0 else min(k, 31)
            c8 = (_coarse(first >> shift, 31) if channel == 1 else place) * 16 + level
            root = base + kind * (UNARY_LIMIT + 1)
            s0 = root + c0 * NODES
            s1 = root + (CONTEXTS + c1) * NODES
            s2 = root + (2 * CONTEXTS + c2) * NODES
            s3 = root + (3 * CONTEXTS + c3) * NODES
            s4 = root + (4 * CONTEXTS + c4) * NODES
            s5 = root + (5 * CONTEXTS + c5) * NODES
            s6 = root + (6 * CONTEXTS + c6) * NODES
            s7 = root + (7 * CONTEXTS + c7) * NODES
            s8 = root + (8 * CONTEXTS + c8) * NODES
            weight_base = (bank * SIZES + min(level, SIZES - 1)) * NODES + kind * (UNARY_LIMIT + 1)

            value = np.int64(quantised[channel, k])
            magnitude = abs(value)
            wanted = magnitude >> shift
            units = 0
            while units < UNARY_LIMIT:
                mixer.chosen[0] = s0 + units
                mixer.chosen[1] = s1 + units
                mixer.chosen[2] = s2 + units
                mixer.chosen[3] = s3 + units
                mixer.chosen[4] = s4 + units
                mixer.chosen[5] = s5 + units
                mixer.chosen[6] = s6 + units
                mixer.chosen[7] = s7 + units
                mixer.chosen[8] = s8 + units
                chance = mixed_probability(mixer, INPUTS, weight_base + units)
                if decoding:
                    more = decode_bit(coder, buffer, chance)
                else:
                    more = 1 if wanted > units else 0
                    encode_bit(coder, buffer, chance, more)
                learn_bit(mixer, INPUTS, weight_base + units, chance, more, SLOWEST_COUNT, LEARNING_RATE)
                if not more:
                    break
                units += 1
            if decoding:
                if units == UNARY_LIMIT:
                    units += decode_gamma(coder, buffer)
                magnitude = units << shift
                if shift > 0:
                    magnitude += decode_bits(coder, buffer, shift)
                magnitude = min(magnitude, LARGEST)
                value = magnitude
                if magnitude > 0 and decode_bits(coder, buffer, 1):
                    value = -magnitude
                quantised[channel, k] = value
            else:
                if units == UNARY_LIMIT:
                    encode_gamma(coder, buffer, wanted - UNARY_LIMIT)
                if shift > 0:
                    encode_bits(coder, buffer, magnitude & ((1 << shift) - 1), shift)
                if magnitude > 0:
                    encode_bits(coder, buffer, 1 if value < 0 else 0, 1)
            now[i] = magnitude
            run += ((magnitude << 4) - run) >> 2
    remember_block(models)


@kernel
def remember_block(models: CoefficientCoder) -> None:
    """Make ``models.magnitudes`` the last block; called alone after a block of zeros that were not coded."""
    channels, width = models.last.shape
    for channel in range(channels):
        for i in range(MARGIN, width - MARGIN):
            models.before[channel, i] = models.last[channel, i]
            models.last[channel, i] = models.magnitudes[channel, i]
            mean = np.int64(models.mean[channel, i])
            models.mean[channel, i] = mean + (((np.int64(models.magnitudes[channel, i]) << 4) - mean) >> 2)


@kernel
def encode_coefficients(
    coder: Int64Array,
    buffer: ByteArray,
    models: CoefficientCoder,
    quantised: Int32Array,
    hints: Int32Array,
    key: bool,
) -> None:
    """Code a block of spectra, channel after channel, into a range code under way.

    Shape: ``quantised [channels, coefficients]`` int32, magnitudes up to ``LARGEST``; ``hints``, the same shape: what
    is known of each from elsewhere, 1 to ``HIGHEST_HINT``, or 0 for nothing.
    """
    _code_coefficients(coder, buffer, models, quantised, hints, key, False)


@kernel
def decode_coefficients(
    coder: Int64Array,
    buffer: ByteArray,
    models: CoefficientCoder,
    quantised: Int32Array,
    hints: Int32Array,
    key: bool,
) -> None:
    """Inverse of :func:`encode_coefficients`; any bytes decode to something within bounds.

    Shape: as there; ``quantised [channels, coefficients]`` is written.
    """
    _code_coefficients(coder, buffer, models, quantised, hints, key, True)
