"""Lossless predictors and their cascade once more, slow and plain: Python integers, no shortcuts, for the tests.

Python integers do not overflow, so equality with the kernels also shows that nothing leaves 64 bits.
"""

from __future__ import annotations

from collections.abc import Sequence

from native_dsp.coding import lossless_block
from native_dsp.filters import backward_prediction as backward
from native_dsp.filters import nlms
from tests.reference.range_coder_reference import ReferenceEncoder
from tests.reference.residual_reference import ReferenceResiduals


class ReferenceNlms:
    """One normalised LMS filter; see :mod:`native_dsp.filters.nlms`."""

    def __init__(self, taps: int, step: int) -> None:
        self.step = step
        self.weights = [0] * taps
        self.history = [0] * taps

    def predict(self) -> int:
        """Weighted sum of the history, newest first, rounded."""
        total = sum(w * x for w, x in zip(self.weights, self.history, strict=True))
        return (total + (1 << 23)) >> nlms.WEIGHT_BITS

    def update(self, error: int, sample: int) -> None:
        """Gradient step, then take the sample in."""
        power = sum(x * x for x in self.history) + 16 * len(self.history)
        gradient = (error * self.step << 30) // power
        gradient = min(max(gradient, -nlms.GRADIENT_LIMIT), nlms.GRADIENT_LIMIT)
        self.weights = [
            w + ((gradient * x + (1 << 15)) >> nlms.GRADIENT_BITS)
            for w, x in zip(self.weights, self.history, strict=True)
        ]
        self.history = [sample, *self.history[:-1]]


