"""Distributions of times in a few numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PERCENTILES = {"p50_ms": 50.0, "p95_ms": 95.0, "p99_ms": 99.0, "p99_9_ms": 99.9, "max_ms": 100.0}


def summarise(times_ms: NDArray[np.float64]) -> dict[str, float]:
    """p50, p95, p99, p99.9 and maximum.

    Shape: ``[n]``, milliseconds; NaN for none.
    """
    return {name: round(float(np.percentile(times_ms, share)), 5) for name, share in PERCENTILES.items()}


def by_tenths(times_ms: NDArray[np.float64]) -> list[float]:
    """Median of each tenth of a run: flat where a frame's cost does not depend on how many came before."""
    return [round(float(np.median(part)), 5) for part in np.array_split(times_ms, 10)]
