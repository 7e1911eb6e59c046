"""Filters of linear phase that change from block to block: what is added to the sound, band by band.

A filter is a sum of cosines, one for each bin or band, and the one before fades into it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native_dsp.filters.symmetric_filter import make_symmetric_filter, whole_blocks
from native_dsp.jit import outlined_unordered_kernel

Float32Array = NDArray[np.float32]

_PART = 64
"""Samples filtered at once."""
_filter_by_both = make_symmetric_filter(2, _PART)
_filter_by_one = make_symmetric_filter(1, _PART)


def room_for_change(samples: int) -> Float32Array:
    """Scratch of :func:`add_changing` for blocks of so many samples.

    Shape: output ``[2, whole blocks]``.
    """
    return np.zeros((2, whole_blocks(samples)), np.float32)


@outlined_unordered_kernel
def sum_cosines(excess: Float32Array, cosines: Float32Array, taps: Float32Array) -> None:
    """Taps of the filter that adds so much of each bin.

    Shape: excess ``[bins]``, gains less one; cosines ``[bins, half + 1]`` -> taps ``[half + 1]``.
    """
    bins = len(excess)
    whole = bins - bins % 4
    for m in range(len(taps)):
        taps[m] = 0
    for i in range(0, whole, 4):
        a, b, c, d = excess[i], excess[i + 1], excess[i + 2], excess[i + 3]
        row0, row1, row2, row3 = cosines[i], cosines[i + 1], cosines[i + 2], cosines[i + 3]
        for m in range(len(taps)):
            taps[m] += a * row0[m] + b * row1[m] + c * row2[m] + d * row3[m]
    for i in range(whole, bins):
        gain, row = excess[i], cosines[i]
        for m in range(len(taps)):
            taps[m] += gain * row[m]


@outlined_unordered_kernel
def add_changing(
    sound: Float32Array,
    middle: int,
    taps: Float32Array,
    now: int,
    fade_samples: int,
    changed: Float32Array,
    samples: Float32Array,
) -> None:
    """Add to one block what its filter and, fading, the one before make of the sound.

    Shape: sound, readable from ``middle - half`` to ``middle + whole_blocks(block) + half``, the block begins at
    ``middle``; taps ``[2, half + 1]``, from the middle outwards, those in row ``now`` belong to the block; changed as
    :func:`room_for_change` gives it; samples ``[block]``, at least ``fade_samples``.
    """
    block, half, stride = len(samples), taps.shape[1] - 1, changed.shape[1]
    both = min(-(-fade_samples // _PART) * _PART, block)
    _filter_by_both(sound, middle, taps, half, changed, 0, stride, both)
    if both < block:
        _filter_by_one(sound, middle + both, taps[now], half, changed[now], both, 0, block - both)
    old, new = changed[1 - now], changed[now]
    step = np.float32(1.0 / fade_samples)
    for i in range(fade_samples):
        share = step * (np.float32(i) + np.float32(0.5))
        samples[i] += (np.float32(1) - share) * old[i] + share * new[i]
    for i in range(fade_samples, block):
        samples[i] += new[i]
