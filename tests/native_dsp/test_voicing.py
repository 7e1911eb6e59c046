"""Voicing: what repeats at the pitch of a voice, whatever its level and however it is cut into frames."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from native_dsp.filters.pitch_filter import BAND_EDGES_HZ, COARSE_STEP, PITCH_EDGE, low_pass_taps
from native_dsp.filters.voicing import make_voicing, voicing
from tests.helpers.pitch_filter import noise, voice

RATE_HZ, FRAME = 24_000, 480
Sound = NDArray[np.float32]


def measured(sound: Sound) -> Sound:
    state = make_voicing(RATE_HZ, FRAME)
    return np.array([voicing(state, frame) for frame in sound.reshape(-1, FRAME)], np.float32)


@pytest.mark.parametrize("pitch_hz", [65.0, 110.0, 220.0, 400.0])
@pytest.mark.parametrize("level", [1.0, 0.01])
def test_a_voice_repeats_itself_at_any_level(pitch_hz: float, level: float) -> None:
    assert measured(np.float32(level) * voice(0.4, pitch_hz))[3:].min() > 0.95


def test_noise_repeats_itself_little_and_silence_not_at_all() -> None:
    hiss = measured(noise(FRAME * 200, 0.1))
    assert np.median(hiss) < 0.45
    assert hiss.max() < 0.75
    assert not measured(np.zeros(FRAME * 5, np.float32)).any()


def test_it_is_the_best_correlation_over_all_lags() -> None:
    """Against a plain search with numpy."""
    sound = voice(0.3, 130.0) + noise(round(0.3 * RATE_HZ), 0.05, seed=3)
    state = make_voicing(RATE_HZ, FRAME)
    half = low_pass_taps(BAND_EDGES_HZ[PITCH_EDGE] / RATE_HZ, len(state.taps) // 2)
    taps = np.concatenate([half[:0:-1], half]).astype(np.float64)
    padded = np.concatenate([np.zeros(4 * FRAME), sound])
    low = np.convolve(padded, taps)[: len(padded)]
    for k, frame in enumerate(sound.reshape(-1, FRAME)):
        end = 4 * FRAME + (k + 1) * FRAME
        newest = low[end - FRAME : end : COARSE_STEP]
        best = 0.0
        for lag in range(state.longest_lag - state.squares.shape[1] + 1, state.longest_lag + 1):
            before = low[end - FRAME - COARSE_STEP * lag : end - COARSE_STEP * lag : COARSE_STEP]
            power = float(newest @ newest) * float(before @ before)
            best = max(best, float(newest @ before) / power**0.5 if power > 0 else 0.0)
        assert voicing(state, frame) == pytest.approx(best, abs=1e-3)


def test_a_copy_goes_on_alike() -> None:
    sound = voice(0.4, 150.0).reshape(-1, FRAME)
    state = make_voicing(RATE_HZ, FRAME)
    for frame in sound[:9]:
        voicing(state, frame)
    copy = state.copy()
    assert [voicing(state, p) for p in sound[9:]] == [voicing(copy, p) for p in sound[9:]]


def test_frames_must_fit_the_coarse_samples() -> None:
    with pytest.raises(ValueError, match="multiple of 3"):
        make_voicing(RATE_HZ, 481)
