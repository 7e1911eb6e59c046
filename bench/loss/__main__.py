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
import math
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.loss.systems import OpusSystem, OwnSystem, System
from streamcodec.errors import StreamcodecError
from streamcodec.evaluation import METRICS, read_clips
from streamcodec.evaluation.alignment import AlignedPair
from streamcodec.evaluation.clips import Clip
from streamcodec.evaluation.errors import UnscorableError, require
from streamcodec.evaluation.libopus import load_libopus
from streamcodec.evaluation.statistics import Interval, mean_interval
from streamcodec.models.shipped import DEFAULT_MODEL
from streamcodec.net.loss_models import GilbertElliott, GilbertElliottConfig

SCORES = ("pesq", "plcmos")
LOSSES = (0.0, 0.05, 0.1, 0.2)
MEAN_BURST_PACKETS = 2.0
DELAY_MS = 60.0


@dataclass(frozen=True)
class Row:
    """One system at one loss rate, over all clips."""

    system: str
    loss: float
    scores: dict[str, Interval]
    payload_kbps: float
    carried_kbps: float
    wire_kbps: float
    made_up: float
    """Share of packet durations for which nothing was there."""

    def as_json(self) -> dict[str, Any]:
        """Numbers for a report."""
        return {
            "system": self.system,
            "loss": self.loss,
            "payload_kbps": round(self.payload_kbps, 3),
            "carried_kbps": round(self.carried_kbps, 3),
            "wire_kbps": round(self.wire_kbps, 2),
            "made_up": round(self.made_up, 4),
            **{
                name: {"mean": round(score.mean, 3), "half_width": _number(score.half_width), "clips": score.count}
                for name, score in self.scores.items()
            },
        }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)


def _score(name: str, pair: AlignedPair) -> float:
    try:
        return METRICS[name].score(pair)
    except UnscorableError:
        return math.nan


def measure(system: System, clips: Sequence[Clip], loss: float) -> Row:
    """Every clip through one system; the losses depend on clip and rate alone."""
    values: dict[str, list[float]] = {name: [] for name in SCORES}
    seconds = 0.0
    payload_bytes = carried_bytes = wire_bytes = packets = made_up = 0
    for clip in clips:
        samples, rate_hz = clip.read()
        losses = GilbertElliott(GilbertElliottConfig(loss, MEAN_BURST_PACKETS), zlib.crc32(clip.name.encode()))
        heard = system.transmit(samples, rate_hz, losses, loss)
        pair = AlignedPair(samples, rate_hz, heard.samples, heard.sample_rate_hz)
        for name in SCORES:
            values[name].append(_score(name, pair))
        seconds += len(samples) / rate_hz
        payload_bytes += heard.payload_bytes
        carried_bytes += heard.carried_bytes
        wire_bytes += heard.wire_bytes
        packets += heard.packets
        made_up += heard.made_up
    kbps = 0.008 / seconds
    return Row(
        system.name,
        loss,
        {name: mean_interval(scores) for name, scores in values.items()},
        kbps * payload_bytes,
        kbps * carried_bytes,
        kbps * wire_bytes,
        made_up / packets,
    )


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
                yerr=[_number(row.scores[score].half_width) or 0.0 for row in points],
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
        "redundancy": (options.copies, False),
        "both": (options.copies, True),
    }
    own = [
        System(f"streamcodec, {way}", OwnSystem(options.kbps, copies, concealment, DELAY_MS, options.model))
        for way, (copies, concealment) in ways.items()
    ]
    library = load_libopus(options.libopus)
    opus = [
        System(f"Opus {kbps:g} kbps{', in-band FEC' if fec else ''}", OpusSystem(library, kbps, fec))
        for kbps in options.opus_kbps
        for fec in (False, True)
    ]
    return [*own, *opus]


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    options = argparse.ArgumentParser("python -m bench.loss", description="Quality against packet loss.")
    options.add_argument("folder", type=Path, help="speech: wav, flac or ogg files, searched recursively")
    options.add_argument("--clips", type=int, help="at most this many clips")
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
        shown = Console(stderr=True)
        rows = [measure(system, clips, loss) for system, loss in track(tested, "measuring", console=shown)]
        Console(width=None if sys.stdout.isatty() else 140).print(table(rows))
        if options.json:
            settings = {
                "clips": len(clips),
                "mean_burst_packets": MEAN_BURST_PACKETS,
                "extra_delay_ms": DELAY_MS,
                "copies": options.copies,
                "kbps": options.kbps,
                "opus": load_libopus(options.libopus).description,
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
