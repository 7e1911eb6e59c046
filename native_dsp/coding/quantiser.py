"""Uniform quantiser of spectra with a widened zero, one step per band, and noise in place of zeros."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding.band_energies import LOWEST_LOG2, RESOLUTION
from native_dsp.filters.noise import INCREMENT, MASK, MULTIPLIER
from native_dsp.jit import kernel

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]

# A zero is so much cheaper than a one, and large values a little cheaper than the next, that distortion plus rate is
# least with thresholds above the middle; found by trial on development sound at 1/8 and 1/30 of the 16-bit size.
ZERO_THRESHOLD = 0.66
ROUNDING = 0.44
# Where noise fills the zeros, a lower threshold sounds better.
ZERO_THRESHOLD_FILLED = 0.6

# Root mean square of the noise in zeros of a band that has other values too, in steps, at most.
NOISE_AMONG_VALUES = 0.12
# And in a band of zeros, as a share of the band's own; random phases sound louder than they measure.
NOISE_ALONE = 0.9
NOISE_ALONE_STEPS = 0.4


def quantise_reference(
    spectrum: Float32Array, edges: Int64Array, widths: Float64Array, zero_threshold: float, largest: int
) -> tuple[Int32Array, float]:
    """The definition of :func:`quantise`: whole steps, and the squared error.

    Shape: ``spectrum [coefficients]``, ``edges [bands + 1]``, ``widths [bands]`` -> ``[edges[-1]]``, within
    +-``largest``.
    """
    coded, above = spectrum[: edges[-1]], spectrum[edges[-1] :]
    steps = np.repeat(widths, np.diff(edges))
    ratio = np.minimum(np.abs(coded) / steps, largest)
    size = np.where(ratio < zero_threshold, 0, np.maximum(np.floor(ratio + ROUNDING), 1))
    error = np.sum(((ratio - size) * steps) ** 2) + np.sum(np.square(above, dtype=np.float64))
    return np.copysign(size, coded).astype(np.int32), float(error)


@kernel
def quantise(
    spectrum: Float32Array,
    edges: Int64Array,
    widths: Float64Array,
    zero_threshold: float,
    largest: int,
    quantised: Int32Array,
) -> float:
    """Whole steps of one channel within the bands; returns the squared error, with what lies above them.

    Shape: ``spectrum [coefficients]``, ``edges [bands + 1]``, ``widths [bands]`` -> ``quantised [edges[-1]]``,
    within +-``largest``.
    """
    error = 0.0
    for band in range(len(widths)):
        width = widths[band]
        for k in range(edges[band], edges[band + 1]):
            ratio = min(abs(spectrum[k]) / width, float(largest))
            value = 0
            if ratio >= zero_threshold:
                value = max(int(ratio + ROUNDING), 1)
            error += ((ratio - value) * width) ** 2
            quantised[k] = -value if spectrum[k] < 0 else value
    for k in range(edges[-1], len(spectrum)):
        error += np.float64(spectrum[k]) ** 2
    return error


def dequantise_reference(
    quantised: Int32Array, edges: Int64Array, widths: Float64Array, coefficients: int
) -> Float32Array:
    """The definition of :func:`dequantise`: a spectrum of so many coefficients.

    Shape: ``quantised [edges[-1]]``, ``edges [bands + 1]``, ``widths [bands]`` -> ``[coefficients]``.
    """
    spectrum = np.zeros(coefficients, np.float32)
    spectrum[: edges[-1]] = quantised * np.repeat(widths, np.diff(edges))
    return spectrum


@kernel
def dequantise(quantised: Int32Array, edges: Int64Array, widths: Float64Array, spectrum: Float32Array) -> None:
    """Middle of the steps, zero above the bands; inverse of :func:`quantise` but for its error.

    Shape: ``quantised [edges[-1]]``, ``edges [bands + 1]``, ``widths [bands]`` -> ``spectrum [coefficients]``.
    """
    for band in range(len(widths)):
        for k in range(edges[band], edges[band + 1]):
            spectrum[k] = quantised[k] * widths[band]
    for k in range(edges[-1], len(spectrum)):
        spectrum[k] = 0


def fill_zeros_reference(
    quantised: Int32Array,
    edges: Int64Array,
    widths: Float64Array,
    energies: Int32Array,
    seed: int,
    spectrum: Float32Array,
) -> Float32Array:
    """The definition of :func:`fill_zeros`, band after band, with Python integers; returns the filled spectrum.

    Shape: as there -> ``[coefficients]``; ``spectrum`` stays as it is.
    """
    filled: Float32Array = spectrum.copy()
    state = (seed * MULTIPLIER + INCREMENT) & MASK
    for band, (first, end) in enumerate(pairwise(edges.tolist())):
        zeros = [k for k in range(first, end) if quantised[k] == 0]
        if not zeros or energies[band] == 0:
            continue
        power = (end - first) * 2.0 ** (energies[band] * RESOLUTION + LOWEST_LOG2)
        left = max(power - float(np.sum(np.square(spectrum[first:end], dtype=np.float64))), 0.0)
        rms, width = float(np.sqrt(left / len(zeros))), widths[band]
        alone = len(zeros) == end - first
        rms = min(rms * NOISE_ALONE, NOISE_ALONE_STEPS * width) if alone else min(rms, NOISE_AMONG_VALUES * width)
        for k in zeros:
            state = (state * MULTIPLIER + INCREMENT) & MASK
            filled[k] = rms * np.sqrt(3) * (2 * (state >> 30) / 2**32 - 1)
    return filled


@kernel
def fill_zeros(
    quantised: Int32Array,
    edges: Int64Array,
    widths: Float64Array,
    energies: Int32Array,
    seed: int,
    spectrum: Float32Array,
) -> None:
    """Noise where ``quantised`` is zero, at what is left of each band's energy once the values are taken off.

    The same ``seed`` gives the same noise.

    Shape: ``quantised [edges[-1]]``, ``widths`` and ``energies [bands]``; ``spectrum [coefficients]``, already
    dequantised, is changed in place.
    """
    state = (np.int64(seed) * MULTIPLIER + INCREMENT) & MASK
    for band in range(len(widths)):
        first, end = edges[band], edges[band + 1]
        energy, zeros = 0.0, 0
        for k in range(first, end):
            energy += np.float64(spectrum[k]) ** 2
            if quantised[k] == 0:
                zeros += 1
        if zeros == 0 or energies[band] == 0:
            continue
        total = (end - first) * 2.0 ** (energies[band] * RESOLUTION + LOWEST_LOG2)
        rms = np.sqrt(max(total - energy, 0.0) / zeros)
        if zeros < end - first:
            rms = min(rms, NOISE_AMONG_VALUES * widths[band])
        else:
            rms = min(rms * NOISE_ALONE, NOISE_ALONE_STEPS * widths[band])
        # Uniform from -peak to peak.
        peak = rms * np.sqrt(3.0)
        for k in range(first, end):
            if quantised[k] == 0:
                state = (state * MULTIPLIER + INCREMENT) & MASK
                spectrum[k] = peak * (np.float64(state >> 30) / 2147483648.0 - 1.0)
