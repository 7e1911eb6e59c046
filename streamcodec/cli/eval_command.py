"""``streamcodec eval``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from streamcodec.cli.common import add_model_argument, need, positive
from streamcodec.errors import StreamcodecError

if TYPE_CHECKING:
    from streamcodec.evaluation.report import Report

HELP = (
    "measure quality against rate on a folder of sound, beside Opus",
    "streamcodec eval --data recordings --kbps 3 6 9 12 --output quality",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--data", type=Path, required=True, help="folder of .wav, .flac or .ogg files")
    parser.add_argument("--kbps", type=positive, nargs="+", default=[3.0, 6.0, 9.0, 12.0], help="rates of this codec")
    parser.add_argument("--opus", type=positive, nargs="*", default=[], help="rates of Opus to put beside it")
    parser.add_argument("--metrics", nargs="+", default=None, help="metrics by name (default: all installed)")
    parser.add_argument("--clips", type=int, default=None, help="use this many clips, spread evenly")
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--output", type=Path, default=Path("streamcodec-eval"), help="folder for JSON and plots")
    add_model_argument(parser)
    parser.add_argument("--json", action="store_true", help="print what quality.json holds, without tables and plots")


def run(options: argparse.Namespace) -> None:
    """Print one table per kind of sound, write ``quality.json`` and one rate-quality plot per kind."""
    need("soxr")
    from streamcodec.codec.files.output_file import check_folder_to_fill
    from streamcodec.evaluation import evaluate, read_clips
    from streamcodec.evaluation.own import streamcodec_systems

    if not options.data.is_dir():
        raise StreamcodecError(f"there is no folder {options.data}")
    check_folder_to_fill(options.output)
    clips = read_clips(options.data, limit=options.clips)
    systems = [*streamcodec_systems(tuple(options.kbps), options.model)]
    if options.opus:
        from streamcodec.evaluation.peers.opus import opus_systems

        systems += opus_systems(tuple(options.opus))
    report = evaluate(clips, systems, options.metrics, workers=options.workers, progress=True)
    options.output.mkdir(parents=True, exist_ok=True)
    report.write_json(options.output / "quality.json")
    if options.json:
        print(report.to_json(), end="")
    else:
        _show(report, options.output)
    if report.unreadable:
        raise StreamcodecError(f"{len(report.unreadable)} left out: {' '.join(report.unreadable)}")


def _show(report: Report, folder: Path) -> None:
    """Tables on the screen, a plot of each kind in the folder."""
    from rich.console import Console

    console = Console()
    for kind in report.kinds():
        for table in report.tables(kind, console.width):
            console.print(table)
    for note in report.notes:
        console.print(f"note: {note}", highlight=False)
    need("matplotlib")
    from streamcodec.evaluation.plot import plot_rate_quality

    for kind in report.kinds():
        plot_rate_quality(report, folder / f"quality-{kind}.png", kind)
    console.print(f"wrote quality.json and plots to {folder}")
