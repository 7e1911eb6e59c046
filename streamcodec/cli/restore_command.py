"""``streamcodec restore``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import IO

from streamcodec.cli.common import input_file, is_standard_output, output_file, print_json, progress_bar

HELP = (
    "give sound coded at a low rate, such as MP3 at 32 kbps, the treble back that it was robbed of",
    "streamcodec restore heard.mp3 restored.wav",
)

Sound = Path | IO[bytes]
Progress = Callable[[float], None]
Restored = tuple[int, dict[str, float | None], str]
"""Samples of a channel; figures, and the end of a sentence, that say what was done."""
Restore = Callable[[Sound, Sound, Progress], Restored]


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
    restore = _extension() if options.restorer is None else _network(options.restorer)
    source = input_file(options.input)
    with output_file(options.output, options.input) as target, progress_bar("restoring") as progress:
        samples, figures, said = restore(source, target, progress)
    if is_standard_output(options.output):
        return
    if options.json:
        print_json({"samples": samples, **figures})
    else:
        print(f"{options.output}: {samples} samples{said}")


def _extension() -> Restore:
    from streamcodec.research.bandwidth_extension import extend_file

    def restore(source: Sound, target: Sound, progress: Progress) -> Restored:
        samples, cutoff_hz = extend_file(source, target, progress)
        if cutoff_hz is None:
            said = " as they were: no codec has cut this sound off below 14 kHz" if samples else ""
        else:
            said = f", filled in above {cutoff_hz / 1000:.1f} kHz"
        return samples, {"cutoff_hz": cutoff_hz}, said

    return restore


def _network(folder: str) -> Restore:
    from streamcodec.research.restoration import Restorer, restore_file

    restorer = Restorer(folder)
    delay_ms = 1000.0 * restorer.delay_samples / restorer.sample_rate_hz

    def restore(source: Sound, target: Sound, progress: Progress) -> Restored:
        samples = restore_file(source, target, restorer, progress)
        return samples, {"delay_of_a_live_stage_ms": delay_ms}, f" (as a live stage it adds {delay_ms:g} ms)"

    return restore
