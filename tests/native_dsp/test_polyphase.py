"""Polyphase resampler: the obvious definition, its delay, what it passes and what it keeps out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from native_dsp.transforms.polyphase import PolyphaseState, low_pass, make_polyphase, resample_block
from tests.helpers.pitch_filter import decibels, noise

RATES_HZ = [(16_000, 24_000), (24_000, 16_000), (44_100, 24_000), (24_000, 44_100), (48_000, 24_000), (24_000, 8_000)]
Sound = NDArray[np.float32]


def periods(in_hz: int, out_hz: int, count: int = 20) -> float:
    """So many periods of the lower rate, rounded up to samples of the output."""
    return math.ceil(count * out_hz / min(in_hz, out_hz)) / out_hz


def resampled(sound: Sound, in_hz: int, out_hz: int, block_s: float = 0.02, attenuation_db: float = 50.0) -> Sound:
    block = round(block_s * in_hz)
    state = make_polyphase(in_hz, out_hz, block, periods(in_hz, out_hz), attenuation_db)
    out = np.empty((len(sound) // block, block * out_hz // in_hz), np.float32)
    for k, row in enumerate(out):
        resample_block(state, sound[k * block : (k + 1) * block], row)
    return out.reshape(-1)


def tone(hz: float, rate_hz: int, seconds: float = 0.5, delay_s: float = 0.0) -> Sound:
    t = np.arange(round(seconds * rate_hz)) / rate_hz - delay_s
    return np.sin(2 * np.pi * hz * t).astype(np.float32)


@pytest.mark.parametrize(("in_hz", "out_hz"), RATES_HZ)
def test_it_is_filtering_at_the_rate_that_both_divide(in_hz: int, out_hz: int) -> None:
    """Zeros put in, one long filter, one sample in so many kept."""
    sound = noise(in_hz // 10, 0.3, seed=5)
    common = math.gcd(in_hz, out_hz)
    up, down = out_hz // common, in_hz // common
    taps = low_pass(round(periods(in_hz, out_hz) * in_hz * up), in_hz * up, min(in_hz, out_hz) / 2, 50.0)
    for place in range(up):
        taps[place::up] /= taps[place::up].sum()
    stuffed = np.zeros(len(sound) * up)
    stuffed[::up] = sound
    expected = np.convolve(stuffed, taps)[: len(stuffed) : down]
    np.testing.assert_allclose(resampled(sound, in_hz, out_hz), expected, atol=2e-6)


@pytest.mark.parametrize(("in_hz", "out_hz"), RATES_HZ)
def test_what_both_rates_hold_comes_out_as_it_was_and_where_it_should(in_hz: int, out_hz: int) -> None:
    for share in (0.01, 0.3, 0.6, 0.84):
        hz = share * min(in_hz, out_hz) / 2
        expected = tone(hz, out_hz, delay_s=periods(in_hz, out_hz))
        error = (resampled(tone(hz, in_hz), in_hz, out_hz) - expected)[out_hz // 10 :]
        assert decibels(error) < -45


@pytest.mark.parametrize("attenuation_db", [40.0, 50.0, 70.0])
def test_what_the_lower_rate_cannot_hold_stays_out(attenuation_db: float) -> None:
    for hz in (8_050.0, 8_400.0, 9_700.0, 11_900.0):
        heard = resampled(tone(hz, 24_000), 24_000, 16_000, attenuation_db=attenuation_db)[1_600:]
        assert decibels(heard) - decibels(tone(hz, 24_000)) < 1.5 - attenuation_db


@pytest.mark.parametrize(("in_hz", "out_hz"), RATES_HZ)
def test_a_constant_stays_one(in_hz: int, out_hz: int) -> None:
    heard = resampled(np.full(in_hz // 10, 0.5, np.float32), in_hz, out_hz)
    np.testing.assert_allclose(heard[-out_hz // 20 :], 0.5, atol=1e-6)


def test_the_length_of_blocks_does_not_matter() -> None:
    sound = noise(16_000, 0.3, seed=6)
    np.testing.assert_array_equal(
        resampled(sound, 16_000, 24_000, 0.02), resampled(sound, 16_000, 24_000, 2 / 16_000)
    )


def test_a_copy_goes_on_by_itself() -> None:
    def fresh() -> PolyphaseState:
        return make_polyphase(48_000, 24_000, 96, 0.001, 50.0)

    state, out, again = fresh(), np.empty(48, np.float32), np.empty(48, np.float32)
    first, second = noise(96, 0.3), noise(96, 0.3, seed=1)
    resample_block(state, first, out)
    twin = state.copy()
    resample_block(state, second, out)
    resample_block(state, first, np.empty(48, np.float32))
    resample_block(twin, second, again)
    np.testing.assert_array_equal(again, out)


def test_blocks_that_do_not_come_out_whole_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 147"):
        make_polyphase(44_100, 24_000, 441 + 1, 0.001, 50.0)
    with pytest.raises(ValueError, match="whole number"):
        make_polyphase(44_100, 24_000, 441, 0.001003, 50.0)
