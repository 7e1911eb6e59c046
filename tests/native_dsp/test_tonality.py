"""Which frames are steady tones: keys of a telephone and whistles, not voices, hiss or silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

import streamcodec
from native_dsp.filters.tonality import tonal
from native_dsp.transforms.companding import analyse_companded
from native_dsp.transforms.stft import make_stft
from native_dsp.transforms.windows import low_delay_pair
from streamcodec.evaluation.dtmf import KEY_RATE_HZ, KEYS, key_tones

FFT, HOP, OVERLAP = 512, 240, 120


def tonal_frames(sound: NDArray[np.float32], rate_hz: int = KEY_RATE_HZ) -> NDArray[np.bool_]:
    stft = make_stft(FFT, HOP, *low_delay_pair(FFT, HOP, OVERLAP), HOP + OVERLAP)
    bins = FFT // 2 + 1
    re, im = np.zeros(bins, np.float32), np.zeros(bins, np.float32)
    companded = np.zeros((2, 2 * bins), np.float32)
    found = []
    for start in range(0, len(sound) - 2 * HOP + 1, 2 * HOP):
        analyse_companded(stft, sound[start : start + 2 * HOP], re, im, companded)
        found.append(tonal(companded, float(rate_hz)))
    return np.array(found)


def test_all_of_every_key_is_tonal_and_no_pause() -> None:
    assert tonal_frames(key_tones()).sum() == 5 * len(KEYS)


def test_keys_in_hiss_and_a_whistle_are_tonal() -> None:
    hiss = 0.01 * np.random.default_rng(0).standard_normal(len(key_tones()))
    assert tonal_frames((key_tones() + hiss).astype(np.float32)).sum() >= 5 * len(KEYS) - 2
    whistle = np.sin(2.0 * np.pi * 1_500.0 * np.arange(KEY_RATE_HZ) / KEY_RATE_HZ)
    assert tonal_frames((0.1 * whistle).astype(np.float32))[1:].all()


def test_voices_hiss_and_silence_are_not() -> None:
    speech, rate_hz = soundfile.read(Path(streamcodec.__file__).parent / "demo_data" / "speech.flac", dtype="float32")
    assert rate_hz == KEY_RATE_HZ
    assert not tonal_frames(speech).any()
    assert not tonal_frames(np.random.default_rng(1).standard_normal(KEY_RATE_HZ).astype(np.float32)).any()
    assert not tonal_frames(np.zeros(KEY_RATE_HZ, np.float32)).any()
