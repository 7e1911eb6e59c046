"""``streamcodec experiment``."""

from __future__ import annotations

import argparse
from pathlib import Path

from streamcodec.cli.common import need, print_json

HELP = (
    "train small versions of published codecs and compare them in real bits",
    "streamcodec experiment latent-size --data data --output runs/bench",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="experiments, or 'all'; a wrong name lists them")
    parser.add_argument("--data", type=Path, required=True, help="folder of sound, with train/ and dev/ or without")
    parser.add_argument("--output", type=Path, default=Path("streamcodec-experiments"), help="folder for the results")
    parser.add_argument("--full", action="store_true", help="hours on a GPU instead of minutes on a CPU")
    parser.add_argument("--steps", type=int, default=None, help="training steps of one run (default: the scale's)")
    parser.add_argument(
        "--epochs",
        type=int,
        default=None,
        help="of every network in place of steps; of one trained on one file at most: more later go on from there",
    )
    parser.add_argument(
        "--crop-s", type=float, default=None, help="seconds of a training crop (default: the scale's)"
    )
    parser.add_argument(
        "--rate-hz", type=int, default=None, help="sample rate, of experiments that take any (default: their own)"
    )
    parser.add_argument("--files", type=int, default=None, help="development files of each kind of sound at most")
    parser.add_argument("--seconds", type=float, default=None, help="seconds kept of each development file")
    parser.add_argument("--seed", type=int, default=1, help="seed of everything random (default 1)")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")


def run(options: argparse.Namespace) -> None:
    """Run the experiments; what an earlier, broken-off run of the same settings finished is not done again."""
    for module in ("torch", "soxr", "matplotlib", "scipy"):
        need(module)
    from rich.console import Console

    from streamcodec.codec.files.output_file import check_folder_to_fill
    from streamcodec.research.experiments.registry import select
    from streamcodec.research.experiments.runner import run_experiment, scale_named

    check_folder_to_fill(options.output)
    scale = scale_named(
        "full" if options.full else "default",
        options.steps,
        most_epochs=options.epochs,
        dev_files=options.files,
        dev_s=options.seconds,
        segment_s=options.crop_s,
        rate_hz=options.rate_hz,
    )
    console = Console(stderr=options.json)
    reports: dict[str, str] = {}
    for experiment in select(options.names):
        folder = run_experiment(experiment, options.data, options.output, scale, options.seed)
        reports[experiment.name] = str(folder / "report.html")
        console.print(f"{experiment.name}: open {folder / 'report.html'}", highlight=False)
    if options.json:
        print_json({"reports": reports})
