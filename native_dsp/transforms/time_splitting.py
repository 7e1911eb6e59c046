"""A block's spectrum as several shorter ones that follow each other in time, without loss, and back.

Undoing the block's DCT gives its folded samples; those are cut into ``PARTS`` pieces that overlap by half a piece on
either side of each cut (a rotation of sample pairs, Malvar's lapped orthogonal transform), each with a DCT of its
own. The outer edges, and so the neighbouring blocks, are untouched: any block may be split on its own, as in the
short blocks of CELT (Valin et al., "High-quality, low-delay music coding in the Opus codec", AES 2013).

Coefficients of one frequency stand side by side, latest piece first: the order of frequency is kept.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import kernel
from native_dsp.transforms.dct4 import Dct4, dct4, make_dct4

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

PARTS = 4
SHORTEST_BLOCK = 32 * PARTS


class TimeSplitter(NamedTuple):
    """Transforms of one block length, and scratch; not to be shared between threads.

    Shape: ``turns [2, N / (2 * PARTS)]``, cosines and sines of the rotations; ``folded [N]`` and
    ``piece [N / PARTS]``, scratch. All float32.
    """

    whole: Dct4
    part: Dct4
    turns: Float32Array
    folded: Float32Array
    piece: Float32Array


def make_splitter(block_samples: int) -> TimeSplitter:
    """Splitter of blocks of a power of two of samples, ``SHORTEST_BLOCK`` to 8192."""
    size = block_samples // PARTS
    return TimeSplitter(
        whole=make_dct4(block_samples),
        part=make_dct4(size),
        turns=_turns(size).astype(np.float32),
        folded=np.zeros(block_samples, np.float32),
        piece=np.zeros(size, np.float32),
    )


def _turns(size: int) -> Float64Array:
    angles = 0.25 * np.pi * (1 + (2 * np.arange(size // 2) + 1) / size)
    turns: Float64Array = np.stack([np.cos(angles), np.sin(angles)])
    return turns


def splitting_reference(block_samples: int) -> Float64Array:
    """The whole transform as one matrix: split = matrix @ spectrum.

    Shape: output ``[N, N]``, orthonormal.
    """
    size = block_samples // PARTS
    cosine, sine = _turns(size)

    def dct_matrix(points: int) -> Float64Array:
        at = np.arange(points) + 0.5
        matrix: Float64Array = np.sqrt(2 / points) * np.cos(np.pi / points * np.outer(at, at))
        return matrix

    rotation = np.eye(block_samples)
    for cut in range(size, block_samples, size):
        for n in range(size // 2):
            a, b = cut - 1 - n, cut + n
            rotation[a, a] = rotation[b, b] = sine[n]
            rotation[a, b], rotation[b, a] = -cosine[n], cosine[n]
    pieces = np.kron(np.eye(PARTS), dct_matrix(size))
    interleaved = np.arange(block_samples).reshape(PARTS, size).T.ravel()
    matrix: Float64Array = (pieces @ rotation @ dct_matrix(block_samples))[interleaved]
    return matrix


@kernel
def _rotate(state: TimeSplitter, direction: float) -> None:
    folded = state.folded
    size = len(state.piece)
    for cut in range(size, len(folded), size):
        for n in range(size // 2):
            cosine, sine = np.float32(direction) * state.turns[0, n], state.turns[1, n]
            a, b = folded[cut - 1 - n], folded[cut + n]
            folded[cut - 1 - n] = sine * a - cosine * b
            folded[cut + n] = sine * b + cosine * a


@kernel
def split_spectrum(state: TimeSplitter, spectrum: Float32Array, split: Float32Array) -> None:
    """Short spectra of a block.

    Shape: ``spectrum [N]`` -> ``split [N]``, written in place.
    """
    dct4(state.whole, spectrum, state.folded)
    _rotate(state, 1.0)
    size = len(state.piece)
    for part in range(PARTS):
        dct4(state.part, state.folded[part * size : (part + 1) * size], state.piece)
        for k in range(size):
            split[k * PARTS + part] = state.piece[k]


@kernel
def join_spectrum(state: TimeSplitter, split: Float32Array, spectrum: Float32Array) -> None:
    """Inverse of :func:`split_spectrum`.

    Shape: ``split [N]`` -> ``spectrum [N]``, written in place.
    """
    size = len(state.piece)
    for part in range(PARTS):
        for k in range(size):
            state.piece[k] = split[k * PARTS + part]
        dct4(state.part, state.piece, state.folded[part * size : (part + 1) * size])
    _rotate(state, -1.0)
    dct4(state.whole, state.folded, spectrum)
