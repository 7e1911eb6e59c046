"""``streamcodec restore``."""

from __future__ import annotations

import argparse

from streamcodec.cli.common import input_file, is_standard_output, output_file, print_json, progress_bar

HELP = (
    "give sound coded at a low rate, such as MP3 at 32 kbps, the treble back that it was robbed of",
    "streamcodec restore heard.mp3 restored.wav",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("input", help="sound file (.wav, .flac, .ogg, .mp3), or - for standard input")
    parser.add_argument("output", help="sound file (.wav, .flac, .ogg), or - for WAV on standard output")
    parser.add_argument(
        "--restorer",
        metavar="FOLDER",
        help="a network in its place, as 'streamcodec experiment restoration' writes it",
    )
    parser.add_argument("--json", action="store_true", help="print figures as JSON")


def run(options: argparse.Namespace) -> None:
    """Restore, then say what came out."""
    if options.restorer is not None:
        _run_network(options)
        return
    from streamcodec.research.bandwidth_extension import extend_file

    source = input_file(options.input)
    with output_file(options.output, options.input) as target, progress_bar("restoring") as progress:
        samples, cutoff_hz = extend_file(source, target, progress)
    if is_standard_output(options.output):
        return
    if options.json:
        print_json({"samples": samples, "cutoff_hz": cutoff_hz})
    elif cutoff_hz is None:
        print(f"{options.output}: {samples} samples as they were: no codec has cut this sound off below 14 kHz")
    else:
        print(f"{options.output}: {samples} samples, filled in above {cutoff_hz / 1000:.1f} kHz")


def _run_network(options: argparse.Namespace) -> None:
    from streamcodec.research.restoration import Restorer, restore_file

    restorer = Restorer(options.restorer)
    source = input_file(options.input)
    with output_file(options.output, options.input) as target, progress_bar("restoring") as progress:
        samples = restore_file(source, target, restorer, progress)
    if is_standard_output(options.output):
        return
    delay_ms = 1000.0 * restorer.delay_samples / restorer.sample_rate_hz
    if options.json:
        print_json({"samples": samples, "delay_of_a_live_stage_ms": delay_ms})
    else:
        print(f"{options.output}: {samples} samples (as a live stage it adds {delay_ms:g} ms)")
