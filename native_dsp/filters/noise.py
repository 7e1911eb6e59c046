"""Noise of unit magnitude and random phase, drawn from a table by an integer generator.

Integers decide which entry is drawn, so the same state gives the same noise on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import kernel

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]

PHASES = 1024
_ANGLES = 2.0 * np.pi * np.arange(PHASES) / PHASES
COSINES: Float32Array = np.cos(_ANGLES).astype(np.float32)
SINES: Float32Array = np.sin(_ANGLES).astype(np.float32)
# Knuth's MMIX generator, kept within 63 bits; the highest bits are the best ones.
STATE_BITS = 62
MASK = (1 << STATE_BITS) - 1
MULTIPLIER = 6364136223846793005 & MASK
INCREMENT = 1442695040888963407
_SHIFT = STATE_BITS - 10


def make_noise_state(seed: int = 1) -> Int64Array:
    """State of one noise source.

    Shape: int64 ``[1]``.
    """
    return np.array([seed], np.int64)


def add_noise_reference(
    companded: Float32Array, gain: Float32Array, state: int, cosines: Float32Array, sines: Float32Array
) -> tuple[NDArray[np.float64], int]:
    """Slow form of :func:`add_noise` in Python integers; returns the sum and the next state.

    Shape: companded ``[2 * bins]``, gain ``[bins]``.
    """
    out = companded.astype(np.float64)
    for k in range(gain.size):
        state = (state * MULTIPLIER + INCREMENT) & MASK
        out[k] += float(gain[k]) * float(cosines[state >> _SHIFT])
        out[gain.size + k] += float(gain[k]) * float(sines[state >> _SHIFT])
    return out, state


@kernel
def add_noise(
    companded: Float32Array, gain: Float32Array, state: Int64Array, cosines: Float32Array, sines: Float32Array
) -> None:
    """Add ``gain`` times a unit phasor of random phase to every bin, in place.

    Shape: companded ``[2 * bins]`` (real parts, then imaginary parts), gain ``[bins]``.
    """
    bins = len(gain)
    x = state[0]
    for k in range(bins):
        x = (x * MULTIPLIER + INCREMENT) & MASK
        phase = x >> _SHIFT
        companded[k] += gain[k] * cosines[phase]
        companded[bins + k] += gain[k] * sines[phase]
    state[0] = x
