"""``streamcodec transcode``."""

from __future__ import annotations

import argparse

from streamcodec.cli.common import (
    add_file_coding_arguments,
    add_max_duration_argument,
    file_coding_options,
    input_file,
    is_standard_output,
    print_json,
    progress_bar,
)
from streamcodec.errors import StreamcodecError

HELP = (
    "turn a sound file or .sc file into another (.sc, .flac, .wav)",
    "streamcodec transcode talk.flac talk.sc --tier lossless",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("input", help="sound file or .sc file")
    parser.add_argument("output", help="file to write; the suffix says what: .sc, or a sound file's")
    add_file_coding_arguments(parser)
    parser.add_argument("--float", action="store_true", help="sound as 32-bit floating point, which nothing clips")
    parser.add_argument(
        "--source-model",
        metavar="MODEL",
        help="model name or folder of a .sc input made with one that is not shipped",
    )
    add_max_duration_argument(parser)
    parser.add_argument("--json", action="store_true", help="print figures as JSON")


def run(options: argparse.Namespace) -> None:
    """Do it, then say so."""
    from pathlib import Path

    from streamcodec import transcode_file
    from streamcodec.codec.files.transcode import check_not_told, is_coded_name

    if options.output == "-":
        raise StreamcodecError(
            "transcode goes by the suffix of the file it writes: name one, or write to standard output with "
            "'encode IN -' or 'decode IN -'"
        )
    source, target = input_file(options.input), Path(options.output)
    if options.tier != "neural" and not is_coded_name(target):
        check_not_told(target, {"tier": options.tier})
    with progress_bar("transcoding") as progress:
        transcode_file(
            source,
            target,
            source_model=options.source_model,
            max_duration_s=options.max_duration,
            floats=options.float,
            progress=progress,
            **file_coding_options(options),
        )
    if is_standard_output(options.output):
        return
    size = target.stat().st_size
    if options.json:
        print_json({"file_bytes": size})
    else:
        print(f"{options.output}: {size} bytes")
