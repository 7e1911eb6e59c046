"""What the last half minute of hops cost, in memory that never grows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

HOP_MS = 10.0
BUDGET_MS = 1.0
"""What encoding and decoding 10 ms of sound may cost."""


@dataclass(frozen=True, slots=True)
class HopCost:
    """Milliseconds per 10 ms hop; ``max_ms`` since the start, the rest over the window."""

    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0


class CostWindow:
    """Remembers the last ``size`` costs."""

    def __init__(self, size: int = 3_000) -> None:
        self._costs_ms = np.zeros(size)
        self._count = 0
        self._max_ms = 0.0

    def add(self, cost_ms: float) -> None:
        """Take the cost of one more hop."""
        self._costs_ms[self._count % len(self._costs_ms)] = cost_ms
        self._count += 1
        self._max_ms = max(self._max_ms, cost_ms)

    def summary(self) -> HopCost:
        """Quantiles of the window; zeros before the first hop."""
        if self._count == 0:
            return HopCost()
        p50, p95, p99 = np.percentile(self._costs_ms[: self._count], (50, 95, 99))
        return HopCost(float(p50), float(p95), float(p99), self._max_ms)
