"""Clips through systems and losses, in several processes, and their means."""

from __future__ import annotations

import math
import multiprocessing
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from streamcodec.evaluation import METRICS
from streamcodec.evaluation.alignment import AlignedPair
from streamcodec.evaluation.clips import Clip
from streamcodec.evaluation.errors import UnscorableError
from streamcodec.evaluation.packet_loss.systems import LossySystem
from streamcodec.evaluation.statistics import Interval, mean_interval, rounded
from streamcodec.net.loss_models import GilbertElliott, GilbertElliottConfig

SCORES = ("pesq", "plcmos", "visqol", "distill_mos", "words")
MEAN_BURST_PACKETS = 2.0
ENGLISH = ("univnet-gt", "voicefixer-vctk")
"""Parts of the names of clips in English, the only language of the recogniser behind the word errors."""


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
    """Share of the sound for which nothing was there."""
    playout_ms: float
    plans: list[str]
    """What the sender had come to at the end of the clips."""

    def as_json(self) -> dict[str, Any]:
        """Numbers for a report."""
        return {
            "system": self.system,
            "loss": self.loss,
            "payload_kbps": round(self.payload_kbps, 3),
            "carried_kbps": round(self.carried_kbps, 3),
            "wire_kbps": round(self.wire_kbps, 2),
            "made_up": round(self.made_up, 4),
            "playout_ms": round(self.playout_ms, 1),
            **({"plans": self.plans} if self.plans else {}),
            **{
                name: {
                    "mean": round(score.mean, 3),
                    "half_width": rounded(score.half_width),
                    "clips": score.count,
                }
                for name, score in self.scores.items()
            },
        }


def _score(name: str, pair: AlignedPair, clip: Clip) -> float:
    try:
        if name == "words" and not any(part in clip.name for part in ENGLISH):
            return math.nan
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
    made_up: float
    playout_ms: float
    plan: str


@dataclass(frozen=True)
class Task:
    """What one process is asked for."""

    system: LossySystem
    loss: float
    clip: Clip
    scores: tuple[str, ...]
    longest_s: float | None
    pattern: int = 0
    """Which of a clip's patterns of losses."""


def measure(task: Task) -> Sample:
    """Send and score; the losses depend on clip, pattern and rate alone."""
    clip = task.clip
    samples, rate_hz = clip.read()
    if task.longest_s is not None:
        samples = samples[: round(task.longest_s * rate_hz)]
    seed = zlib.crc32(clip.name.encode()) + task.pattern
    losses = GilbertElliott(GilbertElliottConfig(task.loss, MEAN_BURST_PACKETS), seed)
    heard = task.system.transmit(samples, rate_hz, losses, task.loss)
    pair = AlignedPair(samples, rate_hz, heard.samples, heard.sample_rate_hz)
    return Sample(
        {name: _score(name, pair, clip) for name in task.scores},
        len(samples) / rate_hz,
        heard.payload_bytes,
        heard.carried_bytes,
        heard.wire_bytes,
        heard.made_up,
        heard.playout_ms,
        heard.plan,
    )


def mean_row(system: LossySystem, loss: float, samples: Sequence[Sample]) -> Row:
    """Means over the clips."""
    kbps = 0.008 / sum(sample.seconds for sample in samples)
    return Row(
        system.name,
        loss,
        {name: mean_interval([sample.scores[name] for sample in samples]) for name in samples[0].scores},
        kbps * sum(sample.payload_bytes for sample in samples),
        kbps * sum(sample.carried_bytes for sample in samples),
        kbps * sum(sample.wire_bytes for sample in samples),
        sum(sample.made_up for sample in samples) / len(samples),
        sum(sample.playout_ms for sample in samples) / len(samples),
        sorted({sample.plan for sample in samples if sample.plan}),
    )


def measured(tasks: Sequence[Task], workers: int) -> Iterator[Sample]:
    """The samples of ``tasks``, in their order, made by so many processes."""
    if workers == 1:
        yield from map(measure, tasks)
        return
    # Fresh processes: the libraries behind the scores keep threads, which a fork would lose.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(measure, tasks)
