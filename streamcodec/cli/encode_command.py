"""``streamcodec encode``."""

from __future__ import annotations

import argparse

from streamcodec.cli.common import (
    add_file_coding_arguments,
    file_coding_options,
    input_file,
    is_standard_output,
    output_file,
    print_json,
    progress_bar,
)

HELP = ("encode a sound file to a .sc file", "streamcodec encode talk.wav talk.sc --kbps 6")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("input", help="sound file (WAV, FLAC, Ogg, MP3), or - for standard input")
    parser.add_argument("output", help="coded file (.sc), or - for standard output")
    add_file_coding_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print figures as JSON")


def run(options: argparse.Namespace) -> None:
    """Encode, then say what came out."""
    from pathlib import Path

    from streamcodec import StreamcodecError, encode_file
    from streamcodec.cli.info_command import describe
    from streamcodec.codec.files.sound_file import SOUND_SUFFIXES

    suffix = Path(options.output).suffix
    if suffix.lower() in SOUND_SUFFIXES:
        raise StreamcodecError(
            f"cannot write {options.output}: encode writes a coded file and {suffix} is a sound file's suffix; use a "
            ".sc name"
        )
    figures = None
    source = input_file(options.input)
    with output_file(options.output, options.input) as target, progress_bar("encoding") as progress:
        encode_file(source, target, progress=progress, **file_coding_options(options))
        if not isinstance(target, Path) or target.is_file():
            figures = describe(target, options.model)
    if is_standard_output(options.output) or figures is None:
        return
    if options.json:
        print_json(figures)
    else:
        print(
            f"{options.output}: {figures['duration_s']:.2f} s, {figures['payload_bytes']} payload bytes, "
            f"{figures['payload_bps'] / 1000:.2f} kbps, {figures['file_bytes']} bytes in all, "
            f"ratio {figures['ratio']:g}"
        )
