"""Logistic mixing of adaptive binary models, in integers: several contexts each give a probability, one is coded.

Every model is a counter that moves by ``1 / (n + 1.5)`` after its n-th bit, down to a slowest rate. The probabilities
are taken to the logistic domain (``stretch``), weighed by a set of weights, summed and taken back (``squash``); the
weights then follow the gradient of the code length (Mahoney, "Adaptive weighing of context models for lossless data
compression", 2005). Tables and arithmetic are integers, so that every machine codes the same bits.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import inlined

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]

# Logistic domain: 256 steps are one unit of ln(p / (1 - p)), held within +-2047.
STRETCH_LIMIT = 2047
# A counter keeps a 24-bit probability above a 7-bit count of the bits it has seen.
COUNT_BITS = 7
PROBABILITY_BITS = 24
# Coders of blocks keep models for key blocks first, and as many for the others.
BANKS = 2
# One, in a weight.
WEIGHT_ONE = 1 << 16
WEIGHT_LIMIT = 1 << 20
LEARNING_SHIFT = 18


class Mixer(NamedTuple):
    """Models, weights and the selection for the bit at hand.

    Shape: ``counters [slots]`` int32; ``weights [sets, inputs]`` int32; ``chosen [inputs]`` int64, the counter of
    each input; ``stretched [inputs]`` int64, scratch.
    """

    counters: Int32Array
    weights: Int32Array
    chosen: Int64Array
    stretched: Int64Array


def _squash_table() -> Int32Array:
    """``65536 / (1 + exp(-x / 256))`` for x from -2048 to 2047, rounded in decimal arithmetic: no libm is asked."""
    with localcontext() as context:
        context.prec = 30
        step = (Decimal(-1) / 256).exp()
        power = Decimal(8).exp()
        values = []
        for _ in range(4096):
            values.append(int((65536 / (1 + power)).to_integral_value()))
            power *= step
    return np.clip(np.array(values, np.int32), 1, 65535)


SQUASH = _squash_table()
STRETCH = np.clip(np.searchsorted(SQUASH, np.arange(4096) * 16 + 8) - 2048, -2047, 2047).astype(np.int32)
# 65536 / (n + 1.5)
RECIPROCALS = (2 * 65536 // (2 * np.arange(1 << COUNT_BITS) + 3)).astype(np.int32)


def make_mixer(slots: int, sets: int, inputs: int) -> Mixer:
    """Counters at one half that have seen nothing, and weights that add up to a little over one.

    A sum over one lets agreeing models be surer together than each alone.
    """
    return Mixer(
        counters=np.full(slots, 1 << (PROBABILITY_BITS - 1 + COUNT_BITS), np.int32),
        weights=np.full((sets, inputs), WEIGHT_ONE * 5 // (4 * inputs), np.int32),
        chosen=np.zeros(inputs, np.int64),
        stretched=np.zeros(inputs, np.int64),
    )


def restore_banks(mixer: Mixer, known: Mixer, banks: int) -> None:
    """Make the first ``banks`` of the ``BANKS`` equal parts of counters and weights what they are in ``known``."""
    for array, source in ((mixer.counters, known.counters), (mixer.weights, known.weights)):
        end = len(array) // BANKS * banks
        array[:end] = source[:end]


@inlined
def mixed_probability(mixer: Mixer, inputs: int, weight_set: int) -> int:
    """Probability of a 1, of 65536, from the chosen counters; ``inputs`` is a constant to the compiler."""
    total = 0
    for i in range(inputs):
        twelve_bits = np.int64(mixer.counters[mixer.chosen[i]]) >> (COUNT_BITS + PROBABILITY_BITS - 12)
        stretched = np.int64(STRETCH[twelve_bits])
        mixer.stretched[i] = stretched
        total += stretched * np.int64(mixer.weights[weight_set, i])
    total = min(max(total >> 16, -STRETCH_LIMIT), STRETCH_LIMIT)
    probability: int = np.int64(SQUASH[total + 2048])
    return probability


@inlined
def learn_bit(
    mixer: Mixer, inputs: int, weight_set: int, probability: int, bit: int, slowest: int, rate: int
) -> None:
    """Move the chosen counters and the weights after ``bit`` was coded with ``probability``.

    ``slowest`` is the count (up to 127) at which the counters stop slowing down, ``rate`` the learning rate of the
    weights.
    """
    error = ((bit << 16) - probability) * rate
    for i in range(inputs):
        weight = np.int64(mixer.weights[weight_set, i])
        weight += (mixer.stretched[i] * error + (1 << (LEARNING_SHIFT - 1))) >> LEARNING_SHIFT
        mixer.weights[weight_set, i] = min(max(weight, -WEIGHT_LIMIT), WEIGHT_LIMIT)
        slot = mixer.chosen[i]
        counter = np.int64(mixer.counters[slot])
        count = counter & ((1 << COUNT_BITS) - 1)
        value = counter >> COUNT_BITS
        target = (1 << PROBABILITY_BITS) - 1 if bit else 0
        value += ((target - value) * np.int64(RECIPROCALS[count])) >> 16
        mixer.counters[slot] = value << COUNT_BITS | min(count + 1, slowest)


@inlined
def split(width: int, probability: int, levels_left: int) -> int:
    """Part of an interval of ``width`` that a 1 owns; both parts stay wide enough for ``levels_left`` more bits.

    Several bits in a row narrow one interval, which the range coder then codes in a single step.
    """
    least = 1 << levels_left
    return min(max(width * probability >> 16, least), width - least)
