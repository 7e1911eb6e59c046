"""Clips through systems and losses, in several processes, and their means."""

from __future__ import annotations

import math
import multiprocessing
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from bench.loss.systems import System
from streamcodec.evaluation import METRICS
from streamcodec.evaluation.alignment import AlignedPair
from streamcodec.evaluation.clips import Clip
from streamcodec.evaluation.errors import UnscorableError
from streamcodec.evaluation.statistics import Interval, mean_interval
from streamcodec.net.loss_models import GilbertElliott, GilbertElliottConfig

SCORES = ("pesq", "plcmos")
MEAN_BURST_PACKETS = 2.0


@dataclass(frozen=True)
class Row:
    """One system at one loss rate, over all clips."""

    system: str
    loss: float
    scores: dict[str, Interval]
    payload_kbps: float
    carried_kbps: float
    wire_kbps: float
    made_up: float
    """Share of packet durations for which nothing was there."""

    def as_json(self) -> dict[str, Any]:
        """Numbers for a report."""
        return {
            "system": self.system,
            "loss": self.loss,
            "payload_kbps": round(self.payload_kbps, 3),
            "carried_kbps": round(self.carried_kbps, 3),
            "wire_kbps": round(self.wire_kbps, 2),
            "made_up": round(self.made_up, 4),
            **{
                name: {
                    "mean": round(score.mean, 3),
                    "half_width": number_or_none(score.half_width),
                    "clips": score.count,
                }
                for name, score in self.scores.items()
            },
        }


def number_or_none(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)


def _score(name: str, pair: AlignedPair) -> float:
    try:
        return METRICS[name].score(pair)
    except UnscorableError:
        return math.nan


@dataclass(frozen=True)
class Sample:
    """One clip through one system at one loss rate."""

    scores: dict[str, float]
    seconds: float
    payload_bytes: int
    carried_bytes: int
    wire_bytes: int
    packets: int
    made_up: int


Task = tuple[System, float, Clip]


def measure(task: Task) -> Sample:
    """Send and score; the losses depend on clip and rate alone."""
    system, loss, clip = task
    samples, rate_hz = clip.read()
    losses = GilbertElliott(GilbertElliottConfig(loss, MEAN_BURST_PACKETS), zlib.crc32(clip.name.encode()))
    heard = system.transmit(samples, rate_hz, losses, loss)
    pair = AlignedPair(samples, rate_hz, heard.samples, heard.sample_rate_hz)
    return Sample(
        {name: _score(name, pair) for name in SCORES},
        len(samples) / rate_hz,
        heard.payload_bytes,
        heard.carried_bytes,
        heard.wire_bytes,
        heard.packets,
        heard.made_up,
    )


def mean_row(system: str, loss: float, samples: Sequence[Sample]) -> Row:
    """Means over the clips."""
    kbps = 0.008 / sum(sample.seconds for sample in samples)
    return Row(
        system,
        loss,
        {name: mean_interval([sample.scores[name] for sample in samples]) for name in SCORES},
        kbps * sum(sample.payload_bytes for sample in samples),
        kbps * sum(sample.carried_bytes for sample in samples),
        kbps * sum(sample.wire_bytes for sample in samples),
        sum(sample.made_up for sample in samples) / sum(sample.packets for sample in samples),
    )


def measured(tasks: Sequence[Task], workers: int) -> Iterator[Sample]:
    """The samples of ``tasks``, in their order, made by so many processes."""
    if workers == 1:
        yield from map(measure, tasks)
        return
    # Fresh processes: the libraries behind the scores keep threads, which a fork would lose.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(measure, tasks)
