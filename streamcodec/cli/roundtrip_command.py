"""``streamcodec roundtrip``."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamcodec.cli.common import (
    EXTRAS,
    add_coding_arguments,
    add_redundancy_argument,
    burst,
    coding_options,
    input_file,
    is_standard_output,
    milliseconds,
    output_file,
    print_json,
    share,
)
from streamcodec.cli.roundtrip_link import through_link
from streamcodec.errors import StreamcodecError, StreamcodecWarning
from streamcodec.extras import command_for

if TYPE_CHECKING:
    from streamcodec import StreamEncoder

HELP = (
    "send a sound file, or bundled speech, through the codec and a simulated lossy link",
    "streamcodec roundtrip talk.wav heard.wav --kbps 6 --loss 0.1 --burst 2",
)
FOLDER = Path("streamcodec-roundtrip")
ORIGINAL, DECODED = "original.wav", "decoded.wav"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("input", nargs="?", help="sound file, or - for standard input (default: bundled speech)")
    parser.add_argument(
        "output", nargs="?", help="sound file to write, or - for WAV on standard output (default: --folder)"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help="write original.wav, decoded.wav and a picture of both there, and print a table of costs (default, "
        f"without an output file: {FOLDER})",
    )
    add_coding_arguments(parser)
    parser.add_argument("--loss", type=share, default=0.0, help="share of packets lost (default 0)")
    parser.add_argument("--burst", type=burst, default=1.0, help="mean length of a loss, in packets (default 1)")
    parser.add_argument(
        "--jitter", type=milliseconds, default=0.0, metavar="MS", help="extra delay, 0 to MS (default 0)"
    )
    add_redundancy_argument(parser, "off")
    parser.add_argument("--seed", type=int, default=0, help="seed of the losses (default 0)")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")


def run(options: argparse.Namespace) -> None:
    """Do it and say what happened."""
    from streamcodec import StreamEncoder, Tier
    from streamcodec.codec.files.output_file import check_folder_to_fill, check_not_read
    from streamcodec.codec.files.sound_file import SoundReader
    from streamcodec.codec.files.sound_writer import check_target
    from streamcodec.codec.options import tier_of
    from streamcodec.net.loss_models import GilbertElliottConfig

    coding = coding_options(options)
    name = options.input or str(resources.files("streamcodec") / "demo_data" / "speech.flac")
    folder = options.folder or (FOLDER if options.output is None else None)
    GilbertElliottConfig(options.loss, options.burst)  # says at once what cannot be
    if options.output not in (None, "-"):
        check_not_read(options.output, name)
        check_target(options.output)
    if folder is not None:
        check_folder_to_fill(folder)
        for there in (folder / ORIGINAL, folder / DECODED):
            check_not_read(there, None if name == "-" else name)
            if options.output is not None and os.path.realpath(there) == os.path.realpath(options.output):
                raise StreamcodecError(f"{there} is written by --folder: name another output, or leave it out")
    with SoundReader(input_file(name), tier_of(options.tier)) as sound:
        if sound.tier is not Tier.NEURAL:
            coding |= {"channels": sound.channels, "bits_per_sample": sound.bits_per_sample}
        elif sound.channels > 1:
            warnings.warn(
                f"{sound.name} is mixed down from {sound.channels} channels to one, as in a call; the other tiers "
                "keep it as it is",
                StreamcodecWarning,
                stacklevel=1,
            )
        encoder = StreamEncoder(sound.sample_rate_hz, **coding)
        samples = sound.read()
    if options.redundancy == "off" and not options.jitter:
        heard, figures = through_link(samples, encoder, options)
    else:
        from streamcodec.cli.roundtrip_network import through_network

        heard, figures = through_network(samples, encoder, options)
    if options.output is not None:
        _write(options.output, heard, encoder, name)
    written = [] if folder is None else _fill(folder, samples, heard, encoder, name, figures["payload_bps"] / 1000)
    if options.output is not None and is_standard_output(options.output):
        return
    if options.json:
        print_json(figures)
        return
    if written:
        from streamcodec.cli.roundtrip_report import print_costs

        print_costs(figures)
    if options.output is not None:
        print(
            f"{options.output}: {figures['duration_s']:.2f} s at {figures['payload_bps'] / 1000:.2f} kbps, "
            f"{figures['packets']} packets, {figures['lost']} lost, {figures['recovered']} recovered, "
            f"{figures['concealed']} concealed, delay {figures['delay_ms']:g} ms"
        )
    if written:
        print(f"wrote {', '.join(map(str, written))}")


def _write(name: str, sound: NDArray[Any], encoder: StreamEncoder, source: str) -> None:
    from streamcodec.codec.files.sound_writer import SoundWriter

    settings = encoder.settings
    with (
        output_file(name, source) as target,
        SoundWriter(target, encoder.sample_rate_hz, settings.channels, settings.bits_per_sample, {}) as out,
    ):
        out.write(sound)


def _fill(
    folder: Path, samples: NDArray[Any], heard: NDArray[Any], encoder: StreamEncoder, source: str, kbps: float
) -> list[Path]:
    """Both sounds, and a picture of them where matplotlib is installed; returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    original = encoder.accept(samples)
    written = []
    for name, sound in ((ORIGINAL, original), (DECODED, heard)):
        _write(str(folder / name), sound, encoder, source)
        written.append(folder / name)
    if find_spec("matplotlib") is None:
        print(
            f"streamcodec: no picture without matplotlib: {command_for(EXTRAS['matplotlib'])}",
            file=sys.stderr,
        )
        return written
    from streamcodec.cli.roundtrip_report import draw_comparison

    picture = folder / "comparison.png"
    draw_comparison(
        _plain(original, encoder), _plain(heard, encoder), encoder.sample_rate_hz, f"{kbps:.1f} kbps", picture
    )
    return [*written, picture]


def _plain(sound: NDArray[Any], encoder: StreamEncoder) -> NDArray[np.float32]:
    """One channel, full scale 1."""
    full_scale = 1.0 if sound.dtype.kind == "f" else float(1 << (encoder.settings.bits_per_sample - 1))
    mono = sound if sound.ndim == 1 else sound.mean(axis=1)
    return np.asarray(mono / full_scale, np.float32)
