"""Dot products of 16-bit integers, and rows of arrays, inside compiled code."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from native_dsp.networks.flat import flat
from native_dsp.networks.integer_dot import dot_of_shorts


@numba.njit
def _dot(weights: NDArray[np.int16], values: Any) -> Any:
    return dot_of_shorts(weights, values)


@numba.njit
def _fill_as_row(array: NDArray[np.float32]) -> int:
    row = flat(array)
    for i in range(len(row)):
        row[i] = i
    return len(row)


@numba.njit
def _flat_columns(array: NDArray[np.float32]) -> int:
    return len(flat(array[:, 1:]))


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_dots_are_exact(kind: type[np.signedinteger[Any]]) -> None:
    rng = np.random.default_rng(3)
    for length in (0, 1, 7, 8, 9, 40, 288):
        weights = rng.integers(-(2**15), 2**15, length).astype(np.int16)
        values = rng.integers(-(2**12), 2**12, length).astype(kind)
        assert _dot(weights, values) == int(np.dot(weights.astype(np.int64), values.astype(np.int64)))
    extreme = np.full(64, -(2**15), np.int16)
    assert _dot(extreme, np.full(64, -(2**12), kind)) == 64 * 2**27


def test_a_row_shares_the_array_s_memory() -> None:
    array = np.zeros((3, 5), np.float32)
    assert _fill_as_row(array) == 15
    np.testing.assert_array_equal(array, np.arange(15, dtype=np.float32).reshape(3, 5))


def test_only_contiguous_arrays_are_rows() -> None:
    with pytest.raises(numba.TypingError, match="contiguous"):
        _flat_columns(np.zeros((3, 5), np.float32))
