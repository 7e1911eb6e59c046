"""Whole-number latents as bytes, by integer tables fitted after training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding.table_coder import TABLE_BITS, RowTables, cumulative_frequencies, read_rows, write_rows

Int32Array = NDArray[np.int32]

MAX_SYMBOLS = 2048
"""Whole numbers a table has room for, around the median; rarer ones are escaped."""
ESCAPE_COUNT = 0.5


class LatentCoder:
    """Range coder of one latent tensor, one table per row.

    A value's probability is its share in the latents of the training sound, smoothed by a little of its neighbours'.
    """

    def __init__(self, tables: RowTables) -> None:
        self.tables = tables

    @classmethod
    def fit(cls, examples: Sequence[Int32Array]) -> LatentCoder:
        """Learn the tables.

        Shape: each example ``[rows, positions]``.
        """
        seen = np.concatenate(list(examples), axis=1)
        parts, lowest = [], []
        for row in seen:
            low, high = int(row.min()), int(row.max())
            if high - low >= MAX_SYMBOLS:
                low = int(np.median(row)) - MAX_SYMBOLS // 2
                high = low + MAX_SYMBOLS - 1
            inside = row[(row >= low) & (row <= high)]
            counts = np.bincount(inside - low, minlength=high - low + 1).astype(np.float64)
            spread = np.convolve(counts, (0.05, 0.9, 0.05), mode="same") + 0.02
            parts.append(cumulative_frequencies(np.append(spread, ESCAPE_COUNT + row.size - inside.size), TABLE_BITS))
            lowest.append(low)
        start = np.concatenate([[0], np.cumsum([part.size for part in parts])]).astype(np.int32)
        return cls(RowTables(np.concatenate(parts), start, np.array(lowest, np.int32)))

    def encode(self, indices: Int32Array) -> bytes:
        """Bytes of one sound's latents; their number must travel beside them.

        Shape: ``[rows, positions]``.
        """
        return write_rows(indices, self.tables)

    def decode(self, coded: bytes, positions: int) -> Int32Array:
        """Inverse of :meth:`encode`.

        Shape: output ``[rows, positions]``.
        """
        return read_rows(coded, positions, self.tables)
