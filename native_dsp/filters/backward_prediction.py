"""Backward-adaptive linear prediction by least squares, in integers: no coefficients travel.

Every ``INTERVAL`` samples the covariance of the last samples is added to a fading memory (15/16 per interval, a
memory of about 500 samples) and the normal equations are solved anew by an LDL^T factorisation in 64-bit fixed point.

The covariance of one interval, ``C(i, j) = sum x[t - i] x[t - j]``, need be summed only where i or j is the first lag
of its channel: along a diagonal it follows exactly from its neighbour by one product gained and one lost
(Atal and Hanauer's covariance method; the recursion is exact because the sums are integers).

Bounds, for samples of 24 bits: an interval's sum is below 2^51, the memory below 2^59. For the solution everything is
scaled so that the largest diagonal entry has 37 bits; by Cauchy-Schwarz every partial sum of the factorisation is
then below 2^37, and times a Q24 factor below 2^62.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.integer_math import bit_length
from native_dsp.jit import inlined, kernel

Int64Array = NDArray[np.int64]

INTERVAL = 32
TAPS = 32
# Of a stereo predictor's taps, those on the other channel.
CROSS_TAPS = 12
FADE_SHIFT = 4
MEMORY_BITS = 4
WEIGHT_BITS = 24
SOLVE_BITS = 37
FACTOR_LIMIT = 1 << 30
# Added to the diagonal: a white noise of mean square 4, the rounding of the samples and more.
NOISE = 4 << (MEMORY_BITS + 9)
# And this much of 2^37, so that the fixed-point factorisation stays positive.
FLOOR = 1 << 15


class BackwardState(NamedTuple):
    """Least-squares predictors of all channels, and scratch.

    Shape: ``history [channels, TAPS + INTERVAL]``, the interval under way behind the one before it;
    ``memory [channels, TAPS + 1, TAPS]``, covariance and, as last row, correlation with the sample to predict;
    ``weights [channels, TAPS]`` Q24; scratch: ``recent``, ``factor`` and ``rest``, of the shape of one memory,
    ``column [TAPS + 1]`` and ``edges [2, TAPS]``. All int64.
    """

    history: Int64Array
    memory: Int64Array
    weights: Int64Array
    recent: Int64Array
    factor: Int64Array
    rest: Int64Array
    column: Int64Array
    edges: Int64Array


def make_backward(channels: int) -> BackwardState:
    """Predictors that know nothing: each sample is predicted to be like the one before."""
    weights = np.zeros((channels, TAPS), np.int64)
    weights[:, 0] = 1 << WEIGHT_BITS
    square = (TAPS + 1, TAPS)
    return BackwardState(
        history=np.zeros((channels, TAPS + INTERVAL), np.int64),
        memory=np.zeros((channels, *square), np.int64),
        weights=weights,
        recent=np.zeros(square, np.int64),
        factor=np.zeros(square, np.int64),
        rest=np.zeros(square, np.int64),
        column=np.zeros(TAPS + 1, np.int64),
        edges=np.zeros((2, TAPS), np.int64),
    )


@inlined
def backward_predict(state: BackwardState, channel: int, phase: int, fraction_bits: int) -> int:
    """Prediction of sample ``phase`` of the interval under way, with ``fraction_bits`` fractional bits.

    With two channels the first sees the second's past, the second also the first's present sample.
    """
    channels = len(state.history)
    own_taps = TAPS if channels == 1 else TAPS - CROSS_TAPS
    weights = state.weights[channel]
    own = state.history[channel]
    total = np.int64(0)
    for i in range(own_taps):
        total += weights[i] * own[TAPS + phase - 1 - i]
    if channels == 2:
        other = state.history[1 - channel]
        for i in range(CROSS_TAPS):
            total += weights[own_taps + i] * other[TAPS + phase - 1 + channel - i]
    prediction: int = total >> (WEIGHT_BITS - fraction_bits)
    return prediction


@kernel
def backward_refresh(state: BackwardState, solving: bool) -> None:
    """At the end of an interval: fade, add the interval's covariance, solve if asked to, and move the history on."""
    for channel in range(len(state.history)):
        _sum_interval(state, channel)
        memory = state.memory[channel]
        for i in range(TAPS + 1):
            for j in range(TAPS):
                memory[i, j] += (state.recent[i, j] << MEMORY_BITS) - (memory[i, j] >> FADE_SHIFT)
        if solving:
            _solve(state, channel)
    for channel in range(len(state.history)):
        for i in range(TAPS):
            state.history[channel, i] = state.history[channel, INTERVAL + i]


