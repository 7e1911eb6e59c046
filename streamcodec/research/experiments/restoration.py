"""Restoration of decoded sound by a causal network that runs behind a decoder, one for all codecs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from streamcodec.evaluation.alignment import AlignedPair
from streamcodec.evaluation.errors import UnscorableError
from streamcodec.evaluation.metrics import METRICS, Metric
from streamcodec.research.experiments.drawing import draw_curves, draw_spectra
from streamcodec.research.experiments.experiment import Cell, Context, Experiment, Picture, Results, Sound, Table
from streamcodec.research.experiments.restoration_pairs import (
    Degradation,
    Pair,
    PairSegments,
    Samples,
    default_degradations,
    make_pair,
    make_pairs,
)
from streamcodec.research.experiments.sounds import write_sound
from streamcodec.research.experiments.trained import loss_curve
from streamcodec.research.models.causal_restoration import CausalRestorer
from streamcodec.research.restoration import Restorer, restore_array
from streamcodec.research.restorer import GRAPH, RestorerConfig
from streamcodec.research.training.restoration_task import causal_task
from streamcodec.research.training.restorer_export import export_restorer
from streamcodec.training.loop import RunLimits, TrainingLoop

SCORES = ("pesq", "stoi", "si_sdr", "lsd16", "mel24")
MOST_S = 6.0
STEPS_FACTOR = 2
"""Steps of the causal restorer, as a multiple of an ordinary run's."""
TIMED_BLOCKS = 500


def run(context: Context) -> Results:
    """Both parts, then what the causal restorer costs."""
    degradations = default_degradations()
    restorer = _trained(context, degradations)
    folder = context.folder / "restorer"
    steps = round(STEPS_FACTOR * context.scale.steps)
    export_restorer(
        restorer, folder, {"trained_on": [d.name for d in degradations], "steps": steps, "seed": context.seed}
    )
    live = Restorer(folder)
    table, sounds, pictures = _judge(context, live, degradations)
    curve = loss_curve(context.folder / "runs" / "causal", "loss")
    pictures.insert(0, draw_curves({"causal restorer": curve}, context.folder / "training.png"))
    delay_ms = 1000.0 * live.delay_samples / live.sample_rate_hz
    notes = [
        f"The restorer written to {folder.name}/ is for 'streamcodec restore --restorer' and for "
        f"StreamDecoder(restorer=...), where it adds {delay_ms:g} ms of delay.",
    ]
    return Results([table, _cost(live, restorer, folder)], pictures, sounds, notes)


def _trained(context: Context, degradations: Sequence[Degradation]) -> CausalRestorer:
    torch.manual_seed(context.seed)
    restorer = CausalRestorer(RestorerConfig())
    config = restorer.config
    with context.bar("pairs of decoded and original sound") as bar:
        pairs = make_pairs(
            context.material.train, degradations, config.sample_rate_hz, MOST_S, lambda done: bar(done, "")
        )
    hops = round(context.scale.segment_s * config.sample_rate_hz / config.step_samples)
    batch, length = context.scale.batch_segments, hops * config.step_samples
    segments = PairSegments(pairs, length, batch, context.seed, config.sample_rate_hz)
    loop = TrainingLoop(causal_task(restorer, segments), context.folder / "runs" / "causal", context.seed)
    with context.bar("causal restorer") as bar:
        limits = RunLimits(max_steps=round(STEPS_FACTOR * context.scale.steps))
        loop.run(limits, lambda row: bar(float(str(row["progress"])), f"loss {row['loss']}"))
    trained = CausalRestorer(config)
    with loop.averaged():
        trained.load_state_dict(restorer.state_dict())
    return trained.eval()


