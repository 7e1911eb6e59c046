"""``streamcodec unpack``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from streamcodec.cli.common import add_file_model_argument, progress_bar
from streamcodec.cli.pack_command import add_engine_arguments, tell

HELP = ("decode a packed folder on all cores", "streamcodec unpack packed recordings --format flac")
FORMATS = ("wav", "flac", "ogg", "opus", "mp3")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("folder", type=Path, help="coded files (.sc) or tars of them, in folders as deep as you like")
    parser.add_argument(
        "output", type=Path, help="folder for sound files and manifest.jsonl; asked again, it goes on"
    )
    parser.add_argument("--format", choices=FORMATS, default="wav", help="of the sound files (default wav)")
    add_file_model_argument(parser)
    add_engine_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print figures as JSON")


def run(options: argparse.Namespace) -> None:
    """Unpack, then say what came of it."""
    from streamcodec.corpora.pack import unpack_folder

    began = time.monotonic()
    with progress_bar("unpacking") as progress:
        outcome = unpack_folder(
            options.folder,
            options.output,
            suffix=f".{options.format}",
            workers=options.workers,
            engine=options.engine,
            model=options.model,
            progress=progress,
        )
    tell(outcome, options.output, time.monotonic() - began, options.json)
