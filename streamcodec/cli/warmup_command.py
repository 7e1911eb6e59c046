"""``streamcodec warmup``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import streamcodec
from native_dsp import compile_news
from streamcodec.cli.common import print_json, progress_bar

if TYPE_CHECKING:
    from streamcodec.codec.options import TierName
    from streamcodec.runtime.backend import Backend

HELP = (
    "compile everything for this machine now, which else the first stream waits for",
    "streamcodec warmup",
)
TIERS: tuple[TierName, ...] = ("neural", "near-lossless", "lossless")
WAIT_S = 1.0
DEVICE_RATES_HZ = (8_000, 16_000, 24_000, 44_100, 48_000)
# Blocks of 128, 256 and 512 samples, for each of which near-lossless transforms are compiled.
WAVEFORM_RATES_HZ = (8_000, 16_000, 48_000)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--tier", choices=TIERS, help="only the streams of this tier (default: all)")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")


def run(options: argparse.Namespace) -> None:
    """Make every stream once; say how many kernels were compiled."""
    tiers = (options.tier,) if options.tier else TIERS
    with progress_bar("compiling") as progress:
        compiled = compile_side_by_side(tiers, progress) if len(tiers) > 1 and (os.cpu_count() or 1) > 1 else 0
        # What is left: all of it on a single core, and where two processes kept a kernel at the same moment.
        compiled += compile_here(tiers)
    if options.json:
        print_json({"compiled": compiled})
    elif compiled:
        print(f"{compiled} kernels compiled; streams start at once from now on")
    else:
        print("everything was compiled already")


def compile_side_by_side(tiers: tuple[TierName, ...], progress: Callable[[float], None]) -> int:
    """Compile with one process for each tier; returns for how many kernels that was told."""
    path = [str(Path(streamcodec.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}
    command = (sys.executable, "-P", "-m", "streamcodec", "warmup", "--json", "--tier")
    # What is wrong with the cache, this process says as well.
    processes = [
        subprocess.Popen([*command, tier], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for tier in tiers
    ]
    compiled = 0
    try:
        for k, process in enumerate(processes):
            told = _answer(process, partial(progress, k / len(processes)))
            if process.returncode == 0:
                compiled += int(json.loads(told)["compiled"])
            progress((k + 1) / len(processes))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return compiled


def _answer(process: subprocess.Popen[bytes], wait: Callable[[], None]) -> bytes:
    """What a process prints; ``wait`` is called now and then until it ends."""
    while True:
        try:
            return process.communicate(timeout=WAIT_S)[0]
        except subprocess.TimeoutExpired:
            wait()


def compile_here(tiers: tuple[TierName, ...]) -> int:
    """Compile in this process; returns how many kernels that took."""
    compiled: list[str] = []
    compile_news.listeners.append(compiled.append)
    try:
        for tier in tiers:
            for make in streams(tier):
                make()
    finally:
        compile_news.listeners.remove(compiled.append)
    return len(compiled)


def streams(tier: TierName) -> Iterator[Callable[[], object]]:
    """Makers of all kinds of streams of a tier, each of which compiles what it needs."""
    from streamcodec import StreamDecoder, StreamEncoder, StreamPool

    def both(rate_hz: int, channels: int = 1, backend: Backend = "auto") -> object:
        encoder = StreamEncoder(rate_hz, tier=tier, channels=channels, backend=backend)
        return encoder, StreamDecoder(rate_hz, tier=tier, channels=channels, backend=backend)

    if tier == "neural":
        for rate_hz in DEVICE_RATES_HZ:
            yield partial(both, rate_hz)
        yield partial(StreamPool, 2)
        yield partial(both, 24_000, backend="compiled")
        return
    for rate_hz in WAVEFORM_RATES_HZ:
        for channels in (1, 2):
            yield partial(both, rate_hz, channels)
