"""Rows that remember the newest of a stream."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import kernel

Float32Array = NDArray[np.float32]


@kernel
def make_room(memory: Float32Array, samples: int) -> None:
    """Move what is remembered towards the beginning, so that so many of the newest can be written at the end.

    Piece by piece: the compiler does not copy vectors where what is read and what is written overlap.

    Shape: memory ``[n]``, n at least ``samples``.
    """
    kept = len(memory) - samples
    for start in range(0, kept, samples):
        size = min(samples, kept - start)
        here, later = memory[start : start + size], memory[start + samples : start + samples + size]
        for i in range(size):
            here[i] = later[i]
