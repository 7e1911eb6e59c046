"""Pairs of decoded and original sound, the four ways of preparing them, and the whole experiment."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

pytest.importorskip("av")

from streamcodec.evaluation.alignment import delay_samples
from streamcodec.evaluation.clips import Clip
from streamcodec.research.experiments import restoration_segments
from streamcodec.research.experiments.experiment import SCALES
from streamcodec.research.experiments.registry import load
from streamcodec.research.experiments.restoration_pairs import (
    PairSegments,
    bandwidth_hz,
    default_degradations,
    make_pair,
)
from streamcodec.research.experiments.restoration_segments import LOSSES, WAYS
from streamcodec.research.experiments.runner import run_experiment
from streamcodec.research.restoration import Restorer


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_every_way_keeps_all_samples_or_the_sound(way: object) -> None:
    length = round(way.segment_s * 32_000)  # type: ignore[attr-defined]
    time_s = np.arange(3 * length) / 32_000
    decoded = (0.5 + 0.1 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32).reshape(3, length)
    prepared = way.prepare(decoded)  # type: ignore[attr-defined]
    assert prepared.shape == (3, round(way.segment_s * 44_100))  # type: ignore[attr-defined]
    if way.fill == "resample":  # type: ignore[attr-defined]
        expected = 0.5 + 0.1 * np.sin(2 * np.pi * 440 * np.arange(prepared.size) / 44_100)
        np.testing.assert_allclose(prepared.ravel()[500:-500], expected[500:-500], atol=1e-3)
    else:
        np.testing.assert_array_equal(prepared[prepared != 0].reshape(3, length), decoded)
    if way.fill == "spread":  # type: ignore[attr-defined]
        gaps = np.diff(np.flatnonzero(prepared[0]))
        assert set(gaps.tolist()) == {1, 2}


def test_pairs_are_aligned_and_segments_repeat(speech_file: Path) -> None:
    clip = Clip(speech_file, "speech")
    pairs = [make_pair(clip, degradation, 24_000, 1.5) for degradation in default_degradations()]
    for pair in pairs:
        assert pair.decoded.shape == pair.original.shape
        shift = delay_samples(pair.original.astype(float), pair.decoded.astype(float), 500)
        assert abs(shift) <= 3, pair.degradation
    first, second = (PairSegments(pairs, 4_800, 3, 7, 24_000)(5) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert first[0].shape == first[1].shape == (3, 4_800)


def test_bandwidth_tells_upsampled_sound() -> None:
    noise = np.random.default_rng(0).standard_normal(24_000).astype(np.float32)
    assert bandwidth_hz(noise, 24_000) == 12_000
    spectrum = np.fft.rfft(noise)
    spectrum[8_000:] = 0
    assert bandwidth_hz(np.fft.irfft(spectrum).astype(np.float32), 24_000) == 8_000


@pytest.fixture
def data(tmp_path: Path, speech_file: Path) -> Path:
    speech, rate_hz = soundfile.read(speech_file, dtype="float32")
    for part, start in (("train", 0), ("dev", 2)):
        folder = tmp_path / "data" / part / "speech"
        folder.mkdir(parents=True)
        soundfile.write(folder / "speech.wav", speech[start * rate_hz :][: round(1.2 * rate_hz)], rate_hz)
    return tmp_path / "data"


def test_every_way_is_trained_on_both_losses_over_whole_epochs(tmp_path: Path, data: Path) -> None:
    scale = dataclasses.replace(SCALES["tiny"], most_epochs=2)
    folder = run_experiment(load("restoration-segments"), data, tmp_path / "out", scale, seed=1)
    table, training = json.loads((folder / "metrics.json").read_text())["tables"]
    assert len(table["rows"]) == 1 + len(WAYS) * len(LOSSES)
    runs = list(training["rows"].values())
    assert len(runs) == len(WAYS) * len(LOSSES)
    assert all(run["epochs"] == 2 for run in runs)
    # A second of sound is one batch of a segment, 25 of four hundredths, and two and a half of four tenths.
    assert sorted({run["steps"] for run in runs}) == [2, 6, 50]


def test_ways_go_on_from_fewer_epochs_as_if_they_had_never_stopped(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoration_segments, "WAYS", WAYS[2:3])

    def metrics(out: str, *epochs: int) -> str:
        for most_epochs in epochs:
            scale = dataclasses.replace(SCALES["tiny"], most_epochs=most_epochs)
            folder = run_experiment(load("restoration-segments"), data, tmp_path / out, scale, seed=1)
        return (folder / "metrics.json").read_text()

    assert metrics("broken", 1, 2) == metrics("whole", 2) != metrics("broken-off", 1)


def test_experiment_runs_and_leaves_a_usable_restorer(tmp_path: Path, data: Path) -> None:
    folder = run_experiment(load("restoration"), data, tmp_path / "out", SCALES["tiny"], seed=1)
    causal, live = json.loads((folder / "metrics.json").read_text())["tables"]
    assert len(causal["rows"]) == 2 * len(default_degradations())
    assert live["rows"]["causal restorer"]["added delay ms"] == 5
    assert live["rows"]["causal restorer"]["MB"] < 2
    assert Restorer(folder / "restorer").process(np.zeros(480, np.float32)).shape == (480,)
    assert (folder / "report.html").stat().st_size > 10_000
