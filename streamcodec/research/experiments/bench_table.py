"""The table that every experiment on codecs fills: one metric set, real bits, the baseline at the same bits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from streamcodec.evaluation import METRICS, Clip, System, evaluate
from streamcodec.evaluation.report import Report
from streamcodec.research.experiments.contenders import Contender
from streamcodec.research.experiments.downsampling import Downsampling
from streamcodec.research.experiments.experiment import Cell, Context, Table

SCORES = ("snr", "si_sdr", "lsd16", "mse", "l1", "psnr", "spectral_distortion", "pesq", "stoi", "visqol")
PCM_BITS = 16
TIME = "s per s"


def bench_table(
    context: Context,
    title: str,
    contenders: Sequence[Contender],
    clips: Sequence[Clip],
    sample_rate_hz: int,
    baseline: Downsampling | None = None,
) -> Table:
    """Code every clip with every contender and score what comes back.

    With a ``baseline`` the row says what plain downsampling scores in log-spectral distance at the contender's real
    rate, and whether the contender is nearer.
    """
    scores = [name for name in SCORES if not METRICS[name].missing]
    rows: list[tuple[Cell, ...]] = []
    first, _ = clips[0].read()
    for contender in context.track(contenders, "coding and scoring", len(contenders)):
        # Once without the clock: kernels compile and models load at the first call.
        contender.code(first, sample_rate_hz, contender.kbps)
        report = evaluate(clips, [System(contender.name, contender, (contender.kbps,))], scores)
        kbps = _kbps(report)
        mean = {name: _mean(report, name) for name in scores}
        row: list[Cell] = [
            contender.name,
            _rounded(kbps),
            _rounded(PCM_BITS * sample_rate_hz / 1000 / kbps) if kbps else None,
            _rounded(contender.nominal_ratio),
            *(_rounded(mean[name]) for name in scores),
        ]
        if baseline is not None:
            plain = evaluate(clips, [System("downsampling", baseline, (kbps,))], ["lsd16"]) if kbps else None
            distance = math.nan if plain is None else _mean(plain, "lsd16")
            verdict = "yes" if mean["lsd16"] < distance else "no"
            row += [_rounded(distance), verdict if contender.decodable else f"({verdict}, phase not counted)"]
        seconds = sum(item.seconds for item in report.rows)
        row.append(_rounded(sum(contender.seconds) / seconds))
        rows.append(tuple(row))
    columns = ["codec", "real kbps", "real ratio", "nominal ratio", *(METRICS[name].title for name in scores)]
    if baseline is not None:
        columns += ["downsampling LSD dB", "beats it"]
    note = (
        f"{len(clips)} development clips; means over all kinds of sound, PESQ, STOI and ViSQOL over speech alone. "
        f"Real kbps: bytes of a real code that was decoded again. Real ratio: against {PCM_BITS}-bit samples. "
        "Nominal ratio: samples for each latent, as the papers count."
    )
    return Table(title, (*columns, TIME), tuple(rows), note, frozenset({TIME}))


def _kbps(report: Report) -> float:
    return sum(row.payload_bytes for row in report.rows) * 8e-3 / sum(row.seconds for row in report.rows)


def _mean(report: Report, name: str) -> float:
    values = [row.scores[name] for row in report.rows if math.isfinite(row.scores.get(name, math.nan))]
    return float(np.mean(values)) if values else math.nan


def _rounded(value: float | None) -> float | None:
    """Five significant digits: as many as mean anything."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.5g}")
