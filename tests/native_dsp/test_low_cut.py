"""The low cut takes out what lies below a voice, leaves all else to the last bit, and goes on from a copy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import butter, sosfreqz

from native_dsp.filters.low_cut import CUT_HZ, STEP, cut_lows, make_low_cut

RATE_HZ = 24_000
Float32Array = NDArray[np.float32]


def voice(seconds: float = 4.0) -> Float32Array:
    """Harmonics of 110 Hz in syllables."""
    t = np.arange(round(RATE_HZ * seconds)) / RATE_HZ
    sound = sum(np.sin(2 * np.pi * 110 * k * t) / k for k in range(1, 20)) * np.clip(np.sin(2 * np.pi * 2 * t), 0, 1)
    return np.asarray(0.3 * sound / np.abs(sound).max(), np.float32)


def cut(sound: NDArray[np.floating], block: int = 480) -> Float32Array:
    state = make_low_cut(RATE_HZ)
    out = np.asarray(sound, np.float32).copy()
    for start in range(0, len(out), block):
        cut_lows(state, out[start : start + block])
    return out


def test_a_voice_passes_to_the_last_bit() -> None:
    for gain in (1.0, 3.0, 0.01):
        sound = np.asarray(gain * voice(), np.float32)
        np.testing.assert_array_equal(cut(sound), sound)


@pytest.mark.parametrize("offset", [0.02, 0.05, -0.1])
def test_an_offset_is_gone_in_a_quarter_of_a_second_and_the_voice_stays(offset: float) -> None:
    sound = voice()
    out = cut(sound + np.float32(offset))
    settled = slice(RATE_HZ // 4, None)
    assert abs(out[settled].mean()) < 0.02 * abs(offset)
    spectrum, wanted = (np.abs(np.fft.rfft(x[settled].astype(np.float64))) for x in (out, sound))
    bins_hz = np.fft.rfftfreq(len(sound[settled]), 1 / RATE_HZ)
    high = bins_hz > 200
    np.testing.assert_allclose(np.sum(spectrum[high] ** 2), np.sum(wanted[high] ** 2), rtol=0.02)


def test_rumble_and_hum_are_lowered_as_the_filter_says() -> None:
    t = np.arange(4 * RATE_HZ) / RATE_HZ
    sos = butter(4, CUT_HZ, "high", fs=RATE_HZ, output="sos")
    for frequency_hz in (20.0, 50.0):
        out = cut(0.1 * np.sin(2 * np.pi * frequency_hz * t))
        _, response = sosfreqz(sos, worN=[frequency_hz], fs=RATE_HZ)
        assert np.std(out[-RATE_HZ:]) == pytest.approx(0.1 / np.sqrt(2) * abs(response[0]), rel=0.02)


def test_a_click_stays_a_click() -> None:
    sound = np.zeros(RATE_HZ, np.float32)
    sound[RATE_HZ // 2] = 1.0
    out = cut(sound)
    assert out[RATE_HZ // 2] > 0.95
    assert np.sum(np.abs(out)) < 1.6


def test_when_the_offset_ends_the_sound_is_its_own_again() -> None:
    sound = voice(12.0)
    sound[: 2 * RATE_HZ] += np.float32(0.01)
    out = cut(sound)
    assert np.any(out[:RATE_HZ] != sound[:RATE_HZ])
    np.testing.assert_array_equal(out[-RATE_HZ:], sound[-RATE_HZ:])
    # Nothing jumps on the way.
    assert np.max(np.abs(np.diff(out - sound)[STEP:])) < 0.02


def test_blocks_of_any_number_of_steps_give_the_same_and_copies_go_on_alike() -> None:
    sound = voice() + np.float32(0.05)
    np.testing.assert_array_equal(cut(sound), cut(sound, 4_800))
    state = make_low_cut(RATE_HZ)
    cut_lows(state, sound[:4_800].copy())
    copy = state.copy()
    one, other = sound[4_800:9_600].copy(), sound[4_800:9_600].copy()
    cut_lows(state, one)
    cut_lows(copy, other)
    np.testing.assert_array_equal(one, other)
    odd = sound[: STEP + 3].copy()
    cut_lows(state, odd)
    np.testing.assert_array_equal(odd[STEP:], sound[STEP : STEP + 3])
