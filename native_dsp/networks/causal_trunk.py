"""A chain of causal ConvNeXt blocks, stepped by one or a few frames for several streams at once.

Each block is a depthwise convolution over the frames before, a layer norm, and two products with a GELU between them
(Liu et al., "A ConvNet for the 2020s", 2022).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import outlined_kernel, unordered_kernel
from native_dsp.networks.elementary import gelu
from native_dsp.networks.matrix_product import Matrix, Workspace, multiply

Float32Array = NDArray[np.float32]
NORM_EPSILON = np.float32(1e-5)


class Norm(NamedTuple):
    """Weight and bias of layer norms.

    Shape: each ``[norms, dim]``.
    """

    weight: Float32Array
    bias: Float32Array


class Trunk(NamedTuple):
    """Weights of all blocks of a chain.

    Shape: taps ``[blocks, kernel_size, dim]``, oldest first; scale ``[blocks, dim]``; dilation, in frames, int64
    ``[blocks]``; norm, widen and narrow hold one of each block.
    """

    taps: Float32Array
    scale: Float32Array
    dilation: NDArray[np.int64]
    norm: Norm
    widen: Matrix
    narrow: Matrix


class TrunkScratch(NamedTuple):
    """Scratch of a chain.

    Shape: branch ``[rows, dim]``; wide ``[rows, expansion * dim]``.
    """

    branch: Float32Array
    wide: Float32Array


def history_frames(trunk: Trunk, frames: int) -> list[slice]:
    """Where each block's frames lie in a history: what it remembers, then room for those of the step."""
    lengths = [(trunk.taps.shape[1] - 1) * int(dilation) + frames for dilation in trunk.dilation]
    ends = np.cumsum(lengths)
    return [slice(int(end) - length, int(end)) for end, length in zip(ends, lengths, strict=True)]


def make_trunk_scratch(trunk: Trunk, rows: int) -> TrunkScratch:
    """Scratch for steps of up to so many rows, frames of all streams together."""
    return TrunkScratch(
        branch=np.zeros((rows, trunk.narrow.outputs), np.float32),
        wide=np.zeros((rows, trunk.widen.outputs), np.float32),
    )


@unordered_kernel
def normalise(norm: Norm, which: int, x: Float32Array, out: Float32Array) -> None:
    """Layer norm of one row.

    Shape: x, out ``[dim]``; they may be the same.
    """
    total, power = np.float32(0), np.float32(0)
    for k in range(len(x)):
        total += x[k]
    mean = np.float32(total / np.float32(len(x)))
    for k in range(len(x)):
        power += (x[k] - mean) * (x[k] - mean)
    factor = np.float32(1) / np.sqrt(power / np.float32(len(x)) + NORM_EPSILON)
    weight, bias = norm.weight[which], norm.bias[which]
    for k in range(len(x)):
        out[k] = (x[k] - mean) * factor * weight[k] + bias[k]


@outlined_kernel
def normalise_rows(norm: Norm, x: Float32Array, rows: int) -> None:
    """Layer norm of so many rows, in place, with the first of the norms.

    Shape: x ``[at least rows, dim]``.
    """
    for r in range(rows):
        normalise(norm, 0, x[r], x[r])


@unordered_kernel
def _convolve(taps: Float32Array, dilation: int, history: Float32Array, out: Float32Array) -> None:
    """One frame of a causal depthwise convolution.

    Shape: taps ``[kernel_size, dim]``, history ``[at least (kernel_size - 1) * dilation + 1, dim]``, out ``[dim]``.
    """
    for k in range(len(out)):
        out[k] = 0
    for t in range(len(taps)):
        tap, frame = taps[t], history[t * dilation]
        for k in range(len(out)):
            out[k] += tap[k] * frame[k]


@outlined_kernel
def step_trunk(
    trunk: Trunk,
    history: Float32Array,
    streams: NDArray[np.int64],
    frames: int,
    x: Float32Array,
    scratch: TrunkScratch,
    work: Workspace,
) -> None:
    """Step the chain by so many frames of these streams, in place; their histories go on.

    Shape: history ``[all streams, frames of all blocks, dim]``, see :func:`history_frames`; streams ``[n]``; x ``[at
    least n * frames, dim]``, one stream after the other.
    """
    rows, dim = len(streams) * frames, x.shape[1]
    branch, wide = scratch.branch, scratch.wide
    end = 0
    for b in range(len(trunk.taps)):
        dilation, taps = trunk.dilation[b], trunk.taps[b]
        remembered = (len(taps) - 1) * dilation
        start, end = end, end + remembered + frames
        for s in range(len(streams)):
            past = history[streams[s], start:end]
            for f in range(frames):
                now, row = past[remembered + f], x[s * frames + f]
                for k in range(dim):
                    now[k] = row[k]
            for f in range(frames):
                row = branch[s * frames + f]
                _convolve(taps, dilation, past[f:], row)
                normalise(trunk.norm, b, row, row)
            for f in range(remembered):
                before, after = past[f], past[f + frames]
                for k in range(dim):
                    before[k] = after[k]
        multiply(trunk.widen, b, branch, rows, work, wide)
        for r in range(rows):
            row = wide[r]
            for k in range(len(row)):
                row[k] = gelu(row[k])
        multiply(trunk.narrow, b, wide, rows, work, branch)
        scale = trunk.scale[b]
        for r in range(rows):
            row, change = x[r], branch[r]
            for k in range(dim):
                row[k] += scale[k] * change[k]
