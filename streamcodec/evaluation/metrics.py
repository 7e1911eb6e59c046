"""The registry of metrics: what evaluation, tables and plots iterate over."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from streamcodec.evaluation import full_reference, naturalness, no_reference, speaker, spectral, waveform, words
from streamcodec.evaluation.alignment import AlignedPair, Samples
from streamcodec.evaluation.clips import KINDS
from streamcodec.evaluation.errors import MissingPackageError, UnknownNameError
from streamcodec.evaluation.harmonicity import harmonicity

ALL_KINDS = frozenset(KINDS)
SPEECH = frozenset({"speech"})


@dataclass(frozen=True)
class Metric:
    """One score of a decoded sound against its reference."""

    name: str
    title: str
    function: Callable[[Samples, Samples], float]
    """Takes reference and decoded sound ``[samples]``, aligned, at ``sample_rate_hz``."""
    sample_rate_hz: int | None
    """None: at the reference's own rate."""
    better: Literal["high", "low"]
    kinds: frozenset[str]
    """Kinds of sound that the score is meant for."""
    cost: Literal["low", "medium", "high"]
    """CPU time per second of sound: up to about 20 ms, 60 ms, or more."""
    packages: tuple[str, ...]
    """Modules of the ``eval`` extra that it needs."""
    decimals: int = 2
    by_default: bool = True
    """Whether an evaluation computes it without being asked for it by name."""

    @property
    def missing(self) -> list[str]:
        """Needed modules that are not installed."""
        return [package for package in self.packages if importlib.util.find_spec(package) is None]

    def score(self, pair: AlignedPair) -> float:
        """Value for one pair.

        Raises:
            UnscorableError: the metric has no value for these sounds.
            MissingPackageError: a package is not installed.
        """
        return self.function(*pair.at(self.sample_rate_hz or pair.reference_hz))


_MEL16 = functools.partial(spectral.mel_distance, sample_rate_hz=16_000)
_MEL24 = functools.partial(spectral.mel_distance, sample_rate_hz=24_000)
_BASE = ("scipy", "soxr")


def _own_rate(
    name: str,
    title: str,
    function: Callable[[Samples, Samples], float],
    better: Literal["high", "low"],
    decimals: int = 2,
) -> Metric:
    """A score of the autoencoder literature, for the research bench."""
    return Metric(name, title, function, None, better, ALL_KINDS, "low", _BASE, decimals, by_default=False)


def _harmonicity(low_khz: int, high_khz: int) -> Metric:
    return Metric(
        f"harmonicity_{low_khz}_{high_khz}k",
        f"harmonic {low_khz}-{high_khz} kHz",
        functools.partial(harmonicity, low_hz=1000.0 * low_khz, high_hz=1000.0 * high_khz),
        16_000,
        "high",
        SPEECH,
        "low",
        _BASE,
        3,
    )


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("pesq", "PESQ-WB", full_reference.pesq_wideband, 16_000, "high", SPEECH, "low", (*_BASE, "pesq")),
        Metric(
            "visqol",
            "ViSQOL",
            full_reference.visqol_speech,
            16_000,
            "high",
            SPEECH,
            "medium",
            (*_BASE, "visqol", "ai_edge_litert"),
        ),
        Metric(
            "visqol_audio",
            "ViSQOL audio",
            full_reference.visqol_audio,
            48_000,
            "high",
            ALL_KINDS - SPEECH,
            "high",
            (*_BASE, "visqol"),
        ),
        Metric("stoi", "STOI", full_reference.stoi, 16_000, "high", SPEECH, "low", (*_BASE, "pystoi"), 3),
        Metric("estoi", "ESTOI", full_reference.extended_stoi, 16_000, "high", SPEECH, "low", (*_BASE, "pystoi"), 3),
        Metric("si_sdr", "SI-SDR dB", full_reference.si_sdr_db, 16_000, "high", ALL_KINDS, "low", _BASE, 1),
        Metric("lsd16", "LSD dB", spectral.log_spectral_distance, 16_000, "low", ALL_KINDS, "low", _BASE),
        Metric("mel16", "mel16", _MEL16, 16_000, "low", ALL_KINDS, "low", _BASE, 3),
        Metric("mel24", "mel24", _MEL24, 24_000, "low", ALL_KINDS, "low", _BASE, 3),
        Metric(
            "dnsmos", "DNSMOS", no_reference.dnsmos_overall, 16_000, "high", SPEECH, "high", (*_BASE, "speechmos")
        ),
        Metric("plcmos", "PLCMOS", no_reference.plcmos, 16_000, "high", SPEECH, "medium", (*_BASE, "speechmos")),
        Metric(
            "distill_mos",
            "Distill-MOS",
            naturalness.distill_mos,
            16_000,
            "high",
            SPEECH,
            "medium",
            (*_BASE, "torch", "distillmos"),
        ),
        Metric(
            "zimtohrli",
            "Zimtohrli",
            full_reference.zimtohrli_mos,
            48_000,
            "high",
            SPEECH,
            "high",
            (*_BASE, "zimtohrli"),
        ),
        Metric(
            "speaker",
            "same speaker",
            speaker.speaker_likeness,
            16_000,
            "high",
            SPEECH,
            "medium",
            (*_BASE, "torch", "resemblyzer"),
            3,
        ),
        Metric(
            "words", "word errors %", words.word_errors, 16_000, "low", SPEECH, "high", (*_BASE, "pocketsphinx"), 1
        ),
        _harmonicity(1, 2),
        _harmonicity(2, 4),
        _harmonicity(4, 7),
        _own_rate("snr", "SNR dB", waveform.snr_db, "high"),
        _own_rate("mse", "MSE", waveform.mean_squared_error, "low", 8),
        _own_rate("l1", "L1", waveform.mean_absolute_error, "low", 5),
        _own_rate("psnr", "PSNR dB", waveform.psnr_db, "high"),
        _own_rate("spectral_distortion", "SD dB", spectral.spectral_distortion, "low"),
    )
}


def select_metrics(names: Sequence[str] | None = None) -> tuple[list[Metric], list[str]]:
    """Metrics to compute, and a sentence for each one left out because a package is missing.

    Without ``names`` every metric of those ``by_default`` that can run is chosen. A metric asked for by name must be
    able to run.

    Raises:
        UnknownNameError: no metric has that name.
        MissingPackageError: a metric asked for by name lacks a package.
    """
    if names is None:
        usual = [metric for metric in METRICS.values() if metric.by_default]
        chosen = [metric for metric in usual if not metric.missing]
        return chosen, [_missing_sentence(metric) for metric in usual if metric.missing]
    for name in names:
        if name not in METRICS:
            raise UnknownNameError(f"Unknown metric {name!r}: choose from {', '.join(METRICS)}.")
        if METRICS[name].missing:
            raise MissingPackageError(_missing_sentence(METRICS[name]))
    return [METRICS[name] for name in dict.fromkeys(names)], []


def _missing_sentence(metric: Metric) -> str:
    return f"{metric.title} needs {', '.join(metric.missing)}: pip install 'streamcodec[eval]'."
