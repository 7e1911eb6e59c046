"""Run systems over clips and score what comes out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streamcodec.evaluation.alignment import AlignedPair
from streamcodec.evaluation.clips import Clip
from streamcodec.evaluation.errors import EvaluationError, UnscorableError
from streamcodec.evaluation.metrics import METRICS, select_metrics
from streamcodec.evaluation.report import Report, Row
from streamcodec.evaluation.systems import System


@dataclass(frozen=True)
class _Job:
    """One clip through one system at one rate."""

    clip: Clip
    system: System
    kbps: float
    metrics: tuple[str, ...]


def evaluate(
    clips: Sequence[Clip],
    systems: Sequence[System],
    metrics: Sequence[str] | None = None,
    workers: int = 1,
    progress: bool = False,
) -> Report:
    """Code every clip with every system at each of its rates and score the results.

    Args:
        clips: from :func:`streamcodec.evaluation.clips.read_clips`.
        systems: codecs under test and peers, each with its nominal rates.
        metrics: names from the registry; by default all whose packages are installed (the report's ``notes`` name
            the others). A metric is computed only for the kinds of sound that it is meant for.
        workers: processes; with more than one, systems must be picklable.
        progress: show a progress bar on standard error.

    Raises:
        EvaluationError: nothing to run, two systems of one name, an unknown metric, a missing package, no clip that
            can be read (others are left out and named in the report's ``unreadable``).
    """
    if not clips or not systems:
        raise EvaluationError("An evaluation needs at least one clip and one system.")
    names = [system.name for system in systems]
    if len(set(names)) < len(names):
        raise EvaluationError(f"Each system needs a name of its own, got {', '.join(names)}.")
    if workers < 1:
        raise EvaluationError(f"The number of workers must be at least 1, got {workers}.")
    chosen, notes = select_metrics(metrics)
    metric_names = tuple(metric.name for metric in chosen)
    jobs = [
        _Job(clip, system, kbps, metric_names) for clip in clips for system in systems for kbps in system.rates_kbps
    ]
    rows: dict[int, Row] = {}
    unreadable: dict[str, str] = {}
    with _progress_bar(progress) as bar:
        task = bar.add_task("evaluate", total=len(jobs))
        for index, row in _results(jobs, workers):
            job = jobs[index]
            if isinstance(row, Row):
                rows[index] = row
            else:
                unreadable[str(job.clip.path)] = row
            bar.update(task, advance=1, description=f"{job.system.name} {job.kbps:g} kbps")
    if not rows:
        raise EvaluationError("; ".join(unreadable.values()))
    ordered = [rows[index] for index in sorted(rows)]
    notes += [
        f"{row.clip}, {row.system} at {row.nominal_kbps:g} kbps: {sentence}"
        for row in ordered
        for sentence in row.failures.values()
    ]
    descriptions = {system.name: system.description for system in systems}
    return Report(ordered, list(metric_names), descriptions, notes, list(unreadable.values()))


def _results(jobs: Sequence[_Job], workers: int) -> Iterator[tuple[int, Row | str]]:
    """Rows as they become ready, each with the index of its job; a sentence for a clip that cannot be read."""
    if workers == 1:
        for index, job in enumerate(jobs):
            yield index, _run(job)
        return
    # Spawned, not forked: inference runtimes and numerical libraries hold threads that a fork would lose.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(_run, job): index for index, job in enumerate(jobs)}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _run(job: _Job) -> Row | str:
    """Code one clip and score it; a sentence where it cannot be read."""
    try:
        samples, sample_rate_hz = job.clip.read()
    except EvaluationError as error:
        return str(error)
    coded = job.system.codec(samples, sample_rate_hz, job.kbps)
    pair = AlignedPair(samples, sample_rate_hz, coded.samples, coded.sample_rate_hz)
    scores: dict[str, float] = {}
    failures: dict[str, str] = {}
    for name in job.metrics:
        if job.clip.kind not in METRICS[name].kinds:
            continue
        try:
            scores[name] = METRICS[name].score(pair)
        except UnscorableError as error:
            scores[name] = math.nan
            failures[name] = str(error)
    return Row(
        system=job.system.name,
        nominal_kbps=job.kbps,
        clip=job.clip.name,
        kind=job.clip.kind,
        seconds=len(samples) / sample_rate_hz,
        payload_bytes=coded.payload_bytes,
        packets=coded.packets,
        wire_bytes=coded.wire_bytes,
        scores=scores,
        failures=failures,
    )


def _progress_bar(shown: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not shown,
    )
