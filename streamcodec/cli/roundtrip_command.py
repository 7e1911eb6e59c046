"""``streamcodec roundtrip``."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamcodec.cli.common import (
    add_coding_arguments,
    add_redundancy_argument,
    coding_options,
    input_file,
    milliseconds,
    output_file,
    percentiles,
    positive,
    print_json,
    progress_bar,
    share,
)

if TYPE_CHECKING:
    from streamcodec import StreamEncoder

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


def through_link(
    samples: NDArray[Any], encoder: StreamEncoder, options: argparse.Namespace
) -> tuple[NDArray[Any], dict[str, Any]]:
    """Encode, lose, decode; returns sound of the source's length, delay removed, and figures.

    Shape: ``[n, channels]`` -> ``[n]`` (neural) or ``[n, channels]``.
    """
    from streamcodec import StreamDecoder
    from streamcodec.net.loss_models import GilbertElliott, GilbertElliottConfig
    from streamcodec.net.session import HEADER_BYTES

    settings, rate_hz, block = encoder.settings, encoder.sample_rate_hz, encoder.block_samples
    decoder = StreamDecoder(
        rate_hz,
        tier=encoder.tier,
        channels=settings.channels,
        bits_per_sample=settings.bits_per_sample,
        model=settings.model,
    )
    loss = GilbertElliott(GilbertElliottConfig(options.loss, max(options.burst, 1.0)), options.seed)
    sound = encoder.accept(samples)
    # Compile and load everything before the clock starts, as a call does before audio starts.
    decoder.push(encoder.push(np.zeros((block, *sound.shape[1:]), sound.dtype))[0])
    encoder.reset()
    decoder.reset()
    encode_ms: list[float] = []
    decode_ms: list[float] = []
    heard = []
    payload_bytes = packet_bytes = packets = lost = 0
    lag = encoder.delay_samples + decoder.delay_samples
    needed = -(-(len(sound) + lag) // block) * block
    padded = np.concatenate([sound, np.zeros((needed - len(sound), *sound.shape[1:]), sound.dtype)])
    # Of a block's cost, the share of 10 ms in it, in ms.
    to_10_ms = 1000.0 * (rate_hz / 100.0) / block
    with progress_bar("round trip") as progress:
        for start in range(0, len(padded), block):
            began = time.perf_counter()
            sent = encoder.push(padded[start : start + block])
            between = time.perf_counter()
            arrived = None
            for packet in sent:
                data = packet.to_bytes()
                packets += 1
                payload_bytes += len(packet.payload)
                packet_bytes += len(data)
                arrived = data
                if loss.lost():
                    lost += 1
                    arrived = None
            before_decoding = time.perf_counter()
            heard.append(decoder.push(arrived))
            encode_ms.append(to_10_ms * (between - began))
            decode_ms.append(to_10_ms * (time.perf_counter() - before_decoding))
            progress(start / len(padded))
    counts = {
        "packets": packets,
        "lost": lost,
        "late": 0,
        "recovered": 0,
        "concealed": decoder.concealed,
        "payload_bytes": payload_bytes,
        "packet_bytes": packet_bytes,
        "wire_bytes": packet_bytes + HEADER_BYTES * packets,
        "delay_ms": round(1000.0 * (encoder.latency_samples + decoder.delay_samples) / rate_hz, 3),
    }
    figures = describe(samples, encoder, counts, encode_ms, decode_ms)
    return np.concatenate([decoder.silence(0), *heard])[lag : lag + len(sound)], figures


def describe(
    samples: NDArray[Any],
    encoder: StreamEncoder,
    counts: dict[str, Any],
    encode_ms: list[float],
    decode_ms: list[float],
) -> dict[str, Any]:
    """The figures printed: counts, rates and costs per 10 ms."""
    from streamcodec.codec.tiers import tier_name

    seconds = max(len(samples), 1) / encoder.sample_rate_hz
    both = [a + b for a, b in zip(encode_ms, decode_ms, strict=False)] or [0.0]
    return {
        "tier": tier_name(encoder.tier),
        "duration_s": round(len(samples) / encoder.sample_rate_hz, 6),
        "sample_rate_hz": encoder.sample_rate_hz,
        "channels": samples.shape[1],
        **counts,
        "payload_bps": round(8.0 * counts["payload_bytes"] / seconds, 1),
        "wire_kbps": round(0.008 * counts["wire_bytes"] / seconds, 3),
        "cost_per_10_ms": {
            "encode": percentiles(encode_ms or [0.0]),
            "decode": percentiles(decode_ms or [0.0]),
            "total": percentiles(both),
        },
    }


def run(options: argparse.Namespace) -> None:
    """Do it and say what happened."""
    from streamcodec import StreamEncoder, Tier
    from streamcodec.codec.files.sound_file import SoundReader, SoundWriter
    from streamcodec.codec.tiers import tier_of

    coding = coding_options(options)
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
        output_file(options.output) as target,
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
