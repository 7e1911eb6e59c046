"""Power-law companding of complex spectra with exponent one half: magnitudes to their square roots and back.

The phase stays. A floor under the magnitude keeps the gain finite at silence. One half needs square roots only, no
powers, so no result depends on a mathematics library.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import kernel
from native_dsp.transforms.stft import StftState, analyse

Float32Array = NDArray[np.float32]

POWER = 0.5
MAGNITUDE_FLOOR = 1e-5

_FLOOR_SQUARED = np.float32(MAGNITUDE_FLOOR**2)
_FLOOR = np.float32(MAGNITUDE_FLOOR)
_ONE = np.float32(1.0)
# Far below the floor: squares of smaller values would be denormal numbers, slow on many processors.
_SILENCE = np.float32(1e-15)


def compand_reference(spectrum: NDArray[Any], power: float = POWER) -> NDArray[np.float64]:
    """``X (|X|^2 + floor^2)^((power - 1) / 2)``, in double precision.

    Shape: complex ``[..., bins]`` -> ``[..., 2 * bins]``, real parts then imaginary parts.
    """
    gain = (np.abs(spectrum) ** 2 + MAGNITUDE_FLOOR**2) ** (0.5 * (power - 1.0))
    return np.concatenate([spectrum.real * gain, spectrum.imag * gain], axis=-1)


def expand_reference(companded: NDArray[Any], power: float = POWER) -> NDArray[np.complex128]:
    """Inverse of :func:`compand_reference` (up to the floor).

    Shape: ``[..., 2 * bins]`` -> complex ``[..., bins]``.
    """
    real, imag = np.split(np.asarray(companded, np.float64), 2, axis=-1)
    gain = (real**2 + imag**2 + MAGNITUDE_FLOOR ** (2 * power)) ** (0.5 * (1.0 / power - 1.0))
    spectrum: NDArray[np.complex128] = real * gain + 1j * imag * gain
    return spectrum


@kernel
def compand(re: Float32Array, im: Float32Array, out: Float32Array) -> None:
    """Complex spectrum to companded real and imaginary parts.

    Shape: ``re [bins]``, ``im [bins]`` -> ``out [2 * bins]``, contiguous float32.
    """
    bins = len(re)
    if len(im) != bins or len(out) != 2 * bins:
        raise ValueError("compand needs re [bins], im [bins] and out [2 * bins]")
    imaginary = out[bins:]
    for k in range(bins):
        a = re[k] if not abs(re[k]) < _SILENCE else np.float32(0)
        b = im[k] if not abs(im[k]) < _SILENCE else np.float32(0)
        gain = _ONE / np.sqrt(np.sqrt(a * a + b * b + _FLOOR_SQUARED))
        out[k] = a * gain
        imaginary[k] = b * gain


@kernel
def expand(companded: Float32Array, re: Float32Array, im: Float32Array) -> None:
    """Companded real and imaginary parts to a complex spectrum; inverse of :func:`compand`.

    Shape: ``companded [2 * bins]`` -> ``re [bins]``, ``im [bins]``, contiguous float32.
    """
    bins = len(re)
    if len(im) != bins or len(companded) != 2 * bins:
        raise ValueError("expand needs companded [2 * bins], re [bins] and im [bins]")
    imaginary = companded[bins:]
    for k in range(bins):
        a = companded[k] if not abs(companded[k]) < _SILENCE else np.float32(0)
        b = imaginary[k] if not abs(imaginary[k]) < _SILENCE else np.float32(0)
        gain = np.sqrt(a * a + b * b + _FLOOR)
        re[k] = a * gain
        im[k] = b * gain


@kernel
def analyse_companded(
    stft: StftState, block: Float32Array, re: Float32Array, im: Float32Array, companded: Float32Array
) -> None:
    """Companded spectra of all hops of a block, in one call.

    Shape: block ``[hops * hop_samples]``; re, im (scratch) ``[bins]`` -> companded ``[hops, 2 * bins]``.
    """
    hop = len(block) // len(companded)
    for h in range(len(companded)):
        analyse(stft, block[h * hop : (h + 1) * hop], re, im)
        compand(re, im, companded[h])
