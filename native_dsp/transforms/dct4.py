"""Orthonormal discrete cosine transform of type four: its own inverse, the core of every lapped transform here.

Takes a complex FFT of N / 2 points between two rotations (Duhamel, Mahieux and Petit, "A fast algorithm for the
implementation of filter banks based on time domain aliasing cancellation", ICASSP 1991), here two real ones of the
same size, for real and imaginary parts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import kernel
from native_dsp.transforms.fft import FftPlan, make_fft, rfft

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]


class Dct4(NamedTuple):
    """Plan and scratch of one size; not to be shared between threads.

    Shape: ``rotation [2, N / 2]``, cosines and sines; ``parts [2, N / 2]`` and ``spectra [4, N / 4 + 1]``, scratch.
    All float32.
    """

    plan: FftPlan
    rotation: Float32Array
    parts: Float32Array
    spectra: Float32Array


def make_dct4(size: int) -> Dct4:
    """Plan for a power of two of values, 32 to 8192."""
    half = size // 2
    turn = np.exp(-1j * np.pi * (8 * np.arange(half) + 1) / (8 * size)) * (2 / size) ** 0.25
    return Dct4(
        plan=make_fft(half),
        rotation=np.stack([turn.real, turn.imag]).astype(np.float32),
        parts=np.zeros((2, half), np.float32),
        spectra=np.zeros((4, half // 2 + 1), np.float32),
    )


def dct4_reference(values: Float64Array) -> Float64Array:
    """The definition: ``X[k] = sqrt(2/N) sum_n x[n] cos(pi/N (n + 1/2) (k + 1/2))``.

    Shape: ``[N]`` -> ``[N]``.
    """
    size = len(values)
    at = np.arange(size) + 0.5
    result: Float64Array = np.sqrt(2 / size) * (np.cos(np.pi / size * np.outer(at, at)) @ values)
    return result


@kernel
def dct4(state: Dct4, values: Float32Array, output: Float32Array) -> None:
    """Transform of ``values``, or back.

    Shape: ``values [N]`` -> ``output [N]``, written in place; not the same array.
    """
    size = len(values)
    half = size // 2
    parts, rotation, spectra = state.parts, state.rotation, state.spectra
    for n in range(half):
        a, b = values[2 * n], values[size - 1 - 2 * n]
        cosine, sine = rotation[0, n], rotation[1, n]
        parts[0, n] = a * cosine - b * sine
        parts[1, n] = a * sine + b * cosine
    rfft(state.plan, parts[0], spectra[0], spectra[1])
    rfft(state.plan, parts[1], spectra[2], spectra[3])
    for k in range(half):
        # Spectrum of the complex sequence from those of its real and imaginary parts, mirrored above the middle.
        if k <= half // 2:
            re = spectra[0, k] - spectra[3, k]
            im = spectra[1, k] + spectra[2, k]
        else:
            re = spectra[0, half - k] + spectra[3, half - k]
            im = spectra[2, half - k] - spectra[1, half - k]
        cosine, sine = rotation[0, k], rotation[1, k]
        output[2 * k] = re * cosine - im * sine
        output[size - 1 - 2 * k] = -(re * sine + im * cosine)
