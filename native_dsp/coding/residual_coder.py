"""Context-mixing coder of prediction residuals: what the predictor missed, in as few bits as its history allows.

A residual is split around the fractional prediction into side and distance. The distance is divided by a power of two
that follows its recent size, so that quotients are 4 to 8 on average; the quotient's five bits are coded from mixed
contexts, the remainder (all but flat) and, for large residuals, the side with equal probabilities.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding.adaptive_bits import adapt, make_models
from native_dsp.coding.adaptive_bits import probability as adaptive_probability
from native_dsp.coding.bit_mixing import Mixer, learn_bit, make_mixer, mixed_probability, split
from native_dsp.coding.elias_gamma import decode_gamma, encode_gamma
from native_dsp.coding.range_coder import decode_bits, decode_target, decode_update, encode, encode_bits
from native_dsp.integer_math import bit_length
from native_dsp.jit import inlined

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
ByteArray = NDArray[np.uint8]

TREE_BITS = 5
NODES = 1 << TREE_BITS
ESCAPE = NODES - 1
INTERVAL_BITS = 24
INPUTS = 4

# Mean distances are Q8.
DISTANCE_BITS = 8
# Contexts: size and fraction; attack or decay; the last two distances; correction by the filter cascade.
SCALES = 56
TRENDS = 25
LEVELS = 12
SIZE_CONTEXTS = SCALES * 4
TREND_CONTEXTS = TRENDS * 13
RECENT_CONTEXTS = LEVELS * LEVELS * 2
OUTER_CONTEXTS = 16 * 13
TREND_START = SIZE_CONTEXTS * NODES
RECENT_START = TREND_START + TREND_CONTEXTS * NODES
OUTER_START = RECENT_START + RECENT_CONTEXTS * NODES
SLOTS = OUTER_START + OUTER_CONTEXTS * NODES
SETS = 2 * NODES
SIGN_CONTEXTS = SCALES * 16

# Entries of ``registers``.
QUICK = 0
SLOW = 1
LAST = 2
LAST_BUT_ONE = 3
REGISTERS = 4

QUICK_SHIFT = 4
SLOW_SHIFT = 7
SLOWEST_COUNT = 120
LEARNING_RATE = 3


class ResidualCoder(NamedTuple):
    """Models of all channels.

    Shape: ``signs [channels * SIGN_CONTEXTS, 3]`` int32; ``registers [channels, REGISTERS]`` int64: mean distances
    over about 16 and 128 samples, and the last two distances.
    """

    mixer: Mixer
    signs: Int32Array
    registers: Int64Array


def make_residual_coder(channels: int) -> ResidualCoder:
    """Models that have seen nothing and expect residuals of a few steps."""
    registers = np.full((channels, REGISTERS), 16 << DISTANCE_BITS, np.int64)
    return ResidualCoder(
        mixer=make_mixer(channels * SLOTS, channels * SETS, INPUTS),
        signs=make_models(channels * SIGN_CONTEXTS),
        registers=registers,
    )


@inlined
def quarter_octaves(value: int) -> int:
    """Logarithm of ``value`` in quarters of an octave, roughly: bit length and the next two bits."""
    bits = bit_length(value)
    mantissa = value >> (bits - 3) if bits > 3 else value << (3 - bits)
    return bits * 4 + (mantissa & 3)


@inlined
def _level(distance: int, shift: int) -> int:
    return min(max(quarter_octaves(distance >> (shift + DISTANCE_BITS - 2)) // 2 - 2, 0), LEVELS - 1)


@inlined
def code_residual(
    coder: Int64Array,
    buffer: ByteArray,
    mixer: Mixer,
    signs: Int32Array,
    registers: Int64Array,
    channel: int,
    prediction: int,
    outer: int,
    fraction_bits: int,
    sample: int,
    decoding: bool,
) -> int:
    """Code ``sample`` around ``prediction`` (with ``fraction_bits`` fractional bits), or decode and return it.

    The three parts of the :class:`ResidualCoder` are handed in one by one: taking a tuple of arrays apart for every
    sample costs more than the coding. ``outer`` is a size that the residual's may go with, in Q8: how far the filters
    moved the prediction, or, for the second channel, the residual of the first.

    Shape: ``coder [STATE_SIZE]`` and ``buffer [bytes]`` of the range coder; ``signs`` and ``registers`` as of
    :class:`ResidualCoder`.
    """
    quick = registers[channel, QUICK]
    slow = registers[channel, SLOW]
    scale = (3 * quick + slow) >> 2
    shift = max(0, bit_length(scale >> DISTANCE_BITS) - 3)
    ceiling = (prediction >> fraction_bits) + 1
    sixteenth = (prediction & ((1 << fraction_bits) - 1)) << (4 - fraction_bits)

    size = quarter_octaves(scale)
    if shift > 0:
        size = 48 + ((scale >> (shift + DISTANCE_BITS - 1)) & 7)
    coarse = 12 if shift > 0 else size >> 2
    # The bits to come narrow one interval of 2^INTERVAL_BITS, coded at the end; a decoder looks up its target first.
    start = np.int64(0)
    width = np.int64(1 << INTERVAL_BITS)
    target = decode_target(coder, INTERVAL_BITS) if decoding else np.int64(0)
    negative = 0 if decoding or sample >= ceiling else 1
    if shift <= 1:
        slot = (channel * SCALES + size) * 16 + sixteenth
        part = split(width, adaptive_probability(signs, slot), TREE_BITS)
        if decoding:
            negative = 1 if target < part else 0
        if negative:
            width = part
        else:
            start = part
            width -= part
        adapt(signs, slot, negative)
    distance = ceiling - 1 - sample if negative else sample - ceiling
    quotient = distance >> shift

    near = 0
    if shift == 0:
        near = (sixteenth if negative else 15 - sixteenth) >> 2
    trend = min(max(quarter_octaves(quick) - quarter_octaves(slow) + TRENDS // 2, 0), TRENDS - 1)
    last = _level(registers[channel, LAST], shift)
    before = _level(registers[channel, LAST_BUT_ONE], shift)
    ratio = min(max(quarter_octaves(outer) - quarter_octaves(scale) + 12, 0) >> 1, 15)
    base = channel * SLOTS
    at_size = base + (size * 4 + near) * NODES
    at_trend = base + TREND_START + (coarse * TRENDS + trend) * NODES
    at_recent = base + RECENT_START + ((last * LEVELS + before) * 2 + (1 if shift > 0 else 0)) * NODES
    at_outer = base + OUTER_START + (coarse * 16 + ratio) * NODES
    weight_base = (channel * 2 + (1 if shift > 0 else 0)) * NODES
    symbol = min(quotient, ESCAPE)
    node = 1
    for level in range(TREE_BITS):
        mixer.chosen[0] = at_size + node
        mixer.chosen[1] = at_trend + node
        mixer.chosen[2] = at_recent + node
        mixer.chosen[3] = at_outer + node
        chance = mixed_probability(mixer, INPUTS, weight_base + node)
        part = split(width, chance, TREE_BITS - 1 - level)
        bit = (symbol >> (TREE_BITS - 1 - level)) & 1
        if decoding:
            bit = 1 if target < start + part else 0
        if bit:
            width = part
        else:
            start += part
            width -= part
        learn_bit(mixer, INPUTS, weight_base + node, chance, bit, SLOWEST_COUNT, LEARNING_RATE)
        node = node * 2 + bit
    if decoding:
        decode_update(coder, buffer, start, width, INTERVAL_BITS)
        quotient = node - NODES
        if quotient == ESCAPE:
            quotient += decode_gamma(coder, buffer)
        distance = quotient << shift
        if shift > 1:
            rest = decode_bits(coder, buffer, shift + 1)
            negative = rest & 1
            distance += rest >> 1
        elif shift == 1:
            distance += decode_bits(coder, buffer, 1)
        sample = ceiling - 1 - distance if negative else ceiling + distance
    else:
        encode(coder, buffer, start, width, INTERVAL_BITS)
        if symbol == ESCAPE:
            encode_gamma(coder, buffer, quotient - ESCAPE)
        rest = distance & ((1 << shift) - 1)
        if shift > 1:
            encode_bits(coder, buffer, rest << 1 | negative, shift + 1)
        elif shift == 1:
            encode_bits(coder, buffer, rest, 1)

    exact = abs((sample << fraction_bits) - prediction) << (DISTANCE_BITS - fraction_bits)
    registers[channel, QUICK] = quick + ((exact - quick) >> QUICK_SHIFT)
    registers[channel, SLOW] = slow + ((exact - slow) >> SLOW_SHIFT)
    registers[channel, LAST_BUT_ONE] = registers[channel, LAST]
    registers[channel, LAST] = exact
    return sample
