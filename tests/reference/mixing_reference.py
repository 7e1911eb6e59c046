"""Adaptive bit models and their logistic mixing once more, slow and plain, for the tests.

Models live in dictionaries under their contexts, so that equality with the kernels also shows that no two contexts
share a slot there.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from fractions import Fraction
from functools import cache

from native_dsp.coding import adaptive_bits, bit_mixing
from tests.reference.range_coder_reference import ReferenceEncoder


class ReferenceModel:
    """One adaptive bit; see :mod:`native_dsp.coding.adaptive_bits`."""

    def __init__(self) -> None:
        self.estimates = [1 << 15, 1 << 15]
        self.seen = 0

    def probability(self) -> int:
        """Mean of the two estimates, of 65536."""
        return min(max(sum(self.estimates) // 2, 1), 65535)

    def adapt(self, bit: int) -> None:
        """Both estimates towards the bit, each at its pace."""
        for i, slowest in enumerate((adaptive_bits.FAST_SHIFT, adaptive_bits.SLOW_SHIFT)):
            self.estimates[i] += (65535 * bit - self.estimates[i]) // 2 ** min(self.seen + 1, slowest)
        self.seen = min(self.seen + 1, adaptive_bits.SLOW_SHIFT)


class ReferenceMixer:
    """Counters of every context that came up, weights of every selection; see :mod:`native_dsp.coding.bit_mixing`."""

    def __init__(self, inputs: int, slowest: int, rate: int) -> None:
        self.slowest = slowest
        self.rate = rate
        self.fresh_weights = [bit_mixing.WEIGHT_ONE * 5 // (4 * inputs)] * inputs
        self.counters: dict[Hashable, tuple[int, int]] = {}
        self.weights: dict[Hashable, list[int]] = {}

    def probability(self, contexts: Sequence[Hashable], selection: Hashable) -> int:
        """Mixed probability of a 1, of 65536, from one context for each input."""
        weights = self.weights.setdefault(selection, self.fresh_weights)
        total = sum(w * s for w, s in zip(weights, self._stretched(contexts), strict=True)) >> 16
        return _squash(min(max(total, -bit_mixing.STRETCH_LIMIT), bit_mixing.STRETCH_LIMIT))

    def learn(self, contexts: Sequence[Hashable], selection: Hashable, probability: int, bit: int) -> None:
        """Counters towards the bit, weights down the gradient of the code length."""
        error = ((bit << 16) - probability) * self.rate
        limit = bit_mixing.WEIGHT_LIMIT
        self.weights[selection] = [
            min(max(w + ((s * error + (1 << 17)) >> bit_mixing.LEARNING_SHIFT), -limit), limit)
            for w, s in zip(self.weights[selection], self._stretched(contexts), strict=True)
        ]
        target = (1 << 24) - 1 if bit else 0
        for key in enumerate(contexts):
            value, count = self.counters[key]
            value += (target - value) * (131072 // (2 * count + 3)) >> 16
            self.counters[key] = value, min(count + 1, self.slowest)

    def encode(self, coder: ReferenceEncoder, contexts: Sequence[Hashable], selection: Hashable, bit: int) -> None:
        """Code a bit, and learn it."""
        probability = self.probability(contexts, selection)
        coder.encode_bit(probability, bit)
        self.learn(contexts, selection, probability, bit)

    def _stretched(self, contexts: Sequence[Hashable]) -> list[int]:
        """Logits of the counters, 256 to the unit."""
        values = [self.counters.setdefault(key, (1 << 23, 0))[0] for key in enumerate(contexts)]
        return [int(bit_mixing.STRETCH[value >> 12]) for value in values]


@cache
def _squash(logit: int) -> int:
    exact = round(Fraction(65536) / (1 + Fraction(math.exp(-logit / 256))))
    return min(max(exact, 1), 65535)
