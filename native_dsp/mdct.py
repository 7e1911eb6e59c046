"""Modified discrete cosine transform with a sine window: blocks of N samples to N coefficients and back.

Orthonormal (Princen and Bradley's condition), so that squared error is the same in both domains. The DCT-IV inside
takes a complex FFT of N / 2 points between two rotations (Duhamel, Mahieux and Petit, "A fast algorithm for the
implementation of filter banks based on time domain aliasing cancellation", ICASSP 1991), here two real ones of the
same size, for real and imaginary parts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.fft import FftPlan, make_fft, rfft
from native_dsp.jit import kernel
from native_dsp.windows import power_complementary

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]


class MdctState(NamedTuple):
    """Transform of one channel, in one direction; not to be shared between threads (scratch is written).

    Shape: ``window [2 N]``; ``rotation [2, N / 2]``, cosines and sines; ``carried [N]``, the last block (forward) or
    the second half of the last output (backward); ``folded [N]``, ``parts [2, N / 2]`` and
    ``spectra [4, N / 4 + 1]``, scratch. All float32.
    """

    plan: FftPlan
    window: Float32Array
    rotation: Float32Array
    carried: Float32Array
    folded: Float32Array
    parts: Float32Array
    spectra: Float32Array


def make_mdct(block_samples: int) -> MdctState:
    """State for blocks of a power of two of samples, 32 to 8192, with silence before the first."""
    half = block_samples // 2
    turn = np.exp(-1j * np.pi * (8 * np.arange(half) + 1) / (8 * block_samples)) * (2 / block_samples) ** 0.25
    return MdctState(
        plan=make_fft(half),
        window=power_complementary(2 * block_samples),
        rotation=np.stack([turn.real, turn.imag]).astype(np.float32),
        carried=np.zeros(block_samples, np.float32),
        folded=np.zeros(block_samples, np.float32),
        parts=np.zeros((2, half), np.float32),
        spectra=np.zeros((4, half // 2 + 1), np.float32),
    )


def mdct_reference(samples: Float64Array) -> Float64Array:
    """The definition, windowed: ``X[k] = sqrt(2/N) sum_n w[n] x[n] cos(pi/N (n + 1/2 + N/2) (k + 1/2))``.

    Shape: ``[2 N]`` -> ``[N]``.
    """
    size = len(samples) // 2
    n, k = np.arange(2 * size), np.arange(size)
    window = np.sin(np.pi * (n + 0.5) / (2 * size))
    basis = np.cos(np.pi / size * np.outer(k + 0.5, n + 0.5 + size / 2))
    spectrum: Float64Array = np.sqrt(2 / size) * (basis @ (window * samples))
    return spectrum


@kernel
def _dct4(state: MdctState, output: Float32Array) -> None:
    """Orthonormal DCT-IV of ``state.folded``."""
    size = len(state.folded)
    half = size // 2
    folded, parts, rotation, spectra = state.folded, state.parts, state.rotation, state.spectra
    for n in range(half):
        a, b = folded[2 * n], folded[size - 1 - 2 * n]
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


@kernel
def mdct_forward(state: MdctState, block: Float32Array, spectrum: Float32Array) -> None:
    """Spectrum of the block before and this one, windowed; the block is carried to the next call.

    Shape: ``block [N]`` -> ``spectrum [N]``, written in place.
    """
    size = len(block)
    half = size // 2
    window, carried, folded = state.window, state.carried, state.folded
    for n in range(half):
        folded[n] = -window[size + half - 1 - n] * block[half - 1 - n] - window[size + half + n] * block[half + n]
        folded[half + n] = window[n] * carried[n] - window[size - 1 - n] * carried[size - 1 - n]
    for n in range(size):
        carried[n] = block[n]
    _dct4(state, spectrum)


@kernel
def mdct_backward(state: MdctState, spectrum: Float32Array, block: Float32Array) -> None:
    """Samples that the last spectrum and this one share: those of the block before the newest.

    Shape: ``spectrum [N]`` -> ``block [N]``, written in place.
    """
    size = len(block)
    half = size // 2
    window, carried, folded = state.window, state.carried, state.folded
    for n in range(size):
        folded[n] = spectrum[n]
    _dct4(state, block)
    for n in range(half):
        folded[n] = block[n]
        folded[half + n] = block[half + n]
    for n in range(half):
        block[n] = carried[n] + window[n] * folded[half + n]
        block[size - 1 - n] = carried[size - 1 - n] - window[size - 1 - n] * folded[half + n]
    for n in range(half):
        carried[half - 1 - n] = -window[size + half - 1 - n] * folded[n]
        carried[half + n] = -window[size + half + n] * folded[n]
