"""Kernels that go through a batch row by row, on as many threads as torch has."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def for_each_row(work: Callable[[int], None], rows: int) -> None:
    """Call ``work`` for every row; compiled kernels let go of the interpreter, so that rows run side by side."""
    threads = min(torch.get_num_threads(), rows)
    if threads <= 1:
        for row in range(rows):
            work(row)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(rows)))
