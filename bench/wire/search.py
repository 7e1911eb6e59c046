"""What the ways to spend a rate on the wire are worth: packet length, copies, how much later they come, how large.

    python -m bench.wire.search dev/speech --names sw-ke it-it 7176 p363 --json bench/results/wire_search.json

The plans of ``streamcodec.net.wire_rate`` rest on a model of PESQ under loss. Here each of the ways that it chooses
among is held to through whole clips, with the sender, jitter buffer and losses of ``bench.loss`` (bursts of two
packets on average, reports without effect), and scored. The model's constants are fitted to the rows, clip by clip:
squares of disturbances by what was concealed, what was played from copies, and how coarse these were.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from streamcodec.codec.stream import StreamDecoder, StreamEncoder
from streamcodec.errors import StreamcodecError
from streamcodec.evaluation import METRICS, read_clips
from streamcodec.evaluation.alignment import AlignedPair
from streamcodec.evaluation.clips import Clip
from streamcodec.evaluation.packet_loss.measure import MEAN_BURST_PACKETS
from streamcodec.evaluation.packet_loss.systems import CountingLink
from streamcodec.evaluation.systems import SRTP_OVERHEAD_BYTES
from streamcodec.net.loss_models import GilbertElliott, GilbertElliottConfig
from streamcodec.net.lossy_link import LinkConfig
from streamcodec.net.redundancy import copies_share
from streamcodec.net.session import MediaSender
from streamcodec.net.simulate import simulate_stream
from streamcodec.net.wire_rate import (
    COPY_BYTES,
    DIRECT_HEADER_BYTES,
    FRAME_MS,
    LONGER_SAVES,
    clean_pesq,
    disturbance,
)

SCORES = ("pesq", "plcmos")
LOSSES = (0.05, 0.1, 0.2, 0.4)
WIRE_KBPS = (16.0, 22.0, 30.0, 38.0, 44.0)
LEAST_KBPS, MOST_KBPS = 2.2, 24.0
LEAST_PESQ = 1.02
"""Below it, nothing is told by how much."""
MEANS = ("payload_kbps", "sent_kbps", "made_up", "recovered", "playout_ms", "pesq", "plcmos")
SHARES = (0.5, 0.3, 0.15)
AGES: dict[int, tuple[tuple[int, ...], ...]] = {
    20: ((5,), (2, 5), (1, 3, 5), (1, 2, 3, 4, 5)),
    40: ((), (2,), (1, 2)),
    60: ((), (1,)),
    80: ((),),
    100: ((),),
}
"""Copies for which nobody waits longer than 100 ms, by packet length."""


@dataclass(frozen=True)
class Way:
    """One way to spend a rate."""

    wire_kbps: float
    packet_ms: int
    ages: tuple[int, ...]
    share: float

    @property
    def payload_kbps(self) -> float:
        """What is left for the packets themselves."""
        framing_kbps = 8.0 / self.packet_ms * (DIRECT_HEADER_BYTES + COPY_BYTES * len(self.ages))
        return min(MOST_KBPS, (self.wire_kbps - framing_kbps) / (1.0 + copies_share(self.share, len(self.ages))))


def ways(wire_kbps: float, loss: float) -> Iterator[Way]:
    """All that leave something to say and are not far off: much redundancy where little is lost, or the reverse."""
    for packet_ms, sets in AGES.items():
        for ages in sets:
            for share in SHARES if ages else (0.0,):
                way = Way(wire_kbps, packet_ms, ages, share)
                if way.payload_kbps >= LEAST_KBPS and not _far_off(way, loss):
                    yield way


def _far_off(way: Way, loss: float) -> bool:
    ages, share, high = way.ages, way.share, way.wire_kbps > 22.0
    if not ages:
        return (loss >= 0.1 and high) or (way.packet_ms > 60 and high)
    return (
        (len(ages) == 5 and (loss < 0.4 or share > 0.2))
        or (len(ages) == 3 and (loss < 0.2 or way.wire_kbps < 38.0 or share > 0.4))
        or (len(ages) == 2 and share > 0.4 and loss < 0.2)
    )


class FixedSender(MediaSender):
    """Sends one way from first to last, whatever reports say."""

    def __init__(self, encoder: StreamEncoder, way: Way) -> None:
        super().__init__(encoder, encoder.encode_redundant)
        encoder.set_packet_ms(way.packet_ms)
        encoder.set_bitrate(1_000.0 * way.payload_kbps)
        self._redundancy.ages = way.ages
        if way.ages:
            self._redundancy.share = way.share


@dataclass(frozen=True)
class Task:
    """One clip, one way, one pattern of losses."""

    way: Way
    loss: float
    clip: Clip
    pattern: int
    seconds: float

    @property
    def identity(self) -> tuple[Any, ...]:
        """Of its sample, too."""
        return identity({**asdict(self.way), "loss": self.loss, "clip": self.clip.name, "seed": self.pattern})


def identity(sample: dict[str, Any]) -> tuple[Any, ...]:
    """What tells a sample from all others."""
    way = sample["wire_kbps"], sample["packet_ms"], tuple(sample["ages"]), sample["share"]
    return (*way, sample["loss"], sample["clip"], sample["seed"])


def measure(task: Task) -> dict[str, Any]:
    """What one process does: a row of numbers."""
    samples, rate_hz = task.clip.read()
    samples = samples[: round(task.seconds * rate_hz)]
    seed = zlib.crc32(f"{task.clip.name} {task.pattern}".encode())
    losses = GilbertElliott(GilbertElliottConfig(task.loss, MEAN_BURST_PACKETS), seed)
    encoder = StreamEncoder(rate_hz)
    link = CountingLink(LinkConfig(), losses)
    sender = FixedSender(encoder, task.way)
    result = simulate_stream(samples, rate_hz, encoder, StreamDecoder(rate_hz), link, sender=sender)
    pair = AlignedPair(samples, rate_hz, result.samples, rate_hz)
    kbps = 0.008 * rate_hz / len(samples)
    jitter = result.receiver.jitter
    return {
        **asdict(task.way),
        "loss": task.loss,
        "clip": task.clip.name,
        "seed": task.pattern,
        "payload_kbps": round(kbps * result.sender.payload_bytes, 2),
        "sent_kbps": round(kbps * (link.frame_bytes + SRTP_OVERHEAD_BYTES * result.sender.packets), 2),
        "made_up": round(result.made_up, 4),
        "recovered": round(jitter.recovered / max(1, jitter.played + jitter.recovered + jitter.concealed), 4),
        "playout_ms": round(result.playout_ms, 1),
        **{name: round(METRICS[name].score(pair), 3) for name in SCORES},
    }


def report(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means of each way over clips and patterns, best PESQ first, and the constants fitted."""
    by_way: dict[Any, list[dict[str, Any]]] = {}
    for sample in samples:
        key = sample["loss"], sample["wire_kbps"], sample["packet_ms"], tuple(sample["ages"]), sample["share"]
        by_way.setdefault(key, []).append(sample)
    rows = []
    for (loss, wire_kbps, packet_ms, ages, share), group in by_way.items():
        means = {name: round(float(np.mean([each[name] for each in group])), 3) for name in MEANS}
        way = {"packet_ms": packet_ms, "ages": list(ages), "share": share}
        rows.append({"loss": loss, "wire_kbps": wire_kbps, **way, "samples": len(group), **means})
    rows.sort(key=lambda row: (row["loss"], row["wire_kbps"], -row["pesq"]))
    clips = sorted({sample["clip"] for sample in samples})
    return {"settings": {"clips": clips, "mean_burst_packets": MEAN_BURST_PACKETS}, "fit": fit(samples), "rows": rows}


