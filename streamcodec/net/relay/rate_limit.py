"""Token bucket: so many per second on average, so many at once."""

from __future__ import annotations


class RateLimit:
    """Allows ``per_second`` on average and ``burst`` at once, on the caller's clock in seconds."""

    __slots__ = ("_burst", "_last_s", "_left", "_per_second")

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._last_s: float | None = None

    def allow(self, now_s: float, cost: float = 1.0) -> bool:
        """Take ``cost`` from the bucket if it holds that much."""
        if self._last_s is not None:
            self._left = min(self._burst, self._left + (now_s - self._last_s) * self._per_second)
        self._last_s = now_s
        if self._left < cost:
            return False
        self._left -= cost
        return True
