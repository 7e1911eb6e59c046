"""``streamcodec decode``."""

from __future__ import annotations

import argparse

from streamcodec.cli.common import (
    add_file_model_argument,
    add_max_duration_argument,
    input_file,
    is_standard_output,
    output_file,
    print_json,
    progress_bar,
)

HELP = ("decode a .sc file to a sound file", "streamcodec decode talk.sc talk.wav")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("input", help="coded file (.sc), or - for standard input")
    parser.add_argument("output", help="sound file (.wav, .flac, .ogg), or - for WAV on standard output")
    parser.add_argument("--rate", type=int, default=None, help="samples per second (neural; default: as encoded)")
    parser.add_argument("--float", action="store_true", help="write 32-bit floating point, which nothing clips")
    parser.add_argument(
        "--no-post-filter",
        action="store_true",
        help="for sound that is coded again (neural): without the filters that are for the ear",
    )
    add_file_model_argument(parser)
    add_max_duration_argument(parser)
    parser.add_argument("--json", action="store_true", help="print figures as JSON")


def run(options: argparse.Namespace) -> None:
    """Decode, then say what came out."""
    from streamcodec import decode_file

    source = input_file(options.input)
    with output_file(options.output, options.input) as target, progress_bar("decoding") as progress:
        samples = decode_file(
            source,
            target,
            sample_rate_hz=options.rate,
            model=options.model,
            max_duration_s=options.max_duration,
            floats=options.float,
            post_filter=not options.no_post_filter,
            progress=progress,
        )
    if is_standard_output(options.output):
        return
    if options.json:
        print_json({"samples": samples})
    else:
        print(f"{options.output}: {samples} samples")
