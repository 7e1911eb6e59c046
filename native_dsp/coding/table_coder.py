"""Rows of whole numbers by fixed integer tables, one a row, with an escape for what a table has no place for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding.range_coder import (
    decode_bits,
    decode_symbol,
    decoder_init,
    encode_bits,
    encode_symbol,
    encoder_finish,
    encoder_init,
    make_state,
)
from native_dsp.jit import kernel

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
ByteArray = NDArray[np.uint8]

TABLE_BITS = 15
_LENGTH_BITS = 5


def cumulative_frequencies(probability: NDArray[np.float64], bits: int) -> Int32Array:
    """Cumulative integer frequencies with a total of ``2**bits``, at least one for every symbol.

    Shape: ``[symbols]``, need not sum to 1 -> ``[symbols + 1]``.
    """
    total = 1 << bits
    spare = total - probability.size
    frequency = 1 + np.floor(probability / probability.sum() * spare).astype(np.int64)
    frequency[np.argmax(frequency)] += total - frequency.sum()
    return np.concatenate([[0], np.cumsum(frequency)]).astype(np.int32)


class RowTables(NamedTuple):
    """One table a row; row ``r`` has the symbols ``lowest[r]``, ``lowest[r] + 1``, ... and last the escape.

    Shape: cumulative ``[all rows' symbols + 1 each]``; start ``[rows + 1]`` into it; lowest ``[rows]``.
    """

    cumulative: Int32Array
    start: Int32Array
    lowest: Int32Array


@kernel
def _write(values: Int32Array, tables: RowTables, state: Int64Array, buffer: ByteArray) -> int:
    encoder_init(state)
    for row in range(values.shape[0]):
        table = tables.cumulative[tables.start[row] : tables.start[row + 1]]
        escape = len(table) - 2
        for column in range(values.shape[1]):
            symbol = np.int64(values[row, column]) - np.int64(tables.lowest[row])
            if 0 <= symbol < escape:
                encode_symbol(state, buffer, table, symbol, TABLE_BITS)
                continue
            encode_symbol(state, buffer, table, escape, TABLE_BITS)
            # Distances outside the table, on either side, as one number above 0.
            outside = 2 * (symbol - escape) + 2 if symbol >= 0 else -2 * symbol - 1
            length = 0
            while outside >> length > 1:
                length += 1
            encode_bits(state, buffer, length, _LENGTH_BITS + 1)
            encode_bits(state, buffer, outside & ((np.int64(1) << length) - 1), length)
    size: int = encoder_finish(state, buffer)
    return size


@kernel
def _read(values: Int32Array, tables: RowTables, state: Int64Array, buffer: ByteArray) -> None:
    decoder_init(state, buffer, len(buffer))
    for row in range(values.shape[0]):
        table = tables.cumulative[tables.start[row] : tables.start[row + 1]]
        escape = len(table) - 2
        for column in range(values.shape[1]):
            symbol = np.int64(decode_symbol(state, buffer, table, TABLE_BITS))
            if symbol == escape:
                length = decode_bits(state, buffer, _LENGTH_BITS + 1)
                outside = (np.int64(1) << length) | decode_bits(state, buffer, length)
                symbol = escape + (outside - 2) // 2 if outside % 2 == 0 else -((outside + 1) // 2)
            values[row, column] = symbol + np.int64(tables.lowest[row])


def write_rows(values: Int32Array, tables: RowTables) -> bytes:
    """Code whole numbers row by row.

    Shape: values ``[rows, columns]``.
    """
    buffer = np.zeros(64 + 12 * values.size, np.uint8)
    size = _write(np.ascontiguousarray(values, np.int32), tables, make_state(), buffer)
    return buffer[:size].tobytes()


def read_rows(coded: bytes, columns: int, tables: RowTables) -> Int32Array:
    """Inverse of :func:`write_rows`; any bytes at all give some numbers.

    Shape: output ``[rows, columns]``.
    """
    values = np.zeros((tables.lowest.size, columns), np.int32)
    buffer = np.frombuffer(coded, np.uint8).copy()
    _read(values, tables, make_state(), buffer)
    return values
