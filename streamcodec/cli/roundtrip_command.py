"""``streamcodec roundtrip``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from streamcodec.cli.common import (
    add_coding_arguments,
    add_redundancy_argument,
    coding_options,
    input_file,
    milliseconds,
    output_file,
    positive,
    print_json,
    share,
)
from streamcodec.cli.roundtrip_link import through_link

if TYPE_CHECKING:
    pass

HELP = (
    "send a sound file through the codec and a simulated lossy link",
    "streamcodec roundtrip talk.wav heard.wav --kbps 6 --loss 0.1 --burst 2",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("input", help="sound file, or - for standard input")
    parser.add_argument("output", help="sound file to write, or - for WAV on standard output")
    add_coding_arguments(parser)
    parser.add_argument("--loss", type=share, default=0.0, help="share of packets lost (default 0)")
    parser.add_argument("--burst", type=positive, default=1.0, help="mean length of a loss, in packets (default 1)")
    parser.add_argument(
        "--jitter", type=milliseconds, default=0.0, metavar="MS", help="extra delay, 0 to MS (default 0)"
    )
    add_redundancy_argument(parser, "off")
    parser.add_argument("--seed", type=int, default=0, help="seed of the losses (default 0)")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")


def run(options: argparse.Namespace) -> None:
    """Do it and say what happened."""
    from streamcodec import StreamEncoder, Tier
    from streamcodec.codec.files.output_file import check_not_read
    from streamcodec.codec.files.sound_file import SoundReader, SoundWriter
    from streamcodec.codec.options import tier_of

    coding = coding_options(options)
    if options.output != "-":
        check_not_read(options.output, options.input)
    with SoundReader(input_file(options.input), tier_of(options.tier)) as sound:
        if sound.tier is not Tier.NEURAL:
            coding |= {"channels": sound.channels, "bits_per_sample": sound.bits_per_sample}
        encoder = StreamEncoder(sound.sample_rate_hz, **coding)
        samples = sound.read()
    if options.redundancy == "off" and not options.jitter:
        heard, figures = through_link(samples, encoder, options)
    else:
        from streamcodec.cli.roundtrip_network import through_network

        heard, figures = through_network(samples, encoder, options)
    settings = encoder.settings
    with (
        output_file(options.output, options.input) as target,
        SoundWriter(target, encoder.sample_rate_hz, settings.channels, settings.bits_per_sample, {}) as out,
    ):
        out.write(heard)
    if options.output == "-":
        return
    if options.json:
        print_json(figures)
    else:
        print(
            f"{options.output}: {figures['duration_s']:.2f} s at {figures['payload_bps'] / 1000:.2f} kbps, "
            f"{figures['packets']} packets, {figures['lost']} lost, {figures['recovered']} recovered, "
            f"{figures['concealed']} concealed, delay {figures['delay_ms']:g} ms"
        )
