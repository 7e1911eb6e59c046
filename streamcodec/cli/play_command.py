"""``streamcodec play``."""

from __future__ import annotations

import argparse

from streamcodec.cli.common import add_file_model_argument, device, input_file, need

HELP = ("play a .sc file, or any sound file", "streamcodec play talk.sc")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("input", nargs="+", help="coded (.sc) or sound files, or - for standard input")
    parser.add_argument("--output-device", type=device, metavar="DEVICE", help="number, or a part of the name")
    add_file_model_argument(parser)


def run(options: argparse.Namespace) -> None:
    """Play them to their ends."""
    need("sounddevice")
    from streamcodec.live.player import play_file

    for name in options.input:
        source = input_file(name)
        seconds = play_file(source, options.output_device, model=options.model)
        print(f"{name}: {seconds:.2f} s")
