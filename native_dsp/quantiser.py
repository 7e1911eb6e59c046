"""Uniform quantiser of spectra with a widened zero, one step per band."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import kernel

Float32Array = NDArray[np.float32]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]

# A zero is so much cheaper than a one, and large values a little cheaper than the next, that distortion plus rate is
# least with thresholds above the middle; found by trial on development sound at 1/8 and 1/30 of the 16-bit size.
ZERO_THRESHOLD = 0.66
ROUNDING = 0.44


@kernel
def quantise(
    spectrum: Float32Array, edges: Int64Array, offsets: Int32Array, step: float, largest: int, quantised: Int32Array
) -> float:
    """Whole steps of one channel; returns the squared error.

    Shape: ``spectrum [coefficients]``, ``edges [bands + 1]``, ``offsets [bands]`` in half octaves above ``step`` ->
    ``quantised [coefficients]``, within +-``largest``.
    """
    error = 0.0
    for band in range(len(offsets)):
        width = step * 2.0 ** (0.5 * offsets[band])
        for k in range(edges[band], edges[band + 1]):
            ratio = min(abs(spectrum[k]) / width, float(largest))
            value = 0
            if ratio >= ZERO_THRESHOLD:
                value = max(int(ratio + ROUNDING), 1)
            error += ((ratio - value) * width) ** 2
            quantised[k] = -value if spectrum[k] < 0 else value
    return error


@kernel
def dequantise(
    quantised: Int32Array, edges: Int64Array, offsets: Int32Array, step: float, spectrum: Float32Array
) -> None:
    """Middle of the steps; inverse of :func:`quantise` but for its error."""
    for band in range(len(offsets)):
        width = step * 2.0 ** (0.5 * offsets[band])
        for k in range(edges[band], edges[band + 1]):
            spectrum[k] = quantised[k] * width
