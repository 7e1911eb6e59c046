"""Quality under packet loss at equal wire rate.

    bench/build_opus.sh && export STREAMCODEC_LIBOPUS=build/opus/libopus.so
    python -m bench.loss dev/speech --clips 6 --seconds 6 --json loss.json --plot loss.png

Bursts of two packets on average (Gilbert-Elliott), seeded by clip and loss, the same for packets of one length.
streamcodec runs as in a call: given is the rate on the wire; packet length, payload and redundancy follow its
receiver's reports, the delay its jitter buffer (some 100 ms with redundancy). Opus is told the loss rate and has
DRED, deep concealment and NoLACE, several rates and packet lengths, and a receiver that waits up to 100 ms too. The
wire rate counts all of both: IPv4 20, UDP 8, RTP 12 and SRTP's tag of 10 bytes, and the bytes that frame our packets.

The plot shows, for each loss and score, all points over the wire rate and each codec's best at every rate.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from streamcodec.errors import StreamcodecError
from streamcodec.evaluation import METRICS, read_clips
from streamcodec.evaluation.errors import require
from streamcodec.evaluation.packet_loss.measure import (
    MEAN_BURST_PACKETS,
    SCORES,
    Row,
    Sample,
    Task,
    mean_row,
    measured,
)
from streamcodec.evaluation.packet_loss.systems import (
    DRED_MS,
    LONGEST_WAIT_MS,
    LossySystem,
    OpusSystem,
    OwnSystem,
    loaded,
)
from streamcodec.models.shipped import DEFAULT_MODEL

LOSSES = (0.0, 0.05, 0.1, 0.2, 0.4)
WIRE_KBPS = (12.0, 16.0, 20.0, 26.0, 32.0, 38.0, 44.0)
PACKETS_MS = (20, 40, 60)
OWN = "streamcodec"


def table(rows: Sequence[Row]) -> Table:
    """One line per system and loss rate."""
    names = list(rows[0].scores)
    out = Table(
        "system", "loss", "wire kbps", "payload", "carried", *(METRICS[name].title for name in names), "made up"
    )
    for row in rows:
        scores = [f"{row.scores[name].mean:.2f} ± {row.scores[name].half_width:.2f}" for name in names]
        rates = [f"{rate:.2f}" for rate in (row.wire_kbps, row.payload_kbps, row.carried_kbps)]
        out.add_row(row.system, f"{row.loss:.0%}", *rates, *scores, f"{row.made_up:.1%}")
    return out


def envelope(points: Sequence[tuple[float, float]], *, lower: bool = False) -> list[tuple[float, float]]:
    """The best that each rate buys: points that no cheaper one matches, by rate."""
    best: list[tuple[float, float]] = []
    for rate, score in sorted(points):
        if not best or (score < best[-1][1] if lower else score > best[-1][1]):
            best.append((rate, score))
    return best


def plot(rows: Sequence[dict[str, Any]], names: Sequence[str], path: Path) -> None:
    """A row of panels per score, one for each loss, the wire rate along; rows as of the report."""
    losses = list(dict.fromkeys(row["loss"] for row in rows))
    figure = require("matplotlib.figure", "Plotting").Figure(
        figsize=(3.0 * len(losses) + 1.0, 2.4 * len(names) + 0.8), layout="constrained"
    )
    panels = figure.subplots(len(names), len(losses), squeeze=False, sharex=True, sharey="row")
    for score, line in zip(names, panels, strict=True):
        for loss, panel in zip(losses, line, strict=True):
            for own, colour in ((True, "#c0392b"), (False, "#34495e")):
                points = [row for row in rows if row["loss"] == loss and row["system"].startswith(OWN) is own]
                places = [(row["wire_kbps"], row[score]["mean"]) for row in points if score in row]
                panel.plot(*zip(*places, strict=True), "o", color=colour, alpha=0.5, markersize=4)
                best = envelope(places, lower=METRICS[score].better == "low")
                label = OWN if own else "Opus: DRED, deep concealment, NoLACE"
                panel.plot(*zip(*best, strict=True), color=colour, linewidth=1.8, label=label)
            panel.grid(color="#dddddd", linewidth=0.6)
            if score == names[0]:
                panel.set_title(f"{loss:.0%} of packets lost", fontsize=9)
        line[0].set_ylabel(METRICS[score].title, fontsize=9)
    for panel in panels[-1]:
        panel.set_xlabel("kbps on the wire", fontsize=9)
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=120, facecolor="white")


def systems(options: argparse.Namespace) -> list[LossySystem]:
    """Everything that is compared."""
    own = [LossySystem(f"{OWN} {kbps:g} kbps", OwnSystem(kbps, options.model)) for kbps in options.wire_kbps]
    dred = loaded(options.libopus).has_deep_redundancy
    if not dred:
        print(
            f"bench.loss: {loaded(options.libopus).description}: Opus goes without DRED (see bench/build_opus.sh)",
            file=sys.stderr,
        )
    opus = [
        LossySystem(
            f"Opus {kbps:g} kbps, {packet_ms} ms{', in-band FEC' if fec else ''}",
            OpusSystem(options.libopus, kbps, packet_ms, dred, fec),
        )
        for packet_ms in options.packet_ms
        for kbps in options.opus_kbps
        for fec in ((False, True) if options.fec else (False,))
    ]
    return [*own, *opus]


def beside(rows: list[dict[str, Any]], path: Path | None) -> list[dict[str, Any]]:
    """Rows of now, and what an earlier report has beyond them: other systems and losses, other scores."""
    if path is None:
        return rows
    merged = {(row["system"], row["loss"]): row for row in json.loads(path.read_text())["rows"]}
    for row in rows:
        key = row["system"], row["loss"]
        # What streamcodec scored before it was changed says nothing of now.
        before = {} if row["system"].startswith(OWN) else merged.get(key, {})
        merged[key] = {**before, **row}
    return sorted(merged.values(), key=lambda row: (row["loss"], not row["system"].startswith(OWN)))


def by_system(
    tested: Sequence[tuple[LossySystem, float]], tasks: Sequence[Task], samples: Iterable[Sample]
) -> Iterator[tuple[tuple[LossySystem, float], list[Sample]]]:
    """The samples of each system at each loss, which follow one another."""
    coming = iter(samples)
    for system, loss in tested:
        yield (system, loss), [next(coming) for task in tasks if (task.system, task.loss) == (system, loss)]


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    options = argparse.ArgumentParser("python -m bench.loss", description="Quality under loss at equal wire rate.")
    options.add_argument("folder", type=Path, help="speech: wav, flac or ogg files, searched recursively")
    options.add_argument("--clips", type=int, help="at most this many clips")
    options.add_argument("--seconds", type=float, help="only so much of each clip")
    options.add_argument("--patterns", type=int, default=1, metavar="N", help="patterns of losses for each clip")
    options.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    options.add_argument(
        "--wire-kbps",
        type=float,
        nargs="*",
        default=WIRE_KBPS,
        metavar="KBPS",
        help="rates on the wire of streamcodec (none: only Opus)",
    )
    options.add_argument(
        "--opus-kbps",
        type=float,
        nargs="*",
        default=[6.0, 9.0, 12.0, 16.0, 24.0],
        metavar="KBPS",
        help="rates of Opus (none: only streamcodec)",
    )
    options.add_argument("--packet-ms", type=int, nargs="+", default=PACKETS_MS, metavar="MS", help="of Opus")
    options.add_argument("--losses", type=float, nargs="+", default=LOSSES, metavar="SHARE")
    options.add_argument("--scores", nargs="+", choices=SCORES, default=SCORES, help="default: all")
    options.add_argument("--fec", action="store_true", help="Opus with in-band FEC beside DRED as well")
    options.add_argument("--model", default=DEFAULT_MODEL, help="shipped model of streamcodec, or a model's folder")
    options.add_argument("--libopus", type=Path, help="a particular libopus (default: STREAMCODEC_LIBOPUS)")
    options.add_argument(
        "--beside", type=Path, metavar="JSON", help="an earlier report: what is not measured now is taken from there"
    )
    options.add_argument("--json", type=Path, help="write means and intervals here")
    options.add_argument("--plot", type=Path, help="write the plot (PNG) here")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 after a one-line error."""
    options = parser().parse_args(arguments)
    try:
        clips = read_clips(options.folder, ["speech"], options.clips)
        tested = [(system, loss) for system in systems(options) for loss in options.losses]
        scores = tuple(options.scores)
        drawn = [(clip, pattern) for clip in clips for pattern in range(options.patterns)]
        tasks = [
            Task(system, loss, clip, scores, options.seconds, pattern)
            for system, loss in tested
            # Without losses all patterns are one.
            for clip, pattern in (drawn if loss else drawn[:: options.patterns])
        ]
        shown = Console(stderr=True)
        made = track(measured(tasks, options.workers), "measuring", total=len(tasks), console=shown)
        rows = [mean_row(system, loss, each) for (system, loss), each in by_system(tested, tasks, made)]
        Console(width=None if sys.stdout.isatty() else 150).print(table(rows))
        report = beside([row.as_json() for row in rows], options.beside)
        if options.json:
            settings = {
                "clips": len(clips),
                "patterns": options.patterns,
                "seconds": options.seconds,
                "mean_burst_packets": MEAN_BURST_PACKETS,
                "longest_wait_ms": LONGEST_WAIT_MS,
                "opus": loaded(options.libopus).description,
                "dred_ms": DRED_MS,
                "names": [clip.name for clip in clips],
            }
            options.json.write_text(json.dumps({"settings": settings, "rows": report}, indent=1) + "\n")
        if options.plot:
            plot(report, scores, options.plot)
    except StreamcodecError as error:
        print(f"bench.loss: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
