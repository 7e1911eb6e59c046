"""The coders of transform coefficients and of band energies once more, slow and plain, for the tests.

Encoders alone: what the kernels' decoders give back is held against what went in.
"""

from __future__ import annotations

from collections.abc import Sequence

from native_dsp.coding import band_energy_coder, coefficient_coder
from tests.reference.mixing_reference import ReferenceMixer
from tests.reference.range_coder_reference import ReferenceEncoder

Rows = Sequence[Sequence[int]]


class ReferenceCoefficients:
    """See :mod:`native_dsp.coding.coefficient_coder`."""

    def __init__(self, channels: int, coefficients: int) -> None:
        self.last = [_Row([0] * coefficients) for _ in range(channels)]
        self.before = [_Row([0] * coefficients) for _ in range(channels)]
        self.mean = [_Row([0] * coefficients) for _ in range(channels)]
        self.mixer = ReferenceMixer(
            coefficient_coder.INPUTS, coefficient_coder.SLOWEST_COUNT, coefficient_coder.LEARNING_RATE
        )

    def encode(self, coder: ReferenceEncoder, quantised: Rows, hints: Rows, key: bool) -> None:
        """Code a block, channel after channel."""
        magnitudes = [_Row([abs(value) for value in row]) for row in quantised]
        for channel, row in enumerate(quantised):
            run = 0
            for k, value in enumerate(row):
                self._encode_one(coder, magnitudes, channel, k, run, hints[channel][k], key, value < 0)
                run += (16 * abs(value) - run) // 4
        for channel, now in enumerate(magnitudes):
            self.before[channel], self.last[channel] = self.last[channel], now
            mean = self.mean[channel]
            mean[:] = [m + (16 * magnitude - m) // 4 for m, magnitude in zip(mean, now, strict=True)]

    def _encode_one(
        self,
        coder: ReferenceEncoder,
        magnitudes: list[_Row],
        channel: int,
        k: int,
        run: int,
        hint: int,
        key: bool,
        negative: bool,
    ) -> None:
        """One coefficient; ``run`` is a running mean of the magnitudes below it in the block, in sixteenths."""
        now, last, before, mean = magnitudes[channel], self.last[channel], self.before[channel], self.mean[channel]
        a1, a2, a34 = now.at(k - 1), now.at(k - 2), now.at(k - 3) + now.at(k - 4)
        p0, p1, p2, p3 = last[k], last.around(k, 1), last.around(k, 2), last.at(k + 3) + last.at(k + 4)
        b = 2 * before[k] + before.around(k, 1)
        m, neighbours = mean[k], mean.around(k, 1)
        first = 2 * magnitudes[0][k] + magnitudes[0].around(k, 1) if channel == 1 else 0
        # Sixteen times the magnitude to expect.
        if key:
            size = (24 * a1 + 16 * a2 + 8 * a34 + 4 * run) // 8
            size = (3 * size + 4 * first) // 4 if channel == 1 else size
        else:
            size = 24 * a1 + 12 * a2 + 4 * a34 + 16 * p0 + 8 * p1 + 4 * p2 + 4 * b
            size = (size + 2 * run + 3 * m + neighbours) // 14
        shift = max(0, (size // 16).bit_length() - 2)
        unit = 1 << shift
        energy = min(_steps_per_octave(size, 2) // 2, 11)
        a1_halves, a2_halves, p0_halves = 2 * a1 // unit, 2 * a2 // unit, 2 * p0 // unit
        run_units = _coarse(run // 4 // unit, 15)
        past: tuple[tuple[int, ...], ...]
        if key:
            past = (hint, _coarse(a1_halves, 15)), (hint, run_units), (hint, _coarse(a34 // unit, 15))
        else:
            past = (
                (_coarse(b // unit, 15), min(p0_halves, 3), min(a1_halves, 3)),
                (min(_steps_per_octave(2 * m // unit, 4), 63), min(a1_halves, 3)),
                (_coarse(neighbours // unit, 31), _coarse(m // unit, 15)),
            )
        contexts = [
            (_coarse((2 * a1 + a2) // unit, 15), _coarse((p1 + 2 * p0) // unit, 15)),
            (k * 32 // len(now), energy),
            (run_units, _coarse((p0 + p1 + p2 + p3) // unit, 15)),
            past[0],
            (min(a1_halves, 7), min(p0_halves, 7), min(a2_halves, 3)),
            (min(_steps_per_octave(size, 4), 63), _coarse(a34 // unit, 7)),
            *past[1:],
            (_coarse(first // unit, 31) if channel == 1 else hint or min(k, 31), energy),
        ]
        magnitude = now[k]
        wanted, rest = divmod(magnitude, unit)
        limit = coefficient_coder.UNARY_LIMIT
        for units in range(min(wanted + 1, limit)):
            decision = key, min(shift, 2), units
            keys = [(*decision, *context) for context in contexts]
            self.mixer.encode(coder, keys, (*decision, energy), int(wanted > units))
        if wanted >= limit:
            coder.encode_gamma(wanted - limit)
        coder.encode_bits(rest, shift)
        if magnitude:
            coder.encode_bits(int(negative), 1)


class ReferenceBandEnergies:
    """See :mod:`native_dsp.coding.band_energy_coder`."""

    def __init__(self, channels: int, bands: int) -> None:
        self.last = [[0] * bands for _ in range(channels)]
        self.before = [[0] * bands for _ in range(channels)]
        self.mean = [[0] * bands for _ in range(channels)]
        self.mixer = ReferenceMixer(
            band_energy_coder.INPUTS, band_energy_coder.SLOWEST_COUNT, band_energy_coder.LEARNING_RATE
        )

    def encode(self, coder: ReferenceEncoder, energies: Rows, key: bool) -> None:
        """Code the levels of a block, channel after channel."""
        for channel, row in enumerate(energies):
            changes = [0, 0]
            trend = 0
            for band, energy in enumerate(row):
                expected, contexts = self._expected(energies, channel, band, changes, trend, key)
                self._encode_difference(coder, contexts, energy - expected, key)
                changes = [energy - expected, changes[0]]
                trend += energy - expected - trend // 4
        for channel, row in enumerate(energies):
            if key:
                self.last[channel] = list(row)
                self.mean[channel] = [16 * energy for energy in row]
            self.before[channel], self.last[channel] = self.last[channel], list(row)
            mean = self.mean[channel]
            mean[:] = [m + (16 * energy - m) // 8 for m, energy in zip(mean, row, strict=True)]

    def _expected(
        self, energies: Rows, channel: int, band: int, changes: list[int], trend: int, key: bool
    ) -> tuple[int, list[tuple[int, ...]]]:
        """The level to expect, and the contexts of how far off that is."""
        lower = energies[channel][band - 1] if band else 16
        below, below_that = changes
        last = self.last[channel]
        other = 0
        if channel == 1:
            other = energies[0][band] - (lower if key else self.last[0][band])
        if key:
            expected = lower
            changed: tuple[int, ...] = ()
            neighbours: tuple[int, ...] = (_held(other, 7),)
            away: tuple[int, ...] = (min(lower, 31), _held(below, 3))
        else:
            expected = last[band]
            upper = last[band + 1] if band + 1 < len(last) else expected
            changed = _held(expected - self.before[channel][band], 3), _held(below, 3)
            neighbours = _held(lower - expected, 3), _held(upper - expected, 2), _held(other, 2)
            apart = (self.mean[channel][band] - 16 * expected) // 8
            away = _held(apart, 7), _held(below + below_that, 3)
        return expected, [
            (min(band, 63),),
            (_held(below, 5), _held(below_that, 5)),
            changed,
            neighbours,
            (_held(trend // 2, 7), min(band // 4, 7)),
            away,
        ]

    def _encode_difference(
        self, coder: ReferenceEncoder, contexts: list[tuple[int, ...]], difference: int, key: bool
    ) -> None:
        """Whether it changed, whether it fell, and whether by more than 1, 2, ..."""
        decisions = [(0, difference != 0)]
        if difference:
            distance = abs(difference)
            decisions.append((1, difference < 0))
            decisions += [
                (min(size + 1, band_energy_coder.NODES - 1), distance > size) for size in range(1, distance + 1)
            ]
        for node, bit in decisions:
            keys = [(key, node, *context) for context in contexts]
            self.mixer.encode(coder, keys, (key, node), int(bit))


class _Row(list[int]):
    """Numbers along frequency, zeros past both ends."""

    def at(self, k: int) -> int:
        return self[k] if 0 <= k < len(self) else 0

    def around(self, k: int, distance: int) -> int:
        return self.at(k - distance) + self.at(k + distance)


def _steps_per_octave(value: int, steps: int) -> int:
    """Logarithm of ``value`` in whole steps, 2 or 4 to the octave; exact below twice as many."""
    if value < 2 * steps:
        return value
    octave = value.bit_length() - steps.bit_length()
    return steps * octave + (value >> octave)


def _coarse(value: int, highest: int) -> int:
    return min(_steps_per_octave(value, 2), highest)


def _held(value: int, limit: int) -> int:
    return min(max(value, -limit), limit)
