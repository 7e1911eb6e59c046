"""Products of a few rows with large constant matrices, which is where a stepped network's time goes.

A matrix is read once for all rows, from memory in the order in which it is needed: tiles of 32 outputs, in a tile all
inputs, for each of them the tile's weights. Weights of 8 bits are multiplied by inputs rounded to 15 bits, with one
scale per row, and added up exactly; others by float32 inputs. Either way a row's result does not depend on the rows
beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import inlined, kernel, outlined_kernel
from native_dsp.networks.elementary import WHOLE_NUMBERS, number_of_bits
from native_dsp.networks.simd_product import PHASES, TILE, Kind, inputs_together, make_simd_product, step_bytes

Float32Array = NDArray[np.float32]

KINDS: tuple[Kind, ...] = ("integers", "halves", "floats")
_INTEGERS, _HALVES = KINDS.index("integers"), KINDS.index("halves")
ROWS_AT_ONCE = 4
LARGEST_SUM, LARGEST_INTEGER, LARGEST_WEIGHT = 2**31 - 1, 2**15 - 1, 128
_SMALLEST_AMPLITUDE = np.float32(1e-30)
_ALL_BUT_SIGN = np.int32(0x7FFFFFFF)


class Matrix(NamedTuple):
    """Matrices of one shape, ready to be multiplied by; ``kind`` is a number of :data:`KINDS`.

    Shape: weights int8 ``[matrices, tiles, bytes of a tile]``; scale, of integers, and bias ``[matrices, outputs]``.
    """

    weights: NDArray[np.int8]
    scale: Float32Array
    bias: Float32Array
    kind: int
    inputs: int
    outputs: int
    largest_input: float
    """Integers that inputs are rounded to, such that no sum overflows."""


class Workspace(NamedTuple):
    """Scratch of products with up to so many rows.

    Shape: integers int16 and floats ``[rows, inputs]``, room for the inputs as they are multiplied; scale ``[rows]``;
    sums ``[rows, outputs]``.
    """

    integers: NDArray[np.int16]
    floats: Float32Array
    scale: Float32Array
    sums: Float32Array


def pack(
    weights: NDArray[np.int8] | Float32Array, scale: Float32Array | None = None, bias: Float32Array | None = None
) -> Matrix:
    """Matrices in the order in which a step reads them: int8 with a scale for each output, or float32.

    Float32 is kept in 16 bits where that loses nothing, because bytes are what a step waits for.

    Shape: weights ``[matrices, outputs, inputs]``; scale, bias ``[matrices, outputs]``.
    """
    matrices, outputs, inputs = weights.shape
    kind: Kind = "floats"
    stored: NDArray[Any] = weights
    with np.errstate(over="ignore"):
        halves = weights.astype(np.float16)
    if weights.dtype == np.int8:
        kind = "integers"
    elif (halves == weights).all():
        kind, stored = "halves", halves
    return Matrix(
        weights=_in_tiles(stored, kind).view(np.int8),
        scale=np.ones((matrices, outputs), np.float32) if scale is None else np.ascontiguousarray(scale, np.float32),
        bias=np.zeros((matrices, outputs), np.float32) if bias is None else np.ascontiguousarray(bias, np.float32),
        kind=KINDS.index(kind),
        inputs=inputs,
        outputs=outputs,
        largest_input=float(min(LARGEST_SUM // (LARGEST_WEIGHT * inputs), LARGEST_INTEGER)),
    )


def _in_tiles(weights: NDArray[Any], kind: Kind) -> NDArray[Any]:
    """Shape: ``[matrices, outputs, inputs]`` -> ``[matrices, tiles, weights of a tile]``, filled up with zeros."""
    matrices, outputs, inputs = weights.shape
    together = inputs_together(kind)
    tiles, phases = -(-outputs // TILE), -(-inputs // (PHASES * together)) * PHASES
    padded = np.zeros((matrices, tiles * TILE, phases * together), weights.dtype)
    padded[:, :outputs, :inputs] = weights
    split = padded.reshape(matrices, tiles, TILE, phases, together)
    return np.ascontiguousarray(split.transpose(0, 1, 3, 2, 4)).reshape(matrices, tiles, -1)


def make_workspace(matrices: Sequence[Matrix], rows: int) -> Workspace:
    """Room for products with any of these matrices."""
    # Inputs and outputs are filled up to whole steps and tiles.
    inputs = max(m.inputs for m in matrices) + PHASES * inputs_together("integers")
    outputs = max(m.outputs for m in matrices) + TILE
    return Workspace(
        integers=np.zeros((rows, inputs), np.int16),
        floats=np.zeros((rows, inputs), np.float32),
        scale=np.ones(rows, np.float32),
        sums=np.zeros((rows, outputs), np.float32),
    )


def _make_products(kind: Kind) -> Callable[..., None]:
    """A loop over all tiles of a matrix, and in it over all rows, so that a tile is fetched once."""
    one, two, four = (make_simd_product(kind, rows) for rows in (1, 2, ROWS_AT_ONCE))
    bytes_of_step = step_bytes(kind)

    @inlined
    def products(weights: Any, inputs: Any, rows: int, sums: Float32Array) -> None:
        stride, sum_stride, length = inputs.shape[1], sums.shape[1], weights.shape[1]
        steps = length // bytes_of_step
        for t in range(len(weights)):
            first, r = t * length, 0
            while r < rows:
                start, column = r * stride, r * sum_stride + t * TILE
                if rows - r >= ROWS_AT_ONCE:
                    four(weights, first, inputs, start, stride, sums, column, sum_stride, steps)
                    r += ROWS_AT_ONCE
                elif rows - r >= 2:
                    two(weights, first, inputs, start, stride, sums, column, sum_stride, steps)
                    r += 2
                else:
                    one(weights, first, inputs, start, stride, sums, column, sum_stride, steps)
                    r += 1

    return products


_integer_products, _half_products, _float_products = map(_make_products, KINDS)


@kernel
def round_row(x: Float32Array, largest: float, out: NDArray[np.int16]) -> Any:
    """Round a row to integers no larger than ``largest``; returns what one of them is worth.

    Shape: x, out ``[inputs]``.
    """
    # Positive numbers are ordered as their bits are, and the largest integer is found several at a time.
    bits, highest = x.view(np.int32), np.int32(0)
    for k in range(len(x)):
        highest = max(highest, np.int32(bits[k] & _ALL_BUT_SIGN))
    amplitude = max(number_of_bits(highest), _SMALLEST_AMPLITUDE)
    factor = np.float32(largest) / amplitude
    for k in range(len(x)):
        out[k] = np.int16(np.int32(x[k] * factor + WHOLE_NUMBERS - WHOLE_NUMBERS))
    return np.float32(amplitude / np.float32(largest))


@outlined_kernel
def multiply(matrix: Matrix, which: int, x: Float32Array, rows: int, work: Workspace, out: Float32Array) -> None:
    """Rows times one of the matrices, plus its bias.

    Shape: x ``[at least rows, inputs]`` -> out ``[at least rows, outputs]``.
    """
    inputs = matrix.inputs
    if matrix.kind == _INTEGERS:
        for r in range(rows):
            work.scale[r] = round_row(x[r], matrix.largest_input, work.integers[r])
        _integer_products(matrix.weights[which], work.integers, rows, work.sums)
    else:
        for r in range(rows):
            work.scale[r] = np.float32(1)
            row, padded = x[r], work.floats[r]
            for k in range(inputs):
                padded[k] = row[k]
            # Weights beyond the last input are zero, but what was left there may be no number.
            for k in range(inputs, min(inputs + PHASES, len(padded))):
                padded[k] = np.float32(0)
        if matrix.kind == _HALVES:
            _half_products(matrix.weights[which], work.floats, rows, work.sums)
        else:
            _float_products(matrix.weights[which], work.floats, rows, work.sums)
    scale, bias = matrix.scale[which], matrix.bias[which]
    for r in range(rows):
        worth, sums, row = work.scale[r], work.sums[r], out[r]
        for k in range(matrix.outputs):
            row[k] = sums[k] * (worth * scale[k]) + bias[k]
