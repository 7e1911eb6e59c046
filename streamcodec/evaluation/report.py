"""What an evaluation found: rows per clip, summaries per operating point, JSON and a table."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from streamcodec.codec.files.output_file import write_whole
from streamcodec.evaluation.errors import EvaluationError
from streamcodec.evaluation.metrics import METRICS
from streamcodec.evaluation.statistics import Interval, mean_interval, paired_difference

ARROWS = {"high": "↑", "low": "↓"}


@dataclass(frozen=True)
class Row:
    """One clip through one system at one nominal rate."""

    system: str
    nominal_kbps: float
    clip: str
    kind: str
    seconds: float
    payload_bytes: int
    packets: int
    wire_bytes: int
    scores: dict[str, float]
    """By metric name; NaN where ``failures`` says why."""
    failures: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """One system at one nominal rate over the clips of one kind."""

    system: str
    nominal_kbps: float
    kind: str
    clips: int
    payload_kbps: float
    """All payload bits over all seconds."""
    wire_kbps: float
    scores: dict[str, Interval]


@dataclass(frozen=True)
class Difference:
    """One operating point minus another, clip by clip; points are (system, nominal kbps)."""

    kind: str
    first: tuple[str, float]
    second: tuple[str, float]
    payload_kbps: tuple[float, float]
    scores: dict[str, Interval]


MOST_RATE_RATIO = 1.1
"""Operating points whose payload rates are further apart than this are not compared."""


@dataclass(frozen=True)
class Report:
    """Everything one call of :func:`streamcodec.evaluation.run.evaluate` measured."""

    rows: list[Row]
    metrics: list[str]
    systems: dict[str, str]
    """Description (version, settings) by name."""
    notes: list[str] = field(default_factory=list)
    """Metrics left out and clips that could not be scored, one sentence each."""
    unreadable: list[str] = field(default_factory=list)
    """Clips that could not be read, and so stand in no row, one sentence each."""

    def kinds(self) -> list[str]:
        """Kinds of sound that were evaluated, in order of appearance."""
        return list(dict.fromkeys(row.kind for row in self.rows))

    def summaries(self, kind: str) -> list[Summary]:
        """One summary per system and nominal rate, ordered by system, then by rate."""
        points = dict.fromkeys((row.system, row.nominal_kbps) for row in self.rows if row.kind == kind)
        order = list(self.systems)
        return [
            self._summary(kind, system, kbps)
            for system, kbps in sorted(points, key=lambda point: (order.index(point[0]), point[1]))
        ]

    def _select(self, kind: str, system: str, kbps: float) -> list[Row]:
        return [row for row in self.rows if (row.kind, row.system, row.nominal_kbps) == (kind, system, kbps)]

    def _summary(self, kind: str, system: str, kbps: float) -> Summary:
        rows = self._select(kind, system, kbps)
        seconds = sum(row.seconds for row in rows)
        names = [name for name in self.metrics if kind in METRICS[name].kinds]
        return Summary(
            system=system,
            nominal_kbps=kbps,
            kind=kind,
            clips=len(rows),
            payload_kbps=sum(row.payload_bytes for row in rows) * 8 / 1000 / seconds,
            wire_kbps=sum(row.wire_bytes for row in rows) * 8 / 1000 / seconds,
            scores={name: mean_interval([row.scores.get(name, math.nan) for row in rows]) for name in names},
        )

    def compare(self, metric: str, kind: str, first: tuple[str, float], second: tuple[str, float]) -> Interval:
        """Paired difference ``first - second`` of a metric over the same clips; points are (system, nominal kbps).

        Raises:
            EvaluationError: the two points were not run on the same clips.
        """
        # Sorted, not by name: rows of one name keep the order of their clips.
        a, b = (sorted(self._select(kind, *point), key=lambda row: row.clip) for point in (first, second))
        if not a or [row.clip for row in a] != [row.clip for row in b]:
            raise EvaluationError(f"{first} and {second} were not run on the same {kind} clips.")
        return paired_difference([row.scores[metric] for row in a], [row.scores[metric] for row in b])

    def differences(self, kind: str, against: str) -> list[Difference]:
        """Every other system's operating points minus that of ``against`` whose payload rate is nearest.

        Raises:
            EvaluationError: no such system.
        """
        if against not in self.systems:
            raise EvaluationError(f"There is no system {against!r} to compare with, only {', '.join(self.systems)}.")
        summaries = self.summaries(kind)
        marks = [summary for summary in summaries if summary.system == against]
        found = []
        for one in (summary for summary in summaries if summary.system != against):
            ratios = [abs(math.log(one.payload_kbps / mark.payload_kbps)) for mark in marks]
            nearest = marks[min(range(len(marks)), key=ratios.__getitem__)]
            if min(ratios) > math.log(MOST_RATE_RATIO):
                continue
            first, second = (one.system, one.nominal_kbps), (nearest.system, nearest.nominal_kbps)
            scores = {name: self.compare(name, kind, first, second) for name in one.scores}
            found.append(Difference(kind, first, second, (one.payload_kbps, nearest.payload_kbps), scores))
        return found

    def to_json(self, clips: bool = True, against: str | None = None) -> str:
        """JSON text; NaN becomes null.

        ``clips`` says whether the rows per clip go in beside the summaries, ``against`` to which system the
        :meth:`differences` do.
        """
        content: dict[str, Any] = {
            "systems": self.systems,
            "notes": self.notes,
            "summaries": [asdict(summary) for kind in self.kinds() for summary in self.summaries(kind)],
        }
        if against is not None:
            content["differences"] = [asdict(d) for kind in self.kinds() for d in self.differences(kind, against)]
        if clips:
            content["rows"] = [asdict(row) for row in self.rows]
        return json.dumps(_finite(content), indent=1, allow_nan=False) + "\n"

    def write_json(self, path: Path | str, clips: bool = True, against: str | None = None) -> None:
        """Write :meth:`to_json` to a file."""
        write_whole(path, self.to_json(clips, against))

    def difference_table(self, kind: str, against: str) -> Table:
        """Table for a terminal of :meth:`differences`."""
        table = Table(title=f"{kind}: difference to {against}, clip by clip, ± 95 % interval", title_justify="left")
        table.add_column("system", no_wrap=True)
        table.add_column("kbps", justify="right")
        table.add_column("against kbps", justify="right")
        names = [name for name in self.metrics if kind in METRICS[name].kinds]
        for name in names:
            table.add_column(f"{METRICS[name].title} {ARROWS[METRICS[name].better]}", justify="right", no_wrap=True)
        for found in self.differences(kind, against):
            rates = (f"{kbps:.2f}" for kbps in found.payload_kbps)
            table.add_row(found.first[0], *rates, *(format_interval(found.scores[n], n, sign="+") for n in names))
        return table

    def tables(self, kind: str, width: int) -> list[Table]:
        """:meth:`table`, the metrics spread over as many as it takes to fit so many columns of text."""
        console = Console(width=10_000)
        names = [name for name in self.metrics if kind in METRICS[name].kinds]
        groups: list[list[str]] = [[]]
        for name in names:
            if groups[-1] and console.measure(self.table(kind, [*groups[-1], name])).maximum > width:
                groups.append([])
            groups[-1].append(name)
        return [self.table(kind, group) for group in groups]

    def table(self, kind: str, metrics: Sequence[str] | None = None) -> Table:
        """Table for a terminal: one line per system and rate, mean and half interval per metric (by default all)."""
        summaries = self.summaries(kind)
        clips = max((summary.clips for summary in summaries), default=0)
        table = Table(title=f"{kind}: {clips} clips, mean ± 95 % interval", title_justify="left")
        table.add_column("system", overflow="fold")
        table.add_column("nominal", justify="right")
        table.add_column("kbps", justify="right")
        table.add_column("wire kbps", justify="right")
        names = [name for name in metrics or self.metrics if kind in METRICS[name].kinds]
        for name in names:
            metric = METRICS[name]
            table.add_column(f"{metric.title} {ARROWS[metric.better]}", justify="right", no_wrap=True)
        previous = ""
        for summary in summaries:
            if previous and summary.system != previous:
                table.add_section()
            previous = summary.system
            rates = (f"{summary.nominal_kbps:g}", f"{summary.payload_kbps:.2f}", f"{summary.wire_kbps:.1f}")
            table.add_row(summary.system, *rates, *(format_interval(summary.scores[n], n) for n in names))
        return table


def format_interval(interval: Interval, metric: str, sign: str = "") -> str:
    """``mean±half`` with the metric's decimals, ``-`` where there is no value; ``sign`` "+" shows that of gains."""
    decimals = METRICS[metric].decimals
    if not interval.count:
        return "-"
    if math.isnan(interval.half_width):
        return f"{interval.mean:{sign}.{decimals}f}"
    return f"{interval.mean:{sign}.{decimals}f}±{interval.half_width:.{decimals}f}"


def _finite(value: Any) -> Any:
    """The same structure with values that JSON cannot hold replaced by null, floats cut to 6 significant digits."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(each) for each in value]
    return value
