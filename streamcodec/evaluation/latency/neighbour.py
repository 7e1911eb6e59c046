"""A neighbour that keeps a core, the caches and the memory bus busy while something is measured."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CAN_SHARE_A_CORE = hasattr(os, "sched_setaffinity")
_SYSTEM: Any = os
# Products that fit no cache, so that the neighbour takes bandwidth and not only time.
_SCRIPT = """
import os, sys
if len(sys.argv) > 1:
    os.sched_setaffinity(0, [int(sys.argv[1])])
import numpy
a = numpy.ones(8_000_000, numpy.float32)
b = numpy.ones(8_000_000, numpy.float32)
print("busy", flush=True)
while True:
    a += b
    b *= 0.5
"""


@contextmanager
def busy_neighbour(core: int | None = None) -> Iterator[None]:
    """Another process works without a pause while the block runs; on ``core``, or where the system puts it."""
    pinned = [] if core is None else [str(core)]
    with subprocess.Popen([sys.executable, "-c", _SCRIPT, *pinned], stdout=subprocess.PIPE, text=True) as neighbour:
        try:
            assert neighbour.stdout is not None
            neighbour.stdout.readline()
            yield
        finally:
            neighbour.kill()


@contextmanager
def on_one_core() -> Iterator[int]:
    """Keep the calling thread on one of its cores, the last, while the block runs; gives its number."""
    before = _SYSTEM.sched_getaffinity(0)
    core = max(before)
    _SYSTEM.sched_setaffinity(0, [core])
    try:
        yield core
    finally:
        _SYSTEM.sched_setaffinity(0, before)
