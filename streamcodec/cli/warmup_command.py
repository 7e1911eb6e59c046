"""``streamcodec warmup``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial

from streamcodec.cli.common import print_json, progress_bar

HELP = (
    "compile everything for this machine now, which else the first stream waits for",
    "streamcodec warmup",
)
RATE_HZ = 48_000
DEVICE_RATES_HZ = (8_000, 16_000, 24_000, 44_100, 48_000)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--json", action="store_true", help="print figures as JSON")


def run(options: argparse.Namespace) -> None:
    """Make every stream once; say how many kernels were compiled, and where they are kept."""
    from native_dsp import compile_news

    compiled: list[str] = []
    compile_news.listeners.append(compiled.append)
    try:
        steps = list(streams())
        with progress_bar("compiling") as progress:
            for k, make in enumerate(steps):
                make()
                progress((k + 1) / len(steps))
    finally:
        compile_news.listeners.remove(compiled.append)
    if options.json:
        print_json({"compiled": len(compiled)})
    elif compiled:
        print(f"{len(compiled)} kernels compiled; streams start at once from now on")
    else:
        print("everything was compiled already")


def streams() -> Iterator[Callable[[], object]]:
    """Makers of all kinds of streams, each of which compiles what it needs."""
    from streamcodec import StreamDecoder, StreamEncoder, StreamPool
    from streamcodec.codec.options import TierName

    def both(rate_hz: int, tier: TierName = "neural", channels: int = 1) -> object:
        encoder = StreamEncoder(rate_hz, tier=tier, channels=channels)
        return encoder, StreamDecoder(rate_hz, tier=tier, channels=channels)

    for rate_hz in DEVICE_RATES_HZ:
        yield partial(both, rate_hz)
    yield partial(StreamPool, 2)
    tiers: tuple[TierName, ...] = ("near-lossless", "lossless")
    for tier in tiers:
        for channels in (1, 2):
            yield partial(both, RATE_HZ, tier, channels)
