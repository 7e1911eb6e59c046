"""The rate-quality plot: one panel per metric, kbps along, one line per system."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path

from streamcodec.codec.files.output_file import save_figure
from streamcodec.evaluation.errors import EvaluationError, require
from streamcodec.evaluation.metrics import METRICS
from streamcodec.evaluation.report import Report

PANEL_INCHES = (4.2, 3.1)
COLUMNS = 3
PEER_COLOURS = ("#4c6a92", "#8a6d3b", "#5b8c5a", "#8c5b87", "#6b7280", "#2f7f86")
OWN_COLOURS = ("#c8102e", "#e8743b", "#7a0019")
PEER_MARKERS = "s^DvPX"


def plot_rate_quality(report: Report, path: Path | str, kind: str = "speech", own: Collection[str] = ()) -> None:
    """Write a PNG: mean and 95 % interval of each metric over real payload kbps.

    Args:
        report: what to plot.
        path: file to write.
        kind: kind of sound; others in the report are left out.
        own: systems under test, drawn in bold; the rest are drawn as thin lines behind them. By default those whose
            name starts with ``streamcodec``.

    Raises:
        EvaluationError: the report holds no clip of that kind, or no metric for it.
        MissingPackageError: matplotlib is not installed.
    """
    summaries = report.summaries(kind)
    names = [name for name in report.metrics if kind in METRICS[name].kinds]
    if not summaries or not names:
        raise EvaluationError(f"Nothing to plot: the report holds no scores of kind {kind!r}.")
    figure_type = require("matplotlib.figure", "Plotting").Figure
    columns = min(COLUMNS, len(names))
    lines = math.ceil(len(names) / columns)
    figure = figure_type(figsize=(PANEL_INCHES[0] * columns, PANEL_INCHES[1] * lines + 0.7), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    systems = list(dict.fromkeys(summary.system for summary in summaries))
    tested = [name for name in systems if name in own or (not own and name.startswith("streamcodec"))]
    peers = [name for name in systems if name not in tested]
    handles = {}
    for panel, name in zip(panels, names, strict=False):
        metric = METRICS[name]
        for system in (*peers, *tested):
            points = [s for s in summaries if s.system == system and s.scores[name].count]
            points.sort(key=lambda summary: summary.payload_kbps)
            if system in tested:
                index = tested.index(system)
                style = {"color": OWN_COLOURS[index % len(OWN_COLOURS)], "linewidth": 2.4, "marker": "o", "zorder": 3}
            else:
                index = peers.index(system)
                style = {
                    "color": PEER_COLOURS[index % len(PEER_COLOURS)],
                    "linewidth": 1.2,
                    "marker": PEER_MARKERS[index % len(PEER_MARKERS)],
                    "zorder": 2,
                }
            handles[system] = panel.errorbar(
                [point.payload_kbps for point in points],
                [point.scores[name].mean for point in points],
                yerr=[_bar(point.scores[name].half_width) for point in points],
                markersize=4.5,
                capsize=2.5,
                elinewidth=1.0,
                label=system,
                **style,
            )
        better = "higher is better" if metric.better == "high" else "lower is better"
        panel.set_title(f"{metric.title} ({better})", fontsize=10, color="#222222")
        panel.set_xlabel("payload, kbps", fontsize=9)
        panel.set_xlim(left=0)
        panel.grid(color="#dddddd", linewidth=0.6)
        panel.tick_params(labelsize=8)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    clips = max(summary.clips for summary in summaries)
    figure.suptitle(f"Rate and quality, {clips} {kind} clips, mean and 95 % interval", fontsize=12, color="#222222")
    order = [*tested, *peers]
    figure.legend(
        [handles[name] for name in order],
        order,
        loc="outside lower center",
        ncols=min(len(order), 5),
        frameon=False,
        fontsize=9,
    )
    save_figure(figure, path, dpi=130, facecolor="white")


def _bar(half_width: float) -> float:
    """Length of an error bar; none where one clip gave no interval."""
    return 0.0 if math.isnan(half_width) else half_width
