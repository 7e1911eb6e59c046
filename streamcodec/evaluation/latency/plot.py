"""Histogram of the cost per hop with the budget line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from streamcodec.codec.files.output_file import save_figure
from streamcodec.evaluation.latency.link import PacketTimes

BINS = 160


def plot_histogram(times: PacketTimes, report: dict[str, Any], path: Path) -> None:
    """Write a picture of encode, decode and total cost per 10 ms of sound, logarithmic both ways."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    budget_ms = report["budget"]["p99_ms"]
    series = (
        ("encode", times.encode_ms, "#0f766e"),
        ("decode", times.decode_ms, "#b45309"),
        ("encode + decode", times.total_ms, "#1e3a8a"),
    )
    low = 0.8 * min(float(values.min()) for _, values, _ in series)
    high = 1.2 * max(budget_ms, float(times.total_ms.max()))
    edges = np.geomspace(low, high, BINS).tolist()
    processor = report["runtime"]["processor"]
    figure, axis = pyplot.subplots(figsize=(9, 4.5), constrained_layout=True)
    for name, values, colour in series:
        middle, rare = np.percentile(values, (50, 99))
        label = f"{name}: p50 {middle:.3f} ms, p99 {rare:.3f} ms"
        axis.hist(values, bins=edges, histtype="stepfilled", alpha=0.45, color=colour, label=label)
    axis.axvline(budget_ms, color="#dc2626", linewidth=1.5, label=f"budget, p99: {budget_ms:g} ms")
    axis.set(
        xscale="log",
        yscale="log",
        xlim=(low, high),
        xlabel="milliseconds per 10 ms of sound, one core",
        ylabel="packets",
        title=f"{report['hops']:,} hops at {report['payload_bps'] / 1000:.1f} kbps on {processor}",
    )
    axis.legend()
    save_figure(figure, path, dpi=110)
    pyplot.close(figure)
