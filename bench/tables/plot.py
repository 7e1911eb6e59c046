"""The README's plot."""

from __future__ import annotations

from bench.tables.quality import SPEECH
from bench.tables.sources import ROOT, digest, results

PLOT = ROOT / "docs" / "images" / "quality.svg"


def draw_quality() -> None:
    """PESQ-WB and ViSQOL over rate, this codec beside Opus, as one small SVG file."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "streamcodec", "svg.fonttype": "path", "font.size": 9.0})
    from matplotlib import pyplot as plt

    lines = {
        "streamcodec": ("streamcodec, 20 ms", "#d1495b", "o-"),
        "streamcodec 60 ms": ("streamcodec, 60 ms", "#d1495b", "o--"),
        "Opus": ("Opus", "#30638e", "s-"),
        "Opus WB+LACE": ("Opus + LACE", "#30638e", "s--"),
    }
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.0), layout="constrained")
    for axis, (metric, title) in zip(axes, (("pesq", "PESQ-WB"), ("visqol", "ViSQOL")), strict=True):
        for system, (label, colour, style) in lines.items():
            rows = [row for row in results(SPEECH)["summaries"] if row["system"] == system]
            points = sorted((row["payload_kbps"], row["scores"][metric]["mean"]) for row in rows)
            points = [point for point in points if point[0] < 13]
            axis.plot(*zip(*points, strict=True), style, color=colour, label=label, markersize=3.5, linewidth=1.2)
        axis.set(xlabel="payload kbps", title=title)
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(lines), frameon=False)
    PLOT.parent.mkdir(exist_ok=True)
    figure.savefig(PLOT, metadata={"Date": None, "Description": digest(SPEECH)}, facecolor="white")
    plt.close(figure)
