"""What a stretch of work keeps and takes of Python's memory, over and over, since one stretch may be disturbed."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Stretch:
    """Growth of the traced memory over one stretch, at its end and at its highest."""

    kept_bytes: int
    peak_bytes: int


def traced_stretches(warm_up: Callable[[], object], stretch: Callable[[], object], count: int) -> Iterator[Stretch]:
    """Trace up to ``count`` stretches after a warm-up, each when it is asked for.

    Other threads are traced too, and now and then the interpreter fills its stores of free objects anew: what is kept
    on purpose is kept in every stretch.
    """
    tracemalloc.start()
    try:
        warm_up()
        for _ in range(count):
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            stretch()
            after, peak = tracemalloc.get_traced_memory()
            yield Stretch(after - before, peak - before)
    finally:
        tracemalloc.stop()
