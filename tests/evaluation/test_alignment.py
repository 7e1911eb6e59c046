"""Delay removal and resampling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamcodec.evaluation.alignment import AlignedPair, align, delay_samples, resample

NOISE = np.random.default_rng(3).standard_normal(4000)


@settings(max_examples=40, deadline=None)
@given(delay=st.integers(-800, 800), gain=st.floats(0.05, 3.0))
def test_a_known_delay_is_found_and_undone_exactly(delay: int, gain: float) -> None:
    shifted = np.pad(NOISE, (delay, 0)) if delay >= 0 else NOISE[-delay:]
    assert delay_samples(NOISE, gain * shifted, 1000) == delay
    reference, decoded = align(NOISE, shifted, 1000)
    np.testing.assert_array_equal(reference, decoded)
    assert len(reference) == min(len(NOISE), len(shifted))


def test_delay_is_found_under_noise() -> None:
    rng = np.random.default_rng(4)
    noisy = np.pad(NOISE, (123, 0)) + 0.7 * rng.standard_normal(4123)
    assert delay_samples(NOISE, noisy, 500) == 123


def test_delay_beyond_the_limit_is_not_searched() -> None:
    assert abs(delay_samples(NOISE, np.pad(NOISE, (900, 0)), 100)) <= 100


def test_silence_has_no_delay() -> None:
    assert delay_samples(np.zeros(500), np.zeros(700), 100) == 0
    assert delay_samples(NOISE, np.zeros(700), 100) == 0


@pytest.mark.parametrize(("from_hz", "to_hz"), [(48_000, 16_000), (16_000, 24_000), (44_100, 16_000)])
def test_resampling_keeps_a_tone_in_place(from_hz: int, to_hz: int) -> None:
    def tone(rate_hz: int) -> NDArray[np.float64]:
        return np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz)

    out = resample(tone(from_hz), from_hz, to_hz)
    assert len(out) == to_hz
    inner = slice(to_hz // 10, -to_hz // 10)
    np.testing.assert_allclose(out[inner], tone(to_hz)[inner], atol=1e-4)


def test_a_pair_is_aligned_at_every_rate(voice_16k: NDArray[np.float64]) -> None:
    upsampled = np.pad(resample(voice_16k, 16_000, 48_000), (480, 0))
    pair = AlignedPair(voice_16k, 16_000, upsampled, 48_000)
    for rate_hz in (16_000, 24_000, 48_000):
        reference, decoded = pair.at(rate_hz)
        assert reference.shape == decoded.shape
        assert np.abs(reference - decoded).max() < 2e-2 * np.abs(reference).max()
