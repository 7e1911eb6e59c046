"""``streamcodec decode``."""

from __future__ import annotations

import argparse

from streamcodec.cli.common import input_file, output_file, print_json, progress_bar

HELP = ("decode a .sc file to a sound file", "streamcodec decode talk.sc talk.wav")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("input", help=".sc file, or - for standard input")
    parser.add_argument("output", help="sound file (.wav, .flac, .ogg), or - for WAV on standard output")
    parser.add_argument("--rate", type=int, default=None, help="samples per second (neural; default: as encoded)")
    parser.add_argument("--restorer", metavar="FOLDER", help="restorer to put behind the decoder (neural)")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")


def run(options: argparse.Namespace) -> None:
    """Decode, then say what came out."""
    from streamcodec import decode_file

    source = input_file(options.input)
    with output_file(options.output) as target, progress_bar("decoding") as progress:
        samples = decode_file(
            source, target, sample_rate_hz=options.rate, restorer=options.restorer, progress=progress
        )
    if options.output == "-":
        return
    if options.json:
        print_json({"samples": samples})
    else:
        print(f"{options.output}: {samples} samples")
