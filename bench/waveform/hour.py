"""An hour of generated sound through the lossless tier, packet by packet: does all of it come back, in what memory?

Takes minutes, so no test runs it. Sound is made and forgotten ten seconds at a time; what went in and what came out
are compared as they pass.

Example::

    python -m bench.waveform.hour
    python -m bench.waveform.hour --minutes 5 --channels 2 --bits 24
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from streamcodec import StreamDecoder, StreamEncoder

PIECE_S = 10

Int32Array = NDArray[np.int32]


def pieces(count: int, rate_hz: int, channels: int, bits: int) -> Iterator[Int32Array]:
    """Ten seconds each, of tones under noise, full-scale noise, square waves, and near silence, in turns of a minute.

    Shape: ``[samples, channels]``.
    """
    top = (1 << (bits - 1)) - 1
    for number in range(count):
        rng = np.random.default_rng(number)
        t = np.arange(number * PIECE_S * rate_hz, (number + 1) * PIECE_S * rate_hz)[:, None]
        shape = (len(t), channels)
        hz = 110 * 2.0 ** (number % 7 / 3) * np.arange(1, channels + 1)
        tones = sum(np.sin(2 * np.pi * hz * k * t / rate_hz) / k for k in range(1, 6)) * 0.2 * (1 + np.cos(t / 9_000))
        match number % 6:
            case 3:
                yield rng.integers(-top - 1, top + 1, shape, np.int32)
            case 4:
                yield np.where(t // (20 + number % 50) % 2, top, -top - 1).astype(np.int32).repeat(channels, axis=1)
            case 5:
                yield rng.integers(-1, 2, shape, np.int32)
            case _:
                noise = rng.normal(0, 0.002, shape)
                yield np.rint((0.4 * tones + noise) * top).clip(-top - 1, top).astype(np.int32)


def peak_mib() -> float:
    """Largest resident size of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main() -> None:
    """Run, print, and exit with an error where a sample differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=int, default=44_100, help="sample rate in Hz")
    parser.add_argument("--channels", type=int, default=1, choices=(1, 2))
    parser.add_argument("--bits", type=int, default=16)
    arguments = parser.parse_args()
    rate_hz, channels, bits = arguments.rate, arguments.channels, arguments.bits
    count = max(round(arguments.minutes * 60 / PIECE_S), 1)

    encoder = StreamEncoder(rate_hz, tier="lossless", channels=channels, bits_per_sample=bits)
    decoder = StreamDecoder(rate_hz, tier="lossless", channels=channels, bits_per_sample=bits)
    waiting = np.zeros((0, channels), np.int32)
    differing = packet_bytes = samples = 0
    seconds = {"encode": 0.0, "decode": 0.0}
    after_first_mib = 0.0
    for number, piece in enumerate(track(pieces(count, rate_hz, channels, bits), "coding", count)):
        start = time.process_time()
        packets = encoder.push(piece)
        if number == count - 1:
            packets += encoder.flush()
        middle = time.process_time()
        coded = [packet.to_bytes() for packet in packets]
        heard = np.concatenate([decoder.push(data).reshape(-1, channels) for data in coded])
        end = time.process_time()
        seconds["encode"] += middle - start
        seconds["decode"] += end - middle
        samples += len(piece)
        packet_bytes += sum(map(len, coded))
        waiting = np.concatenate([waiting, piece])
        differing += int((heard != waiting[: len(heard)]).any(axis=1).sum())
        waiting = waiting[len(heard) :]
        after_first_mib = after_first_mib or peak_mib()

    duration_s = samples / rate_hz
    console = Console()
    console.print(f"{duration_s / 60:.1f} min, {channels} x {bits} bits at {rate_hz} Hz")
    console.print(f"{packet_bytes / (samples * channels * bits / 8):.3f} of the size of PCM, packet headers included")
    for name, spent in seconds.items():
        console.print(f"{name}: {duration_s / spent:.1f} x real time")
    console.print(f"peak memory: {peak_mib():.0f} MiB ({after_first_mib:.0f} MiB after the first {PIECE_S} s)")
    console.print(f"{differing} of {samples} moments differ, {len(waiting)} missing, {decoder.concealed} concealed")
    if differing or len(waiting) or decoder.concealed:
        sys.exit("not lossless")


if __name__ == "__main__":
    main()
