"""``streamcodec transcode``."""

from __future__ import annotations

import argparse

from streamcodec.cli.common import add_coding_arguments, coding_options, input_file, progress_bar

HELP = (
    "turn a sound file or .sc file into another (.sc, .flac, .wav)",
    "streamcodec transcode talk.flac talk.sc --tier lossless",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("input", help="sound file or .sc file")
    parser.add_argument("output", help="file to write; the suffix says what: .sc, or a sound file's")
    add_coding_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Do it, then say so."""
    from pathlib import Path

    from streamcodec import transcode_file

    source, target = input_file(options.input), Path(options.output)
    with progress_bar("transcoding") as progress:
        transcode_file(source, target, progress=progress, **coding_options(options))
    print(f"{target}: {target.stat().st_size} bytes")
