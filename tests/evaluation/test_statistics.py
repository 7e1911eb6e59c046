"""Intervals against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from streamcodec.evaluation.errors import EvaluationError
from streamcodec.evaluation.statistics import mean_interval, paired_difference

VALUES = [float(v) for v in np.random.default_rng(5).normal(3.0, 0.4, size=12)]


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_interval_equals_scipy(confidence: float) -> None:
    low, high = stats.t.interval(confidence, len(VALUES) - 1, loc=np.mean(VALUES), scale=stats.sem(VALUES))
    found = mean_interval(VALUES, confidence)
    assert (found.low, found.high, found.count) == (pytest.approx(low), pytest.approx(high), len(VALUES))


def test_paired_difference_equals_the_paired_t_test() -> None:
    other = [v + 0.1 * k for k, v in enumerate(VALUES)]
    expected = stats.ttest_rel(other, VALUES).confidence_interval(0.95)
    found = paired_difference(other, VALUES)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_values_that_are_not_finite_are_not_counted() -> None:
    assert mean_interval([1.0, math.nan, 3.0, math.inf]).count == 2
    assert mean_interval([1.0, math.nan, 3.0]).mean == 2.0


def test_too_few_values_have_no_interval() -> None:
    assert math.isnan(mean_interval([]).mean)
    one = mean_interval([2.0])
    assert one.mean == 2.0
    assert math.isnan(one.half_width)


def test_pairs_must_match() -> None:
    with pytest.raises(EvaluationError, match="one length, got 2 and 1"):
        paired_difference([1.0, 2.0], [1.0])
