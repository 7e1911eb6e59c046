"""``streamcodec pack``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from streamcodec.cli.common import (
    add_backend_argument,
    add_file_coding_arguments,
    file_coding_options,
    print_json,
    progress_bar,
    whole,
)
from streamcodec.corpora.engines import ENGINES
from streamcodec.corpora.pack import SHARD_FILES, Outcome
from streamcodec.corpora.work import SHARD_FORMATS
from streamcodec.errors import StreamcodecError

HELP = ("encode a folder of sound files on all cores", "streamcodec pack recordings packed --kbps 6")
NAMED = 5
"""Failed files, and kinds of notes, that are named on the screen; the manifest has all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("folder", type=Path, help="sound files, in folders as deep as you like")
    parser.add_argument("output", type=Path, help="folder for .sc files and manifest.jsonl; asked again, it goes on")
    add_file_coding_arguments(parser)
    add_backend_argument(parser)
    add_engine_arguments(parser)
    parser.add_argument(
        "--shards", choices=SHARD_FORMATS, help="write tars for WebDataset or lhotse Shar in place of single files"
    )
    parser.add_argument(
        "--shard-files",
        type=whole,
        default=SHARD_FILES,
        metavar="N",
        help=f"files in a shard (default {SHARD_FILES})",
    )
    parser.add_argument("--json", action="store_true", help="print figures as JSON")


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """``--workers`` and ``--engine``."""
    parser.add_argument("--workers", type=whole, metavar="N", help="processes (default: one for each core)")
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="processes",
        help="processes of this machine, or a Ray cluster (RAY_ADDRESS) whose machines see both folders",
    )


def run(options: argparse.Namespace) -> None:
    """Pack, then say what came of it."""
    from streamcodec.corpora.pack import pack_folder

    began = time.monotonic()
    coding = {key: value for key, value in file_coding_options(options).items() if value not in (None, False)}
    if options.backend != "auto":
        coding["backend"] = options.backend
    with progress_bar("packing") as progress:
        outcome = pack_folder(
            options.folder,
            options.output,
            workers=options.workers,
            engine=options.engine,
            shards=options.shards,
            shard_files=options.shard_files,
            progress=progress,
            **coding,
        )
    tell(outcome, options.output, time.monotonic() - began, options.json)


def tell(outcome: Outcome, folder: Path, took_s: float, as_json: bool) -> None:
    """Figures on the screen; raises StreamcodecError, after all is done, where files failed."""
    figures = outcome.summary()
    if as_json:
        print_json({**figures, "took_s": round(took_s, 1)})
    else:
        before = f", {figures['done_before']} of them before" if figures["done_before"] else ""
        print(
            f"{folder}: {figures['files']} files{before}, {figures['hours']:.2f} hours, {figures['bytes']} bytes "
            f"({figures['bytes_per_hour']} an hour) in {took_s:.0f} s"
        )
    for note in told_notes(outcome):
        print(f"streamcodec: {note}", file=sys.stderr)
    if outcome.failed:
        named = "; ".join(f"{entry.source}: {entry.error}" for entry in outcome.failed[:NAMED])
        more = f"; {len(outcome.failed) - NAMED} more in manifest.jsonl" if len(outcome.failed) > NAMED else ""
        raise StreamcodecError(f"{len(outcome.failed)} left out: {named}{more}")


def told_notes(outcome: Outcome) -> list[str]:
    """A sentence for each kind of note, with one file as an example: of stereo recordings all have the same."""
    kinds: dict[str, list[str]] = {}
    for entry in outcome.noted:
        kinds.setdefault(entry.note, []).append(entry.source)
    most = sorted(kinds.items(), key=lambda kind: -len(kind[1]))
    told = []
    for note, sources in most[:NAMED]:
        alike = f" (and {len(sources) - 1} more)" if len(sources) > 1 else ""
        told.append(f"{sources[0]}{alike}: {note}")
    if len(most) > NAMED:
        told.append(f"{sum(len(sources) for _, sources in most[NAMED:])} more files with a note in manifest.jsonl")
    return told
