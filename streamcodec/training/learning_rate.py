"""Learning-rate schedules, pure functions of step, progress and validation scores, so that they need no saving."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """The learning rate of a step.

    ``progress`` is the share of the run that is done; ``scores`` are the validation scores so far, lower is better.
    """

    def rate(self, step: int, progress: float, scores: Sequence[float]) -> float:
        """Learning rate of step ``step``."""


@dataclass(frozen=True)
class Constant:
    """One learning rate throughout."""

    value: float

    def rate(self, step: int, progress: float, scores: Sequence[float]) -> float:
        """The one rate."""
        return self.value


@dataclass(frozen=True)
class WarmupCosine:
    """Linear warm-up by steps, then a cosine down to ``final`` over the run's progress."""

    peak: float
    final: float
    warmup_steps: int

    def rate(self, step: int, progress: float, scores: Sequence[float]) -> float:
        """Learning rate of step ``step``."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / self.warmup_steps
        return self.final + (self.peak - self.final) * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


@dataclass(frozen=True)
class Plateau:
    """``start``, multiplied by ``factor`` whenever ``patience`` validations in a row brought no better score."""

    start: float
    factor: float = 0.2
    patience: int = 3
    least: float = 0.0

    def rate(self, step: int, progress: float, scores: Sequence[float]) -> float:
        """Learning rate of step ``step``."""
        best, waited, rate = math.inf, 0, self.start
        for score in scores:
            waited = 0 if score < best else waited + 1
            best = min(best, score)
            if waited == self.patience:
                rate, waited = rate * self.factor, 0
        return max(rate, self.least)


def validations_since_best(scores: Sequence[float]) -> int:
    """How many validations came after the best one; what patience for early stopping is compared with."""
    return len(scores) - 1 - min(range(len(scores)), key=scores.__getitem__) if scores else 0
