"""How fast a sender's clock runs away from ours: the slope of its fastest packets' transit times.

The floor of delay tells of clocks and of senders that cannot keep up, its ceiling of the network (Moon, Skelly and
Towsley, "Estimation and removal of clock skew from network delay measurements", 1999). Here the floor is a minimum
per half second, and the slope a median over neighbours, which a step of delay or a stall hardly moves.
"""

from __future__ import annotations

from collections import deque
from statistics import median

SLICE_MS = 500.0
SLICES = 9
FEWEST_SLICES = 5
STILL = 0.003
"""Slopes below this, in ms per ms, are noise, and slow enough for any window of delays to follow."""


class DriftEstimator:
    """Takes transit times, gives the part of them that is drift, as an offset that grows with time."""

    def __init__(self) -> None:
        self._floors: deque[tuple[float, float]] = deque(maxlen=SLICES)
        self._slice_starts_ms: float | None = None
        self._lowest: tuple[float, float] = (0.0, 0.0)
        self._slope = 0.0
        self._offset: tuple[float, float] = (0.0, 0.0)

    @property
    def slope(self) -> float:
        """Growth of transit time in ms per ms: 0.1 for a sender that is a tenth too slow, negative for a fast one."""
        return self._slope

    def offset_ms(self, now_ms: float) -> float:
        """What drift has added to transit times since the first packet, as far as it was noticed."""
        at_ms, offset_ms = self._offset
        return offset_ms + self._slope * (now_ms - at_ms)

    def observe(self, transit_ms: float, arrival_ms: float) -> None:
        """Take the transit time of a packet that came by itself."""
        start_ms = self._slice_starts_ms
        if start_ms is None:
            self._offset = (arrival_ms, 0.0)
        elif arrival_ms - start_ms < SLICE_MS:
            if transit_ms < self._lowest[1]:
                self._lowest = (arrival_ms, transit_ms)
            return
        else:
            self._floors.append(self._lowest)
            self._update(arrival_ms)
        self._slice_starts_ms = arrival_ms
        self._lowest = (arrival_ms, transit_ms)

    def _update(self, now_ms: float) -> None:
        self._offset = (now_ms, self.offset_ms(now_ms))
        if len(self._floors) < FEWEST_SLICES:
            return
        floors = list(self._floors)
        slopes = [
            (after[1] - before[1]) / (after[0] - before[0]) for before, after in zip(floors, floors[2:], strict=False)
        ]
        slope = median(slopes)
        self._slope = 0.0 if abs(slope) < STILL else min(max(slope, -0.5), 0.5)
