"""The coder of prediction residuals once more, slow and plain; see :mod:`native_dsp.coding.residual_coder`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass

from native_dsp.coding import residual_coder as fast
from tests.reference.mixing_reference import ReferenceMixer, ReferenceModel
from tests.reference.range_coder_reference import ReferenceEncoder

# Distances are in 1/256 of a step.
UNIT = 1 << fast.DISTANCE_BITS


@dataclass
class _Past:
    """Distances that one channel remembers: two running means, the last one and the one before it."""

    quick: int = 16 * UNIT
    slow: int = 16 * UNIT
    last: int = 16 * UNIT
    before: int = 16 * UNIT

    def take(self, distance: int) -> None:
        self.quick += (distance - self.quick) // 2**fast.QUICK_SHIFT
        self.slow += (distance - self.slow) // 2**fast.SLOW_SHIFT
        self.last, self.before = distance, self.last


class ReferenceResiduals:
    """Coder of all channels."""

    def __init__(self, channels: int) -> None:
        self.past = [_Past() for _ in range(channels)]
        self.signs: defaultdict[Hashable, ReferenceModel] = defaultdict(ReferenceModel)
        self.mixer = ReferenceMixer(fast.INPUTS, fast.SLOWEST_COUNT, fast.LEARNING_RATE)

    def encode(
        self, coder: ReferenceEncoder, channel: int, prediction: int, outer: int, fraction_bits: int, sample: int
    ) -> None:
        """Code ``sample`` around ``prediction``; that and ``outer`` have ``fraction_bits`` fractional bits."""
        past = self.past[channel]
        one = 1 << fraction_bits
        scale = (3 * past.quick + past.slow) // 4
        # Quotients of a distance that is as expected lie between 4 and 8.
        shift = max(0, (scale // UNIT).bit_length() - 3)
        floor, fraction = divmod(prediction, one)
        sixteenth = fraction * 16 // one
        negative = sample <= floor
        distance = floor - sample if negative else sample - floor - 1
        quotient, rest = divmod(distance, 1 << shift)

        interval = _Interval()
        size = 48 + scale // (UNIT // 2 << shift) % 8 if shift else _quarter_octaves(scale)
        if shift <= 1:
            sign = self.signs[channel, size, sixteenth]
            interval.narrow(sign.probability(), int(negative), fast.TREE_BITS)
            sign.adapt(int(negative))

        near = 0 if shift else (sixteenth if negative else 15 - sixteenth) // 4
        coarse = 12 if shift else size // 4
        trend = min(max(_quarter_octaves(past.quick) - _quarter_octaves(past.slow) + 12, 0), 24)
        relative = min(max(_quarter_octaves(outer * UNIT // one) - _quarter_octaves(scale) + 12, 0) // 2, 15)
        recent = _level(past.last, shift), _level(past.before, shift), shift > 0
        contexts = (size, near), (coarse, trend), recent, (coarse, relative)
        # The quotient's five bits, or five ones, and what is beyond in another code.
        digits = f"{min(quotient, fast.ESCAPE):0{fast.TREE_BITS}b}"
        for place, digit in enumerate(digits):
            known = channel, digits[:place]
            keys = [(*known, *context) for context in contexts]
            selection = (*known, shift > 0)
            probability = self.mixer.probability(keys, selection)
            interval.narrow(probability, int(digit), fast.TREE_BITS - 1 - place)
            self.mixer.learn(keys, selection, probability, int(digit))
        coder.encode(interval.start, interval.width, fast.INTERVAL_BITS)
        if quotient >= fast.ESCAPE:
            coder.encode_gamma(quotient - fast.ESCAPE)
        if shift <= 1:
            coder.encode_bits(rest, shift)
        else:
            coder.encode_bits(2 * rest + negative, shift + 1)
        past.take(abs(sample * one - prediction) * UNIT // one)


class _Interval:
    """Part of a whole of 2^24 that the bits so far stand for."""

    def __init__(self) -> None:
        self.start, self.width = 0, 1 << fast.INTERVAL_BITS

    def narrow(self, probability: int, bit: int, bits_left: int) -> None:
        """Ones own the lower part; either part keeps room for the bits left."""
        room = 1 << bits_left
        ones = min(max(self.width * probability // 65536, room), self.width - room)
        self.start, self.width = (self.start, ones) if bit else (self.start + ones, self.width - ones)


def _quarter_octaves(value: int) -> int:
    """Bit length, and the two bits below the first: 0 for 0."""
    return 4 * value.bit_length() + int(f"{value:b}00"[1:3], 2)


def _level(distance: int, shift: int) -> int:
    return min(max(_quarter_octaves(distance // (UNIT // 4 << shift)) // 2 - 2, 0), fast.LEVELS - 1)
