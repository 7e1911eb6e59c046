"""The codec beside its peers in one run, whole codecs and short-time transforms, taking turns; prints one table.

    python -m bench.peers --json bench/results/peers_cpu.json

Percentiles are of the wall time of single calls. The column before them is the time of the processor, which a busy
machine does not stretch as much, and what the comparison goes by.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from streamcodec.evaluation.latency import timed_codecs as codecs
from streamcodec.evaluation.latency import timed_transforms as transforms
from streamcodec.evaluation.latency.summary import summarise
from streamcodec.evaluation.latency.timed import PeerMissingError, TimedPeer
from streamcodec.models.shipped import DEFAULT_MODEL
from streamcodec.runtime.describe import describe_runtime

WARM_UP_CALLS = 3
HOP_MS = 10.0
COLUMNS = ("processor_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms")


def makers(model: str) -> dict[str, list[Callable[[], TimedPeer]]]:
    """Peers by kind; the first of a kind is what the others are compared with."""
    return {
        "encode and decode": [
            partial(codecs.streamcodec_alone, model),
            partial(codecs.streamcodec_alone, model, "compiled"),
            partial(codecs.streamcodec_pool, model),
            partial(codecs.opus, 5),
            partial(codecs.opus, 10),
            partial(codecs.encodec, 1000.0, 1),
            partial(codecs.encodec, 20.0, 3),
        ],
        "STFT and back": [transforms.own, transforms.fftw, transforms.scipy, transforms.torch_stft],
    }


def _made(make: Callable[[], TimedPeer]) -> TimedPeer | str:
    """A peer, or what is missing for it."""
    try:
        return make()
    except PeerMissingError as error:
        return str(error)


def measure(model: str, rounds: int) -> dict[str, Any]:
    """Every peer's figures, in milliseconds per 10 ms of sound, and what could not be measured."""
    made = [(kind, _made(make)) for kind, kinds in makers(model).items() for make in kinds]
    peers = [(kind, peer) for kind, peer in made if isinstance(peer, TimedPeer)]
    missing = [words for _, words in made if isinstance(words, str)]
    times_ms: list[list[float]] = [[] for _ in peers]
    processor_ms: list[list[float]] = [[] for _ in peers]
    for _, peer in peers:
        for _ in range(WARM_UP_CALLS):
            peer.step()
    for _ in range(rounds):
        for (_, peer), found, used_ms in zip(peers, times_ms, processor_ms, strict=True):
            used = time.process_time()
            for _ in range(peer.calls):
                began = time.perf_counter()
                peer.step()
                found.append(1000.0 * (time.perf_counter() - began) * HOP_MS / peer.sound_ms)
            used_ms.append(1000.0 * (time.process_time() - used) / peer.calls * HOP_MS / peer.sound_ms)
    rows = []
    first_ms: dict[str, float] = {}
    for (kind, peer), found, used_ms in zip(peers, times_ms, processor_ms, strict=True):
        processor = float(np.median(used_ms))
        figures = {"processor_ms": round(processor, 5), **summarise(np.array(found))}
        times = round(processor / first_ms.setdefault(kind, processor), 3)
        rows.append(
            {"kind": kind, "name": peer.name, "note": peer.note, "calls": len(found), **figures, "times_first": times}
        )
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "unit": "milliseconds of one core per 10 ms of sound",
        "runtime": describe_runtime(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "rows": rows,
        "missing": missing,
    }


def table(report: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        "| ms per 10 ms of sound, one thread | processor | p50 | p95 | p99 | max | against the first | what |",
        "|---|" + "---|" * 7,
    ]
    for row in report["rows"]:
        figures = " | ".join(f"{row[name]:.4f}" for name in COLUMNS)
        lines.append(f"| {row['kind']}: {row['name']} | {figures} | {row['times_first']:.2f} | {row['note']} |")
    return "\n".join([*lines, *(f"\nnot measured: {words}" for words in report["missing"])])


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--rounds", type=int, default=80)
    parser.add_argument("--json", type=Path, help="store the figures in this file")
    options = parser.parse_args()
    report = measure(options.model, options.rounds)
    print(table(report))
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
