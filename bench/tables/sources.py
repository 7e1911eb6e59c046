"""Figures of ``bench/results``, how they are written, and the tables by name."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.tables.research import Table

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results"

TABLES: dict[str, Callable[[], Table]] = {}


def table(function: Callable[[], Table]) -> Callable[[], Table]:
    """Offer a table under its function's name, with hyphens."""
    TABLES[function.__name__.replace("_", "-")] = function
    return function


@functools.cache
def results(name: str) -> Any:
    """Figures of one file below ``bench/results``."""
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def digest(name: str) -> str:
    """What a results file is known by."""
    return hashlib.sha256((RESULTS / name).read_bytes()).hexdigest()[:16]


def number(value: float | None, digits: int = 2) -> str:
    """A figure, or a dash where there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def with_interval(score: dict[str, float], digits: int = 2) -> str:
    """Mean and half of the 95 % interval."""
    return f"{score['mean']:.{digits}f} ± {score['half_width']:.{digits}f}"


def percent(share: float, digits: int = 1) -> str:
    """A share as per cent."""
    return f"{100 * share:.{digits}f} %"


def value_range(values: Sequence[float], digits: int = 0) -> str:
    """The least and the most, one figure where they are alike."""
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} to {high}"
