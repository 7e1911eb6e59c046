"""Whether a frame is one or two steady tones, such as a key of a telephone, and next to nothing else.

Its spectra say so: the same one or two narrow peaks in each of them, with all but a few percent of the power. A voice
has more harmonics than two, or its strongest below the band that is looked at; what hisses or begins has no such
peaks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import kernel

Float32Array = NDArray[np.float32]

LOWEST_HZ, HIGHEST_HZ = 600.0, 1_800.0
"""Where the peaks must lie: telephone keys (697 to 1,633 Hz), and what the codec's latents can tell of a waveform."""
TONAL_SHARE = 0.9
"""Least share of the power that one or two peaks have."""
HALF_PEAK_BINS = 2
"""A tone's power lies in its bin and so many on either side."""
QUIET_POWER = 1e-7
"""Sum of squared magnitudes of a spectrum below which nothing is looked for."""


@kernel
def _power(companded: Float32Array, k: int) -> float:
    """Power of bin ``k``, from what :func:`~native_dsp.transforms.companding.compand` made of it.

    Shape: companded ``[2 * bins]``.
    """
    re, im = np.float64(companded[k]), np.float64(companded[companded.size // 2 + k])
    magnitude = re * re + im * im
    return magnitude * magnitude


@kernel
def _peak(companded: Float32Array, first: int, last: int, taken: int) -> int:
    """The strongest bin from ``first`` to ``last`` that is not of the peak at ``taken``."""
    best, found = -1.0, first
    for k in range(first, last + 1):
        if abs(k - taken) > 2 * HALF_PEAK_BINS:
            power = _power(companded, k)
            if power > best:
                best, found = power, k
    return found


@kernel
def _peak_power(companded: Float32Array, peak: int) -> float:
    """Power of a peak, its skirts counted."""
    total = 0.0
    for k in range(peak - HALF_PEAK_BINS, peak + HALF_PEAK_BINS + 1):
        total += _power(companded, k)
    return total


@kernel
def tonal(companded: Float32Array, sample_rate_hz: float) -> bool:
    """Whether all spectra of a frame hold the same one or two tones and little else.

    Shape: companded ``[hops, 2 * bins]``.
    """
    bins = companded.shape[1] // 2
    bin_hz = 0.5 * sample_rate_hz / (bins - 1)
    first = int(np.ceil(LOWEST_HZ / bin_hz))
    last = int(HIGHEST_HZ / bin_hz)
    before, before_second = -1, -1
    for h in range(companded.shape[0]):
        spectrum = companded[h]
        total = 0.0
        for k in range(bins):
            total += _power(spectrum, k)
        if total < QUIET_POWER:
            return False
        peak = _peak(spectrum, first, last, -bins)
        second = _peak(spectrum, first, last, peak)
        strong = _peak_power(spectrum, peak)
        alone = strong >= TONAL_SHARE * total
        if not alone and strong + _peak_power(spectrum, second) < TONAL_SHARE * total:
            return False
        low, high = (peak, peak) if alone else (min(peak, second), max(peak, second))
        if h > 0 and (abs(low - before) > 1 or abs(high - before_second) > 1):
            return False
        before, before_second = low, high
    return True
