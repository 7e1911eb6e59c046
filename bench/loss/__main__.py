"""Quality against packet loss.

    python -m bench.loss dev/speech --clips 6 --json loss.json --plot loss.png

Bursts of two packets on average (Gilbert-Elliott), the same losses for every system; streamcodec's receiver plays 60
ms later than it has to, so that copies in later packets can stand in for lost ones. Its four ways: nothing (silence
for lost packets), concealment, redundancy (copies, silence where there is none), and both. Opus beside them at the
same payload, and at a rate near what payload and copies take together, which is also where its in-band redundancy
begins to work: below about 12 kbps (narrowband) or 16 (wideband) libopus puts none in.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.loss.measure import MEAN_BURST_PACKETS, SCORES, Row, mean_row, measured, number_or_none
from bench.loss.systems import OpusSystem, OwnSystem, System, loaded
from streamcodec.errors import StreamcodecError
from streamcodec.evaluation import METRICS, read_clips
from streamcodec.evaluation.errors import require
from streamcodec.models.shipped import DEFAULT_MODEL

LOSSES = (0.0, 0.05, 0.1, 0.2)
DELAY_MS = 60.0


def table(rows: Sequence[Row]) -> Table:
    """One line per system and loss rate."""
    out = Table("system", "loss", "PESQ-WB", "PLCMOS", "payload kbps", "with copies", "wire kbps", "made up")
    for row in rows:
        scores = [f"{row.scores[name].mean:.2f} ± {row.scores[name].half_width:.2f}" for name in SCORES]
        rates = [f"{rate:.2f}" for rate in (row.payload_kbps, row.carried_kbps, row.wire_kbps)]
        out.add_row(row.system, f"{row.loss:.0%}", *scores, *rates, f"{row.made_up:.1%}")
    return out


def plot(rows: Sequence[Row], path: Path) -> None:
    """One panel per score, loss along, one line per system."""
    figure = require("matplotlib.figure", "Plotting").Figure(figsize=(9.5, 4.4), layout="constrained")
    panels = figure.subplots(1, len(SCORES))
    names = list(dict.fromkeys(row.system for row in rows))
    for panel, score in zip(panels, SCORES, strict=True):
        for name in names:
            own = name.startswith("streamcodec")
            points = [row for row in rows if row.system == name]
            panel.errorbar(
                [100 * row.loss for row in points],
                [row.scores[score].mean for row in points],
                yerr=[number_or_none(row.scores[score].half_width) or 0.0 for row in points],
                label=name,
                linewidth=2.2 if own else 1.2,
                linestyle="-" if own else "--",
                marker="o" if own else "s",
                markersize=4,
                capsize=2,
            )
        panel.set_title(METRICS[score].title, fontsize=10)
        panel.set_xlabel(f"packets lost, % (bursts of {MEAN_BURST_PACKETS:g})", fontsize=9)
        panel.grid(color="#dddddd", linewidth=0.6)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8
    )
    figure.savefig(path, dpi=130, facecolor="white")


def systems(options: argparse.Namespace) -> list[System]:
    """Everything that is compared."""
    ways = {
        "nothing": (0, False),
        "concealment": (0, True),
        "redundancy": (options.redundancy, False),
        "both": (options.redundancy, True),
    }
    own = [
        System(f"streamcodec, {way}", OwnSystem(options.kbps, redundancy, concealment, DELAY_MS, options.model))
        for way, (redundancy, concealment) in ways.items()
    ]
    opus = [
        System(f"Opus {kbps:g} kbps{', in-band FEC' if fec else ''}", OpusSystem(options.libopus, kbps, fec))
        for kbps in options.opus_kbps
        for fec in (False, True)
    ]
    return [*own, *opus]


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    options = argparse.ArgumentParser("python -m bench.loss", description="Quality against packet loss.")
    options.add_argument("folder", type=Path, help="speech: wav, flac or ogg files, searched recursively")
    options.add_argument("--clips", type=int, help="at most this many clips")
    options.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    options.add_argument("--kbps", type=float, default=6.0, help="payload of streamcodec (default 6)")
    options.add_argument("--copies", type=int, default=3, help="redundant copies in each packet (default 3)")
    options.add_argument("--opus-kbps", type=float, nargs="+", default=[6.0, 20.0], metavar="KBPS")
    options.add_argument("--losses", type=float, nargs="+", default=LOSSES, metavar="SHARE")
    options.add_argument("--model", default=DEFAULT_MODEL, help="shipped model of streamcodec, or a model's folder")
    options.add_argument("--libopus", type=Path, help="a particular libopus, e.g. a build with neural concealment")
    options.add_argument("--json", type=Path, help="write means and intervals here")
    options.add_argument("--plot", type=Path, help="write the plot (PNG) here")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 after a one-line error."""
    options = parser().parse_args(arguments)
    try:
        clips = read_clips(options.folder, ["speech"], options.clips)
        tested = [(system, loss) for system in systems(options) for loss in options.losses]
        tasks = [(system, loss, clip) for system, loss in tested for clip in clips]
        shown = Console(stderr=True)
        made = track(measured(tasks, options.workers), "measuring", total=len(tasks), console=shown)
        samples = list(made)
        rows = [
            mean_row(system.name, loss, samples[index * len(clips) : (index + 1) * len(clips)])
            for index, (system, loss) in enumerate(tested)
        ]
        Console(width=None if sys.stdout.isatty() else 140).print(table(rows))
        if options.json:
            settings = {
                "clips": len(clips),
                "mean_burst_packets": MEAN_BURST_PACKETS,
                "extra_delay_ms": DELAY_MS,
                "copies": options.redundancy,
                "kbps": options.kbps,
                "opus": loaded(options.libopus).description,
            }
            report = {"settings": settings, "rows": [row.as_json() for row in rows]}
            options.json.write_text(json.dumps(report, indent=1) + "\n")
        if options.plot:
            plot(rows, options.plot)
    except StreamcodecError as error:
        print(f"bench.loss: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
