"""Generated sounds for the evaluation's tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from scipy.signal import lfilter

import streamcodec
from streamcodec.evaluation.alignment import resample


def voice(sample_rate_hz: int, seconds: float, seed: int = 0) -> NDArray[np.float64]:
    """A gliding pulse train through three formants, in syllables with pauses, and a little breath noise."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(sample_rate_hz * seconds)) / sample_rate_hz
    phase = np.cumsum(110 + 20 * np.sin(2 * np.pi * 0.7 * time_s + seed)) / sample_rate_hz
    source = np.diff(np.floor(phase), prepend=0.0) + 0.02 * rng.standard_normal(len(time_s))
    for frequency_hz, width_hz in ((600.0, 90.0), (1500.0, 120.0), (2700.0, 180.0)):
        radius = np.exp(-np.pi * width_hz / sample_rate_hz)
        angle = 2 * np.pi * frequency_hz / sample_rate_hz
        source = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], source)
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * time_s), 0, None) ** 0.5
    sound = source * syllables
    return np.asarray(0.4 * sound / np.abs(sound).max() + 2e-4 * rng.standard_normal(len(sound)))


@pytest.fixture(scope="session")
def voice_16k() -> NDArray[np.float64]:
    """Two seconds at 16 kHz."""
    return voice(16_000, 2.0)


@pytest.fixture(scope="session")
def speech_16k() -> NDArray[np.float64]:
    """Five seconds of a read English sentence at 16 kHz."""
    samples, sample_rate_hz = soundfile.read(Path(streamcodec.__file__).parent / "demo_data" / "speech.flac")
    return resample(samples, sample_rate_hz, 16_000)


@pytest.fixture(scope="session")
def sound_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``speech/a.wav``, ``speech/deep/b.flac`` (24 kHz), ``music/tune.ogg`` and a file that is not sound."""
    folder = tmp_path_factory.mktemp("sounds")
    (folder / "speech" / "deep").mkdir(parents=True)
    (folder / "music").mkdir()
    soundfile.write(folder / "speech" / "a.wav", voice(16_000, 1.6), 16_000)
    soundfile.write(folder / "speech" / "deep" / "b.flac", voice(24_000, 1.6, seed=1), 24_000)
    stereo = np.stack([voice(48_000, 1.2, seed=2), voice(48_000, 1.2, seed=3)], axis=1)
    soundfile.write(folder / "music" / "tune.ogg", stereo, 48_000)
    (folder / "speech" / "notes.txt").write_text("not sound")
    return folder
