"""Normalised LMS predictor in integers: a long filter that follows its input sample by sample.

Weights are Q24 in int32, the history keeps int32 samples twice over (at ``p`` and ``p + taps``), so that the newest
``taps`` samples always lie in one run and both loops vectorise; sums are 64 bits wide. With samples below 2^21 a sum
of 256 products of full-scale weights stays below 2^60; wider samples leave the same guard as long as weights stay
below 8. Update: Haykin, "Adaptive filter theory", normalised LMS.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import inlined

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]

WEIGHT_BITS = 24
GRADIENT_BITS = 16
STEP_BITS = 10
GRADIENT_LIMIT = (1 << 31) - 1

# Entries of ``registers``.
POSITION = 0
POWER = 1


class NlmsState(NamedTuple):
    """One filter per channel.

    Shape: ``weights [channels, taps]`` int32; ``history [channels, 2 * taps]`` int32; ``registers [channels, 2]``
    int64: where the newest sample lies, and the sum of squares of the history.
    """

    weights: Int32Array
    history: Int32Array
    registers: Int64Array


def make_nlms(channels: int, taps: int) -> NlmsState:
    """Filters at rest: no history, weights zero."""
    return NlmsState(
        weights=np.zeros((channels, taps), np.int32),
        history=np.zeros((channels, 2 * taps), np.int32),
        registers=np.zeros((channels, 2), np.int64),
    )


@inlined
def nlms_predict(state: NlmsState, channel: int, taps: int) -> int:
    """Prediction of the next input from the last ``taps`` inputs; ``taps`` is a constant to the compiler."""
    position = state.registers[channel, POSITION]
    weights = state.weights[channel, :taps]
    # A slice, because an index of unknown sign is tested for wrapping around, which keeps loops from vectorising.
    history = state.history[channel, position : position + taps]
    total = np.int64(1 << (WEIGHT_BITS - 1))
    for i in range(taps):
        total += np.int64(weights[i]) * np.int64(history[i])
    prediction: int = total >> WEIGHT_BITS
    return prediction


@inlined
def nlms_update(state: NlmsState, channel: int, taps: int, step: int, error: int, sample: int) -> None:
    """Learn from the prediction ``error`` at ``step / 1024`` of the full correction, then take ``sample`` in."""
    position = state.registers[channel, POSITION]
    power = state.registers[channel, POWER]
    weights = state.weights[channel, :taps]
    window = state.history[channel, position : position + taps]
    gradient = (error * step << (WEIGHT_BITS + GRADIENT_BITS - STEP_BITS)) // (power + 16 * taps)
    gradient = min(max(gradient, -GRADIENT_LIMIT), GRADIENT_LIMIT)
    narrow = np.int32(gradient)
    for i in range(taps):
        correction = np.int64(narrow) * np.int64(window[i]) + (1 << (GRADIENT_BITS - 1))
        weights[i] = np.int32(np.int64(weights[i]) + (correction >> GRADIENT_BITS))
    position = position - 1 if position > 0 else taps - 1
    oldest = np.int64(state.history[channel, position])
    state.history[channel, position] = sample
    state.history[channel, position + taps] = sample
    state.registers[channel, POSITION] = position
    state.registers[channel, POWER] = power + sample * sample - oldest * oldest