def _judge(
    context: Context, live: Restorer, degradations: Sequence[Degradation]
) -> tuple[Table, list[Sound], list[Picture]]:
    """Scores of every degradation before and after restoring, and one clip of each kind to hear and see."""
    metrics = [METRICS[name] for name in SCORES if not METRICS[name].missing]
    rows: list[tuple[Cell, ...]] = []
    sounds: list[Sound] = []
    pictures: list[Picture] = []
    for degradation in context.track(degradations, "restoring development clips", len(degradations)):
        before: list[list[float]] = []
        after: list[list[float]] = []
        for clip in context.material.dev:
            pair = make_pair(clip, degradation, live.sample_rate_hz, MOST_S)
            restored = restore_array(pair.decoded, live.sample_rate_hz, live)
            before.append(_scores(pair, pair.decoded, live.sample_rate_hz, metrics))
            after.append(_scores(pair, restored, live.sample_rate_hz, metrics))
            if clip == next(c for c in context.material.dev if c.kind == clip.kind):
                sounds += _write(context.folder, pair, restored, live.sample_rate_hz)
                pictures.append(_draw(context.folder, pair, restored, live.sample_rate_hz))
        rows.append((degradation.name, *_means(before)))
        rows.append((f"{degradation.name}, restored", *_means(after)))
    note = (
        f"{len(context.material.dev)} development clips; means over all kinds of sound, PESQ and STOI over speech. "
        "One causal restorer for all codecs. mel24 and LSD: lower is better."
    )
    columns = ("codec and kbps", *(metric.title for metric in metrics))
    return Table("Causal restoration of decoded sound", columns, tuple(rows), note), sounds, pictures


def _scores(pair: Pair, sound: Samples, rate_hz: int, metrics: Sequence[Metric]) -> list[float]:
    aligned = AlignedPair(pair.original, rate_hz, sound, rate_hz)
    return [_score(metric, aligned) if pair.clip.kind in metric.kinds else np.nan for metric in metrics]


def _score(metric: Metric, pair: AlignedPair) -> float:
    try:
        return metric.score(pair)
    except UnscorableError:
        return np.nan


def _means(rows: Sequence[Sequence[float]]) -> list[Cell]:
    values = np.array(rows)
    return [float(f"{np.nanmean(column):.4g}") if np.isfinite(column).any() else None for column in values.T]


def _write(folder: Path, pair: Pair, restored: Samples, rate_hz: int) -> list[Sound]:
    """Original, decoded and restored sound of a pair as files."""
    written = []
    for name, samples in (("original", pair.original), ("decoded", pair.decoded), ("restored", restored)):
        path = folder / "sounds" / f"{pair.clip.kind}-{pair.degradation}-{name}.flac".replace(" ", "-")
        group = f"{pair.clip.kind}, {pair.degradation} kbps"
        written.append(Sound(write_sound(path, samples, rate_hz), name, group))
    return written


def _draw(folder: Path, pair: Pair, restored: Samples, rate_hz: int) -> Picture:
    """Spectrograms and error maps of a pair."""
    path = folder / "pictures" / f"{pair.clip.kind}-{pair.degradation}.png".replace(" ", "-")
    heard = {f"{pair.degradation} kbps": pair.decoded, "restored": restored}
    return draw_spectra(pair.original, heard, rate_hz, path, f"{pair.clip.name}, {pair.degradation} kbps")


def _cost(live: Restorer, network: CausalRestorer, folder: Path) -> Table:
    """Delay, size and time of the live stage."""
    block = (0.1 * np.random.default_rng(0).standard_normal(live.block_samples)).astype(np.float32)
    times_ms = []
    for _ in range(TIMED_BLOCKS):
        began = time.perf_counter()
        live.process(block)
        times_ms.append(1000.0 * (time.perf_counter() - began))
    to_10_ms = 0.01 * live.sample_rate_hz / live.block_samples
    cost_ms = [round(to_10_ms * float(np.percentile(times_ms, share)), 4) for share in (50, 95, 99)]
    row: tuple[Cell, ...] = (
        "causal restorer",
        1000.0 * live.delay_samples / live.sample_rate_hz,
        sum(p.numel() for p in network.parameters()),
        round((folder / GRAPH).stat().st_size / 1e6, 3),
        *cost_ms,
    )
    timed = ("p50 ms", "p95 ms", "p99 ms")
    return Table(
        "The live stage behind a decoder",
        ("stage", "added delay ms", "parameters", "MB", *timed),
        (row,),
        note="Milliseconds per 10 ms of sound, one core; encoding, decoding and this are to stay below 1 ms.",
        timed=frozenset(timed),
    )


EXPERIMENT = Experiment(
    "restoration", "Undoing some of what lossy codecs did: the published network, and a causal one for live use.", run
)
