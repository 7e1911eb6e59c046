"""Means with intervals, and paired differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamcodec.evaluation.errors import EvaluationError, require


@dataclass(frozen=True)
class Interval:
    """Mean of ``count`` values and half the width of its confidence interval (NaN for fewer than two values)."""

    mean: float
    half_width: float
    count: int

    @property
    def low(self) -> float:
        """Lower end."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """Upper end."""
        return self.mean + self.half_width


def rounded(value: float, digits: int = 3) -> float | None:
    """For JSON, which has no NaN and no infinity."""
    return round(value, digits) if math.isfinite(value) else None


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean with Student's t interval; values that are not finite are left out and not counted.

    Clips of one speaker are not independent, so the interval is somewhat too narrow on such data.
    """
    finite = np.array([value for value in values if math.isfinite(value)], dtype=np.float64)
    if not len(finite):
        return Interval(math.nan, math.nan, 0)
    if len(finite) == 1:
        return Interval(float(finite[0]), math.nan, 1)
    quantile = float(require("scipy.stats", "Confidence intervals").t.ppf(0.5 + confidence / 2.0, len(finite) - 1))
    half_width = quantile * float(finite.std(ddof=1)) / math.sqrt(len(finite))
    return Interval(float(finite.mean()), half_width, len(finite))


def paired_difference(first: Sequence[float], second: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean of ``first - second`` over the same clips in the same order, with its t interval.

    Raises:
        EvaluationError: the two are not of one length.
    """
    if len(first) != len(second):
        raise EvaluationError(f"Paired values must be of one length, got {len(first)} and {len(second)}.")
    return mean_interval([a - b for a, b in zip(first, second, strict=True)], confidence)
