"""Modified discrete cosine transform: blocks of N samples to N coefficients and back.

Orthonormal (Princen and Bradley's condition), so that squared error is the same in both domains. The window is a sine
over two blocks, or, with a shorter overlap, flat in the middle and zero at the ends, which keeps a block's
quantisation noise closer to where it belongs in time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import kernel
from native_dsp.transforms.dct4 import Dct4, dct4, make_dct4
from native_dsp.transforms.windows import flat_power_complementary

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]


class MdctState(NamedTuple):
    """Transform of one channel, in one direction; not to be shared between threads (scratch is written).

    Shape: ``window [2 N]``; ``carried [N]``, the last block (forward) or the second half of the last output
    (backward); ``folded [N]``, scratch. All float32.
    """

    dct: Dct4
    window: Float32Array
    carried: Float32Array
    folded: Float32Array


def make_mdct(block_samples: int, overlap_samples: int = 0) -> MdctState:
    """State for blocks of a power of two of samples, 32 to 8192, with silence before the first.

    Neighbouring blocks share ``overlap_samples`` (even; 0: all, a plain sine window).
    """
    return MdctState(
        dct=make_dct4(block_samples),
        window=flat_power_complementary(2 * block_samples, overlap_samples or block_samples),
        carried=np.zeros(block_samples, np.float32),
        folded=np.zeros(block_samples, np.float32),
    )


def mdct_reference(samples: Float64Array, window: Float64Array) -> Float64Array:
    """The definition: ``X[k] = sqrt(2/N) sum_n w[n] x[n] cos(pi/N (n + 1/2 + N/2) (k + 1/2))``.

    Shape: ``[2 N]`` twice -> ``[N]``.
    """
    size = len(samples) // 2
    n, k = np.arange(2 * size), np.arange(size)
    basis = np.cos(np.pi / size * np.outer(k + 0.5, n + 0.5 + size / 2))
    spectrum: Float64Array = np.sqrt(2 / size) * (basis @ (window * samples))
    return spectrum


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
    dct4(state.dct, folded, spectrum)


@kernel
def mdct_backward(state: MdctState, spectrum: Float32Array, block: Float32Array) -> None:
    """Samples that the last spectrum and this one share: those of the block before the newest.

    Shape: ``spectrum [N]`` -> ``block [N]``, written in place.
    """
    size = len(block)
    half = size // 2
    window, carried, folded = state.window, state.carried, state.folded
    dct4(state.dct, spectrum, folded)
    for n in range(half):
        block[n] = carried[n] + window[n] * folded[half + n]
        block[size - 1 - n] = carried[size - 1 - n] - window[size - 1 - n] * folded[half + n]
    for n in range(half):
        carried[half - 1 - n] = -window[size + half - 1 - n] * folded[n]
        carried[half + n] = -window[size + half + n] * folded[n]