@inlined
def _lagged(state: BackwardState, channel: int, tap: int) -> tuple[int, int]:
    """Which channel a tap looks at, and where in its history it stands for the first sample of the interval."""
    if len(state.history) == 2 and tap >= TAPS - CROSS_TAPS:
        return 1 - channel, TAPS - 1 + channel - (tap - (TAPS - CROSS_TAPS))
    return channel, TAPS - 1 - tap


@inlined
def _sum_interval(state: BackwardState, channel: int) -> None:
    recent, edges = state.recent, state.edges
    cross = TAPS - CROSS_TAPS if len(state.history) == 2 else TAPS
    for i in range(TAPS):
        source, start = _lagged(state, channel, i)
        edges[0, i] = state.history[source, start]
        # The other channel's present sample leads by one, and what would follow it lies outside; no step of the
        # recursion asks for it.
        end = start + INTERVAL
        edges[1, i] = state.history[source, end] if end < TAPS + INTERVAL else np.int64(0)
        recent[TAPS, i] = _product(state, channel, TAPS, source, start)
    for i in range(TAPS):
        source, start = _lagged(state, channel, i)
        gained, lost = edges[0, i], edges[1, i]
        if i == 0 or i == cross:
            for j in range(i + 1):
                other, begin = _lagged(state, channel, j)
                recent[i, j] = _product(state, source, start, other, begin)
        else:
            # One step along the diagonal: the interval of both taps moves one sample into the past.
            for j in range(1, i + 1):
                recent[i, j] = recent[i - 1, j - 1] + gained * edges[0, j] - lost * edges[1, j]
            for j in (0, cross):
                if j <= i:
                    other, begin = _lagged(state, channel, j)
                    recent[i, j] = _product(state, source, start, other, begin)


@inlined
def _product(state: BackwardState, channel: int, start: int, other: int, begin: int) -> int:
    a = state.history[channel, start : start + INTERVAL]
    b = state.history[other, begin : begin + INTERVAL]
    total: int = np.int64(0)
    for t in range(INTERVAL):
        total += a[t] * b[t]
    return total


@inlined
def _solve(state: BackwardState, channel: int) -> None:
    memory = state.memory[channel]
    weights = state.weights[channel]
    factor, rest, column = state.factor, state.rest, state.column
    largest = np.int64(0)
    for i in range(TAPS):
        largest = max(largest, memory[i, i])
    if largest <= 0:
        return
    shift = bit_length(largest + NOISE) - SOLVE_BITS
    for i in range(TAPS + 1):
        for j in range(min(i + 1, TAPS)):
            entry = memory[i, j] >> shift if shift >= 0 else memory[i, j] << -shift
            rest[i, j] = entry << WEIGHT_BITS
    noise = (NOISE >> shift if shift >= 0 else NOISE << -shift) + FLOOR
    for i in range(TAPS):
        rest[i, i] += noise << WEIGHT_BITS
    for j in range(TAPS):
        # Division by D as multiplication by its reciprocal: 31 bits and the shift that belongs to them.
        diagonal = max(rest[j, j] >> WEIGHT_BITS, FLOOR)
        bits = bit_length(diagonal)
        reciprocal = (1 << 61) // (diagonal >> (bits - 31) if bits > 31 else diagonal << (31 - bits))
        narrow = max(0, (bits - 20) >> 1)
        column[j] = 0
        for i in range(j + 1, TAPS + 1):
            entry = min(max(rest[i, j] >> (WEIGHT_BITS + narrow), -FACTOR_LIMIT), FACTOR_LIMIT)
            quotient = (entry * reciprocal) >> (6 + bits - narrow)
            quotient = min(max(quotient, -FACTOR_LIMIT), FACTOR_LIMIT)
            factor[i, j] = quotient
            column[i] = quotient
        for i in range(j + 1, TAPS + 1):
            entry = rest[i, j] >> WEIGHT_BITS
            # Whole rows, because a constant length is faster; what is not below the diagonal is never looked at.
            for k in range(TAPS):
                rest[i, k] -= column[k] * entry
    # Back substitution, in Q48 until a weight is final.
    for i in range(TAPS):
        column[i] = factor[TAPS, i] << WEIGHT_BITS
    for i in range(TAPS - 1, -1, -1):
        weight = min(max(column[i] >> WEIGHT_BITS, -FACTOR_LIMIT), FACTOR_LIMIT)
        weights[i] = weight
        for k in range(i):
            column[k] -= factor[i, k] * weight
