"""Rows by fixed tables: round trip with escapes on both sides, length near the entropy, foreign bytes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from native_dsp.coding.table_coder import TABLE_BITS, RowTables, cumulative_frequencies, read_rows, write_rows


def tables(rows: int) -> RowTables:
    """Seven symbols around -2 and the escape, in every row."""
    one = cumulative_frequencies(np.array([1.0, 3.0, 9.0, 20.0, 9.0, 3.0, 1.0, 0.1]), TABLE_BITS)
    start = np.arange(rows + 1, dtype=np.int32) * one.size
    return RowTables(np.tile(one, rows), start, np.full(rows, -5, np.int32))


def test_cumulative_frequencies_leave_every_symbol_a_place() -> None:
    cumulative = cumulative_frequencies(np.array([1e-12, 1.0, 0.0]), 10)
    assert cumulative[0] == 0
    assert cumulative[-1] == 1024
    assert np.diff(cumulative).min() >= 1


@settings(max_examples=60, deadline=None)
@given(arrays(np.int32, (3, 17), elements=st.integers(-(2**30), 2**30) | st.integers(-8, 4)))
def test_any_numbers_come_back(values: np.ndarray[tuple[int, int], np.dtype[np.int32]]) -> None:
    np.testing.assert_array_equal(read_rows(write_rows(values, tables(3)), 17, tables(3)), values)


def test_length_is_near_the_entropy() -> None:
    share = np.array([1.0, 3.0, 9.0, 20.0, 9.0, 3.0, 1.0])
    share /= share.sum()
    values = np.random.default_rng(0).choice(np.arange(-5, 2), size=(2, 4000), p=share).astype(np.int32)
    bits = -float(np.sum(share * np.log2(share))) * values.size
    assert 8 * len(write_rows(values, tables(2))) < 1.02 * bits


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=40))
def test_foreign_bytes_give_some_numbers(coded: bytes) -> None:
    assert read_rows(coded, 9, tables(2)).shape == (2, 9)