def fit(samples: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The model's constants by least squares; each clip has a disturbance of its own beside."""
    clips = sorted({sample["clip"] for sample in samples})
    design, squares = [], []
    for sample in samples:
        frames = sample["packet_ms"] / FRAME_MS
        kbps = sample["payload_kbps"] * (1.0 + LONGER_SAVES * (frames - 1.0) / frames)
        clean = disturbance(clean_pesq(kbps)) ** 2
        coarse = disturbance(clean_pesq(sample["share"] * kbps)) ** 2 - clean if sample["share"] else 0.0
        own = [float(sample["clip"] == clip) for clip in clips]
        design.append([*own, clean, sample["made_up"], sample["recovered"] * coarse, sample["recovered"]])
        squares.append(disturbance(max(sample["pesq"], LEAST_PESQ)) ** 2)
    solution, *_ = np.linalg.lstsq(np.array(design), np.array(squares), rcond=None)
    error = float(np.sqrt(np.mean((np.array(design) @ solution - squares) ** 2)))
    names = ("clean", "concealed_harm", "copy_harm", "switch_harm")
    found = dict(zip(names, solution[len(clips) :], strict=True)) | {"error": error}
    return {name: round(float(value), 2) for name, value in found.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 after a one-line error."""
    options = argparse.ArgumentParser("python -m bench.wire.search", description="Ways to spend a rate, measured.")
    options.add_argument("folder", type=Path, help="speech: wav, flac or ogg files, searched recursively")
    options.add_argument("--names", nargs="+", help="only clips whose names hold one of these")
    options.add_argument("--patterns", type=int, default=1, metavar="N", help="patterns of losses for each clip")
    options.add_argument("--seconds", type=float, default=6.0, help="only so much of each clip (default: 6)")
    options.add_argument("--losses", type=float, nargs="+", default=LOSSES, metavar="SHARE")
    options.add_argument("--wire-kbps", type=float, nargs="+", default=WIRE_KBPS, metavar="KBPS")
    options.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    options.add_argument("--json", type=Path, required=True, help="means; every sample beside it (.jsonl)")
    asked = options.parse_args(arguments)
    try:
        clips = [
            clip
            for clip in read_clips(asked.folder, ["speech"])
            if not asked.names or any(name in clip.name for name in asked.names)
        ]
        tasks = [
            Task(way, loss, clip, pattern, asked.seconds)
            for loss in asked.losses
            for kbps in asked.wire_kbps
            for way in ways(kbps, loss)
            for clip in clips
            for pattern in range(asked.patterns)
        ]
        kept = asked.json.with_suffix(".jsonl")
        samples = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
        done = {identity(sample) for sample in samples}
        missing = [task for task in tasks if task.identity not in done]
        with kept.open("a") as lines, ProcessPoolExecutor(asked.workers, get_context("spawn")) as pool:
            made = pool.map(measure, missing)
            for sample in track(made, "measuring", total=len(missing), console=Console(stderr=True)):
                samples.append(sample)
                print(json.dumps(sample), file=lines, flush=True)
        asked.json.write_text(json.dumps(report(samples), indent=1) + "\n")
    except StreamcodecError as error:
        print(f"bench.wire.search: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
