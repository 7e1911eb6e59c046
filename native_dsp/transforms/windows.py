"""Analysis and synthesis windows.

The slow, obvious definitions are the implementation: windows are made once per stream, never per frame.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]


def hann_periodic(length_samples: int) -> Float32Array:
    """Periodic Hann window, ``0.5 - 0.5 cos(2 pi n / N)``.

    Shape: output ``[length_samples]``.
    """
    n = np.arange(length_samples, dtype=np.float64)
    return (0.5 - 0.5 * np.cos(2.0 * np.pi * n / length_samples)).astype(np.float32)


def power_complementary(length_samples: int) -> Float32Array:
    """Sine window: its square and the square of itself shifted by half its length add to one.

    Shape: output ``[length_samples]``; the length must be even.
    """
    if length_samples % 2:
        raise ValueError(f"a power-complementary window needs an even length, got {length_samples}")
    n = np.arange(length_samples, dtype=np.float64)
    return np.sin(np.pi * (n + 0.5) / length_samples).astype(np.float32)


def flat_power_complementary(length_samples: int, overlap_samples: int) -> Float32Array:
    """Power-complementary window whose slopes, quarter periods of a sine, take ``overlap_samples`` each.

    It is zero before the first slope, one between the two, zero after the second; with an overlap of half its length
    it is :func:`power_complementary`.

    Shape: output ``[length_samples]``; both lengths even, the overlap at most half the length.
    """
    half = length_samples // 2
    if length_samples % 2 or overlap_samples % 2 or not 0 < overlap_samples <= half:
        raise ValueError(f"need an even overlap of at most half of {length_samples} samples, got {overlap_samples}")
    flat = (half - overlap_samples) // 2
    n = np.clip(np.arange(half, dtype=np.float64) - flat, -0.5, overlap_samples - 0.5)
    rise = np.sin(0.5 * np.pi * (n + 0.5) / overlap_samples)
    return np.concatenate([rise, rise[::-1]]).astype(np.float32)


def low_delay_pair(fft_samples: int, hop_samples: int, overlap_samples: int) -> tuple[Float32Array, Float32Array]:
    """Long asymmetric analysis window and short synthesis window with perfect reconstruction.

    The analysis window spans all ``fft_samples``, the synthesis window only the newest
    ``hop_samples + overlap_samples``; their product is a power-complementary trapezoid, so overlap-add at
    ``hop_samples`` reconstructs exactly while the delay is set by the short window alone
    (Mauler and Martin, "A low delay, variable resolution, perfect reconstruction spectral
    analysis-synthesis system for speech enhancement", EUSIPCO 2007).

    Shape: two arrays ``[fft_samples]``.
    """
    support = hop_samples + overlap_samples
    if not 0 < overlap_samples <= hop_samples or support > fft_samples:
        raise ValueError(
            f"need 0 < overlap_samples <= hop_samples and hop + overlap <= fft, got "
            f"hop {hop_samples}, overlap {overlap_samples}, fft {fft_samples}"
        )
    fade = np.sin(0.5 * np.pi * (np.arange(overlap_samples) + 0.5) / overlap_samples)
    product = np.ones(support)
    product[:overlap_samples] = fade**2
    product[hop_samples:] = fade[::-1] ** 2

    rise_samples = fft_samples - hop_samples
    analysis = np.ones(fft_samples)
    analysis[:rise_samples] = np.sin(0.5 * np.pi * (np.arange(rise_samples) + 0.5) / rise_samples)
    analysis[fft_samples - overlap_samples :] = fade[::-1]

    synthesis = np.zeros(fft_samples)
    synthesis[fft_samples - support :] = product / analysis[fft_samples - support :]
    return analysis.astype(np.float32), synthesis.astype(np.float32)


def dual_window(analysis_window: Float32Array, hop_samples: int) -> Float32Array:
    """Synthesis window that inverts an analysis window: itself over the sum of its squares at every hop.

    The minimum-norm dual (Griffin and Lim, "Signal estimation from modified short-time Fourier transform", 1984,
    equation 6). For a periodic Hann window at a quarter of its length this is the window over 1.5.

    Shape: ``[samples]`` -> ``[samples]``; the length must be a multiple of the hop.
    """
    length_samples = len(analysis_window)
    if hop_samples < 1 or length_samples % hop_samples:
        raise ValueError(f"the window length must be a multiple of the hop, got {length_samples} and {hop_samples}")
    squares = np.asarray(analysis_window, np.float64) ** 2
    power = squares.reshape(-1, hop_samples).sum(axis=0)
    if power.min() < 1e-6 * power.max():
        raise ValueError(f"a window of {length_samples} samples leaves gaps at a hop of {hop_samples}")
    dual: Float32Array = (analysis_window / np.tile(power, length_samples // hop_samples)).astype(np.float32)
    return dual
