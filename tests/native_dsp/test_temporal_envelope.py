"""Temporal-envelope filter: bands above 1.6 kHz follow what the network asks for, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from native_dsp.filters.temporal_envelope import (
    LEVELS,
    LOW_BINS,
    PAST,
    TEMPORAL_WEIGHT_SHAPES,
    TemporalWeights,
    filter_temporal_envelope,
    make_temporal_filter,
    no_temporal_weights,
)

RATE_HZ, FRAME, AHEAD = 24_000, 480, 120
VOICED, UNVOICED = np.full(4, 0.9, np.float32), np.zeros(4, np.float32)
Sound = NDArray[np.float32]


def following(strength: float) -> TemporalWeights:
    """A network that asks all bands to rise where the low band stands above its mean over the blocks before."""
    hidden, hidden_bias, quality, out = (np.zeros(shape, np.float32) for shape in TEMPORAL_WEIGHT_SHAPES)
    # Leaky rectifiers of both signs: their difference is 1.1 times the sum.
    for r in range(PAST + 1):
        share = (float(r == PAST) - 1.0 / (PAST + 1)) / LOW_BINS
        hidden[r * LEVELS : r * LEVELS + LOW_BINS, 0] = share
        hidden[r * LEVELS : r * LEVELS + LOW_BINS, 1] = -share
    out[0], out[1] = strength / 1.1, -strength / 1.1
    return TemporalWeights(hidden, hidden_bias, quality, out)


def asking_always() -> TemporalWeights:
    """A network that asks the same of every block."""
    hidden, hidden_bias, quality, out = (np.zeros(shape, np.float32) for shape in TEMPORAL_WEIGHT_SHAPES)
    hidden_bias[0], out[0] = 1.0, 1.5
    return TemporalWeights(hidden, hidden_bias, quality, out)


def filtered(sound: Sound, weights: TemporalWeights, correlations: Sound = VOICED) -> Sound:
    state = make_temporal_filter(RATE_HZ, FRAME, weights)
    padded = np.concatenate([sound, np.zeros(AHEAD, np.float32)])
    out = sound.copy()
    for start in range(0, len(sound), FRAME):
        ahead = padded[start + FRAME : start + FRAME + AHEAD]
        filter_temporal_envelope(state, weights, correlations, 0.5, ahead, out[start : start + FRAME])
    return out


def pulses_and_noise(seconds: float = 1.0) -> tuple[Sound, NDArray[np.float64]]:
    """Bursts of 500 Hz every 10 ms and even noise, and where the bursts are."""
    count = round(seconds * RATE_HZ)
    time_s = np.arange(count) / RATE_HZ
    burst = np.exp(-0.5 * (((time_s + 0.005) % 0.01 - 0.005) / 0.0015) ** 2)
    noise = 0.05 * np.random.default_rng(1).standard_normal(count)
    return (0.3 * burst * np.sin(2 * np.pi * 500 * time_s) + noise).astype(np.float32), burst


def band(sound: Sound, low_hz: float, high_hz: float) -> NDArray[np.float64]:
    spectrum = np.fft.rfft(sound.astype(np.float64))
    hz = np.fft.rfftfreq(len(sound), 1 / RATE_HZ)
    spectrum[(hz < low_hz) | (hz > high_hz)] = 0
    return np.fft.irfft(spectrum, len(sound))


@pytest.mark.parametrize(
    ("weights", "correlations"),
    [(no_temporal_weights(), VOICED), (following(2.0), UNVOICED), (asking_always(), VOICED)],
    ids=["no network", "no voice", "the same asked of all blocks"],
)
def test_sound_passes_to_the_last_bit(weights: TemporalWeights, correlations: Sound) -> None:
    sound, _ = pulses_and_noise()
    np.testing.assert_array_equal(filtered(sound, weights, correlations), sound)


def test_noise_follows_the_pulses_of_the_low_band_at_the_same_power() -> None:
    sound, burst = pulses_and_noise()
    shaped = filtered(sound, following(2.0))
    inside, before = (band(each, 1_900, 3_400) for each in (shaped, sound))
    in_bursts, between = burst > 0.8, burst < 0.05

    def swell_db(noise: NDArray[np.float64]) -> float:
        return float(10 * np.log10(np.mean(noise[in_bursts] ** 2) / np.mean(noise[between] ** 2)))

    assert abs(swell_db(before)) < 1.0
    assert swell_db(inside) > 4.0
    assert abs(10 * np.log10(np.mean(inside**2) / np.mean(before**2))) < 1.0


def test_other_frequencies_are_left_alone() -> None:
    sound, _ = pulses_and_noise()
    change = filtered(sound, following(1.0)) - sound
    for low_hz, high_hz in ((0, 1_000), (4_400, 12_000)):
        share = np.mean(band(change, low_hz, high_hz) ** 2) / np.mean(band(sound, low_hz, high_hz) ** 2)
        assert 10 * np.log10(share + 1e-12) < -30.0, (low_hz, high_hz)


def test_a_copied_state_goes_on_alike() -> None:
    sound, _ = pulses_and_noise(0.2)
    weights = following(1.0)
    state = make_temporal_filter(RATE_HZ, FRAME, weights)
    ahead = np.zeros(AHEAD, np.float32)
    filter_temporal_envelope(state, weights, VOICED, 0.5, ahead, sound[:FRAME].copy())
    twin = state.copy()
    ours, theirs = sound[FRAME : 2 * FRAME].copy(), sound[FRAME : 2 * FRAME].copy()
    filter_temporal_envelope(state, weights, VOICED, 0.5, ahead, ours)
    filter_temporal_envelope(twin, weights, VOICED, 0.5, ahead, theirs)
    np.testing.assert_array_equal(ours, theirs)
    assert np.abs(ours - sound[FRAME : 2 * FRAME]).max() > 0


def test_frames_of_another_length_have_no_filter() -> None:
    with pytest.raises(ValueError, match="480 samples"):
        make_temporal_filter(RATE_HZ, 240, following(1.0))
    assert make_temporal_filter(16_000, 320, no_temporal_weights()).sound.size > 0
