"""Augmentation: each change does what it says and no more, and the trusted bandwidth follows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcodec.training.augment import (
    AugmentationConfig,
    Augmenter,
    change_speed,
    limit_band,
    reverberate,
    room_response,
)

RATE_HZ = 24_000
SEGMENT = 19_200
NOTHING = AugmentationConfig(
    speed_chance=0, reverb_chance=0, band_limit_chance=0, noise_chance=0, gap_chance=0, empty_band_chance=0
)


def tone(hz: float, samples: int = SEGMENT) -> NDArray[np.float32]:
    return (0.1 * np.sin(2 * np.pi * hz * np.arange(samples) / RATE_HZ)).astype(np.float32)


def noise(seed: int, samples: int = SEGMENT) -> NDArray[np.float32]:
    return 0.1 * np.random.default_rng(seed).standard_normal(samples, dtype=np.float32)


def power_above(samples: NDArray[np.float32], hz: float) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size))) ** 2
    return float(spectrum[round(hz * samples.size / RATE_HZ) :].sum() / spectrum.sum())


def augmented(
    config: AugmentationConfig, seed: int, sound: NDArray[np.float32], bandwidth_hz: float = 12_000
) -> tuple[NDArray[np.float32], float]:
    return Augmenter(config, RATE_HZ).change(sound, SEGMENT, bandwidth_hz, noise(99), np.random.default_rng(seed))


@pytest.mark.parametrize("speed", [0.9, 1.12])
def test_speed_moves_the_pitch(speed: float) -> None:
    changed = change_speed(tone(1_000, round(SEGMENT * speed)), SEGMENT)
    assert changed.shape == (SEGMENT,)
    peak_hz = np.argmax(np.abs(np.fft.rfft(changed))) * RATE_HZ / SEGMENT
    assert peak_hz == pytest.approx(1_000 * speed, abs=2)


def test_a_slowed_segment_is_trusted_in_a_narrower_band() -> None:
    assert augmented(NOTHING, 0, noise(1, round(0.9 * SEGMENT)), 8_000)[1] == pytest.approx(7_200)
    assert augmented(NOTHING, 0, noise(1, round(1.1 * SEGMENT)), 12_000)[1] == 12_000


def test_a_room_rings_as_long_as_it_was_asked_to() -> None:
    rng = np.random.default_rng(0)
    response = room_response(RATE_HZ, 0.4, 5.0, rng)
    assert np.sum(response**2) == pytest.approx(1.0, rel=1e-4)
    tail = response[1:]
    assert 10 * np.log10(response[0] ** 2 / np.sum(tail**2)) == pytest.approx(5.0, abs=0.1)
    # Schroeder's backward integration: the slope from 0.1 to 0.25 s gives the time to fall by 60 dB.
    left = 10 * np.log10(np.cumsum(response[::-1] ** 2)[::-1])
    slope_db_per_s = (left[int(0.25 * RATE_HZ)] - left[int(0.1 * RATE_HZ)]) / 0.15
    assert -60 / slope_db_per_s == pytest.approx(0.4, rel=0.15)
    assert not response[1 : int(0.002 * RATE_HZ)].any()


def test_reverberation_keeps_length_and_start() -> None:
    click = np.zeros(SEGMENT, np.float32)
    click[100] = 1.0
    response = room_response(RATE_HZ, 0.3, 0.0, np.random.default_rng(1))
    heard = reverberate(click, response)
    assert heard.shape == click.shape
    np.testing.assert_allclose(heard[100 : 100 + response.size], response, atol=1e-6)
    assert np.abs(heard[:100]).max() < 1e-6


def test_band_limit_removes_what_is_above_and_nothing_below() -> None:
    sound = noise(2)
    limited = limit_band(sound, RATE_HZ, 5_000)
    assert power_above(limited, 5_050) < 1e-6 < 0.5 < power_above(sound, 5_050)
    low = tone(3_000)
    np.testing.assert_allclose(limit_band(low, RATE_HZ, 5_000)[200:-200], low[200:-200], atol=1e-3)


def test_band_limited_segments_say_so() -> None:
    config = dataclasses.replace(NOTHING, band_limit_chance=1.0)
    for seed in range(5):
        segment, bandwidth_hz = augmented(config, seed, noise(seed))
        assert 3_400 <= bandwidth_hz <= 8_000
        assert power_above(segment, bandwidth_hz + 50) < 1e-6
    told = [augmented(dataclasses.replace(config, empty_band_chance=0.5), seed, noise(3))[1] for seed in range(40)]
    assert 8 < sum(hz == 12_000 for hz in told) < 32


def test_each_change_comes_as_often_as_asked() -> None:
    sound = noise(4)
    for name in ("reverb_chance", "band_limit_chance", "noise_chance", "gap_chance"):
        config = dataclasses.replace(NOTHING, level_db=(-20.0, -20.0), **{name: 0.5})
        base = dataclasses.replace(NOTHING, level_db=(-20.0, -20.0))
        plain = np.abs(augmented(base, 0, sound)[0])
        changed = [not np.allclose(np.abs(augmented(config, seed, sound)[0]), plain) for seed in range(40)]
        assert 8 < sum(changed) < 32, name
    cuts = [
        Augmenter(AugmentationConfig(), RATE_HZ).source_samples(1_000, 1_100, np.random.default_rng(k))
        for k in range(200)
    ]
    assert max(cuts) <= 1_100
    assert 20 < sum(cut != 1_000 for cut in cuts) < 65


def test_level_lands_where_it_was_drawn() -> None:
    config = dataclasses.replace(NOTHING, level_db=(-25.0, -25.0), reverb_chance=1.0)
    segment, _ = augmented(config, 3, noise(5))
    assert 20 * np.log10(np.sqrt(np.mean(segment**2))) == pytest.approx(-25.0, abs=0.1)
