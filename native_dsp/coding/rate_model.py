"""What a spectrum will cost at any step, from how large its coefficients are in steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import kernel

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]

# Bins of half an octave of magnitude, the first one for all below 2^SMALLEST_LOG2.
BINS_PER_OCTAVE = 2
SMALLEST_LOG2 = -12
BINS = 2 * 44


def bits_of_bins(step_log2: Float64Array) -> Float64Array:
    """About how many bits a coefficient of each bin costs at each step: half the logarithm of one plus its square.

    Shape: ``[steps]`` -> ``[steps, BINS]``.
    """
    magnitude_log2 = SMALLEST_LOG2 + (np.arange(BINS) + 0.5) / BINS_PER_OCTAVE
    bits: Float64Array = 0.5 * np.log2(1 + 4.0 ** (magnitude_log2 + 0.5 - step_log2[:, None]))
    bits[:, 0] = 0
    return bits


def count_magnitudes_reference(spectrum: Float32Array, edges: Int64Array, widths: Float64Array) -> Float64Array:
    """The definition of :func:`count_magnitudes`: the histogram of one spectrum.

    Shape: ``spectrum [coefficients]``, ``edges [bands + 1]``, ``widths [bands]`` -> ``[BINS]``, how many of each.
    """
    ratio = np.abs(spectrum[: edges[-1]]) / np.repeat(widths, np.diff(edges)) + 2.0**SMALLEST_LOG2
    place = np.floor((np.log2(ratio) - SMALLEST_LOG2) * BINS_PER_OCTAVE).astype(np.int64)
    return np.bincount(np.clip(place, 0, BINS - 1), minlength=BINS).astype(np.float64)


@kernel
def count_magnitudes(spectrum: Float32Array, edges: Int64Array, widths: Float64Array, counts: Float64Array) -> None:
    """Add a spectrum's coefficients, in units of their band's width, to a histogram of their magnitudes.

    Shape: ``spectrum [coefficients]``, ``edges [bands + 1]``, ``widths [bands]``; ``counts [BINS]`` is changed.
    """
    for band in range(len(widths)):
        for k in range(edges[band], edges[band + 1]):
            ratio = np.float64(abs(spectrum[k])) / widths[band] + 2.0**SMALLEST_LOG2
            place = np.int64((np.log2(ratio) - SMALLEST_LOG2) * BINS_PER_OCTAVE)
            counts[min(max(place, 0), BINS - 1)] += 1.0


def description_bits_reference(spectrum: Float32Array, edges: Int64Array, widths: Float64Array) -> float:
    """The definition of :func:`description_bits`.

    Shape: ``spectrum [coefficients]``, ``edges [bands + 1]``, ``widths [bands]`` in the spectrum's units.
    """
    ratio = np.abs(spectrum[: edges[-1]]) / np.repeat(widths, np.diff(edges))
    return float(np.sum(np.log2(1 + ratio)))


@kernel
def description_bits(spectrum: Float32Array, edges: Int64Array, widths: Float64Array) -> float:
    """Bits that a spectrum takes, roughly, for comparing two forms of one block: ``sum log2(1 + |x| / width)``.

    Shape: ``spectrum [coefficients]``, ``edges [bands + 1]``, ``widths [bands]`` in the spectrum's units.
    """
    bits = 0.0
    for band in range(len(widths)):
        for k in range(edges[band], edges[band + 1]):
            bits += np.log2(1.0 + np.float64(abs(spectrum[k])) / widths[band])
    return bits
