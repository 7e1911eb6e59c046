"""Levels of tones through known systems, and lines that were put into noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

import streamcodec
from streamcodec import decode_array, encode_array
from streamcodec.evaluation.dtmf import KEY_RATE_HZ, KEYS, key_tones, keys_read, read_keys
from streamcodec.evaluation.errors import UnscorableError
from streamcodec.evaluation.systems import Coded
from streamcodec.evaluation.tones import TONES_HZ, added_lines_db, tone_levels_db


def softer(samples: NDArray[np.float32], sample_rate_hz: int, kbps: float) -> Coded:
    return Coded(0.5 * samples, sample_rate_hz, 1, 1, 1)


def hiss(samples: NDArray[np.float32], sample_rate_hz: int, kbps: float) -> Coded:
    noise = np.random.default_rng(0).standard_normal(len(samples)) * np.std(samples)
    return Coded(noise.astype(np.float32), sample_rate_hz, 1, 1, 1)


def test_a_tone_at_half_its_amplitude_is_six_decibels_down() -> None:
    levels = tone_levels_db(softer, 6.0)
    assert list(levels) == list(TONES_HZ)
    assert list(levels.values()) == pytest.approx([-6.02] * len(TONES_HZ), abs=0.01)


def test_noise_of_the_same_power_is_no_tone() -> None:
    assert all(level < -20.0 for level in tone_levels_db(hiss, 6.0).values())


def test_a_line_that_was_added_is_found_where_it_is_and_one_that_was_there_is_not() -> None:
    noise = np.random.default_rng(1).standard_normal(72_000)
    seconds = np.arange(len(noise)) / 24_000
    line = 0.25 * np.sin(2.0 * np.pi * 11_496.0 * seconds)
    ((where_hz, height_db),) = added_lines_db(noise, noise + line, 24_000).items()
    assert where_hz == pytest.approx(11_496.0, abs=6.0)
    assert height_db > 12.0
    assert not added_lines_db(noise + line, noise + line, 24_000)
    assert not added_lines_db(noise, 0.1 * noise, 24_000)


def test_too_little_sound_is_one_sentence() -> None:
    with pytest.raises(UnscorableError, match="4096"):
        added_lines_db(np.zeros(100), np.zeros(100), 24_000)


@pytest.mark.parametrize("level", [0.0, 0.001, 0.03])
def test_the_codec_adds_no_tone_to_silence_and_noise(level: float) -> None:
    noise = level * np.random.default_rng(2).standard_normal(8 * 24_000)
    decoded = decode_array(encode_array(noise.astype(np.float32), 24_000, 6_000))
    assert max(added_lines_db(noise, decoded.astype(np.float64), 24_000).values(), default=0.0) < 6.5


def test_the_codec_adds_no_tone_to_speech() -> None:
    speech, rate_hz = soundfile.read(Path(streamcodec.__file__).parent / "demo_data" / "speech.flac")
    decoded = decode_array(encode_array(speech.astype(np.float32), rate_hz, 6_000))
    lines = added_lines_db(speech, decoded.astype(np.float64), rate_hz)
    # Of five seconds each lower bin has its chance highs; the tone that was there had its place.
    assert max((height for where, height in lines.items() if where > 11_440.0), default=0.0) < 6.0


def test_every_key_is_read_as_it_is_and_in_order() -> None:
    assert read_keys(key_tones(), KEY_RATE_HZ) == KEYS
    assert keys_read(softer, 6.0) == len(KEYS)


def coded_alone(samples: NDArray[np.float32], sample_rate_hz: int, kbps: float) -> Coded:
    encoded = encode_array(samples, sample_rate_hz, 1_000.0 * kbps)
    return Coded(np.asarray(decode_array(encoded)), sample_rate_hz, encoded.payload_bytes, 1, 1)


def test_every_key_is_read_at_3_2_kbps() -> None:
    assert keys_read(coded_alone, 3.2) == len(KEYS)


def test_tones_that_go_on_get_the_rate_that_was_asked_for() -> None:
    seconds = np.arange(12 * 24_000) / 24_000
    whistle = 0.2 * np.sin(2.0 * np.pi * 1_000.0 * seconds)
    assert encode_array(whistle.astype(np.float32), 24_000, 3_200).payload_bps == pytest.approx(3_200, rel=0.1)


def test_noise_speech_and_single_tones_are_no_keys() -> None:
    assert keys_read(hiss, 6.0) == 0
    seconds = np.arange(KEY_RATE_HZ) / KEY_RATE_HZ
    assert read_keys(0.2 * np.sin(2 * np.pi * 941 * seconds), KEY_RATE_HZ) == ""
    speech, rate_hz = soundfile.read(Path(streamcodec.__file__).parent / "demo_data" / "speech.flac")
    assert read_keys(speech if speech.ndim == 1 else speech[:, 0], rate_hz) == ""


def test_keys_with_half_their_power_in_hiss_are_read_and_with_most_of_it_are_not() -> None:
    tones = key_tones()
    noise = np.random.default_rng(2).standard_normal(len(tones))
    assert read_keys(tones + 0.02 * noise, KEY_RATE_HZ) == KEYS
    assert read_keys(tones + 0.6 * noise, KEY_RATE_HZ) != KEYS