class ReferenceBackward:
    """Least-squares predictors of all channels; see :mod:`native_dsp.filters.backward_prediction`.

    Sums every covariance in full and factorises entry by entry.
    """

    def __init__(self, channels: int) -> None:
        taps = backward.TAPS
        self.samples: list[list[int]] = [[0] * (taps + 1) for _ in range(channels)]
        self.memory = [[[0] * taps for _ in range(taps + 1)] for _ in range(channels)]
        self.weights = [[1 << backward.WEIGHT_BITS] + [0] * (taps - 1) for _ in range(channels)]

    def regressors(self, channel: int, time: int) -> list[int]:
        """What the taps of ``channel`` see at ``time``, an index into ``samples``."""
        own = self.samples[channel]
        if len(self.samples) == 1:
            return [own[time - 1 - i] for i in range(backward.TAPS)]
        other = self.samples[1 - channel]
        own_taps = backward.TAPS - backward.CROSS_TAPS
        return [own[time - 1 - i] for i in range(own_taps)] + [
            other[time - 1 + channel - i] for i in range(backward.CROSS_TAPS)
        ]

    def predict(self, channel: int, fraction_bits: int) -> int:
        """Prediction of the sample that comes next."""
        time = len(self.samples[channel])
        seen = self.regressors(channel, time)
        total = sum(w * x for w, x in zip(self.weights[channel], seen, strict=True))
        return total >> (backward.WEIGHT_BITS - fraction_bits)

    def refresh(self, solving: bool) -> None:
        """Fade, add the last interval, solve."""
        for channel, memory in enumerate(self.memory):
            end = len(self.samples[channel])
            rows = [self.regressors(channel, time) for time in range(end - backward.INTERVAL, end)]
            targets = self.samples[channel][-backward.INTERVAL :]
            for i in range(backward.TAPS + 1):
                for j in range(min(i + 1, backward.TAPS)):
                    column = targets if i == backward.TAPS else [row[i] for row in rows]
                    added = sum(a * row[j] for a, row in zip(column, rows, strict=True))
                    memory[i][j] += (added << backward.MEMORY_BITS) - (memory[i][j] >> backward.FADE_SHIFT)
            if solving:
                self._solve(channel)

    def _solve(self, channel: int) -> None:
        memory = self.memory[channel]
        taps, limit = backward.TAPS, backward.FACTOR_LIMIT
        largest = max(memory[i][i] for i in range(taps))
        if largest == 0:
            return
        shift = (largest + backward.NOISE).bit_length() - backward.SOLVE_BITS
        noise = _shifted(backward.NOISE, shift) + backward.FLOOR
        factor = [[0] * taps for _ in range(taps + 1)]
        scaled = [[0] * taps for _ in range(taps + 1)]
        inverse = [(0, 0)] * taps
        for i in range(taps + 1):
            for j in range(min(i, taps - 1) + 1):
                entry = _shifted(memory[i][j], shift) + (noise if i == j else 0)
                known = sum(factor[j][k] * scaled[i][k] for k in range(j))
                entry = ((entry << 24) - known) >> 24
                if i == j:
                    entry = max(entry, backward.FLOOR)
                    bits = entry.bit_length()
                    inverse[i] = ((1 << 61) // _shifted(entry, bits - 31), bits)
                else:
                    scaled[i][j] = entry
                    reciprocal, bits = inverse[j]
                    narrow = max(0, (bits - 20) >> 1)
                    quotient = min(max(entry >> narrow, -limit), limit) * reciprocal
                    factor[i][j] = min(max(quotient >> (6 + bits - narrow), -limit), limit)
        weights = self.weights[channel]
        for i in reversed(range(taps)):
            known = sum(factor[k][i] * weights[k] for k in range(i + 1, taps))
            weights[i] = min(max(((factor[taps][i] << 24) - known) >> 24, -limit), limit)


def _shifted(value: int, shift: int) -> int:
    return value >> shift if shift >= 0 else value << -shift


class ReferenceLossless:
    """Coder of blocks, in one direction; see :mod:`native_dsp.coding.lossless_block`."""

    STAGES = (
        (lossless_block.LONG_TAPS, lossless_block.LONG_STEP),
        (lossless_block.MIDDLE_TAPS, lossless_block.MIDDLE_STEP),
        (lossless_block.SHORT_TAPS, lossless_block.SHORT_STEP),
    )

    def __init__(self, channels: int) -> None:
        self.backward = ReferenceBackward(channels)
        self.stages = [[ReferenceNlms(taps, step) for taps, step in self.STAGES] for _ in range(channels)]
        self.residuals = ReferenceResiduals(channels)
        self.clock = 0

    def encode(self, samples: Sequence[Sequence[int]], bits: int) -> bytes:
        """Code of a block: for each moment one sample of every channel, ``bits`` wide."""
        coder = ReferenceEncoder()
        fraction_bits = min(max(20 - bits, 0), 4)
        for moment in samples:
            first_error = 0
            for channel, sample in enumerate(moment):
                first_error = self._code(coder, channel, sample, bits, fraction_bits, first_error)
            self.clock += 1
            if self.clock % backward.INTERVAL == 0:
                eager = self.clock < lossless_block.EAGER_SAMPLES
                self.backward.refresh(eager or self.clock // backward.INTERVAL % 2 == 0)
        return coder.finish()

    def _code(
        self, coder: ReferenceEncoder, channel: int, sample: int, bits: int, fraction_bits: int, first_error: int
    ) -> int:
        """Code one sample and learn it; returns how far off the prediction was."""
        widest = 1 << (bits + fraction_bits)
        highest = (1 << (bits - 1)) - 1
        target = sample << fraction_bits
        base = _within(self.backward.predict(channel, fraction_bits), -widest, widest)
        corrections = [stage.predict() for stage in self.stages[channel]]
        prediction = _within(base + sum(corrections), (-highest - 1) << fraction_bits, highest << fraction_bits)
        outer = first_error if channel == 1 else abs(sum(corrections))
        self.residuals.encode(coder, channel, prediction, outer, fraction_bits, sample)
        self.backward.samples[channel].append(sample)
        left = _within(target - base, -widest, widest)
        for stage, correction in zip(self.stages[channel], corrections, strict=True):
            after = _within(left - correction, -widest, widest)
            stage.update(after, left)
            left = after
        return abs(target - prediction)


def _within(value: int, lowest: int, highest: int) -> int:
    return min(max(value, lowest), highest)
