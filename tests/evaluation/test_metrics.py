"""Metrics on sounds whose scores are known or ordered."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamcodec.evaluation import METRICS, Metric, full_reference, no_reference, select_metrics, spectral, words
from streamcodec.evaluation.alignment import AlignedPair
from streamcodec.evaluation.errors import MissingPackageError, UnknownNameError, UnscorableError
from streamcodec.evaluation.harmonicity import band_pass

Samples = NDArray[np.float64]

BEST = {
    "pesq": 4.64,
    "visqol": 4.53,
    "visqol_audio": 4.73,
    "stoi": 1.0,
    "estoi": 1.0,
    "lsd16": 0.0,
    "spectral_distortion": 0.0,
    "mse": 0.0,
    "l1": 0.0,
    "mel16": 0.0,
    "mel24": 0.0,
    "zimtohrli": 5.0,
    "speaker": 1.0,
}


def score(metric: Metric, reference: Samples, decoded: Samples) -> float:
    if metric.missing:
        pytest.skip(f"{', '.join(metric.missing)} not installed")
    return metric.score(AlignedPair(reference, 16_000, decoded, 16_000))


@pytest.mark.parametrize("name", BEST)
def test_an_exact_copy_gets_the_best_score(name: str, voice_16k: Samples) -> None:
    assert score(METRICS[name], voice_16k, voice_16k) == pytest.approx(BEST[name], abs=0.05)


NO_REFERENCE = ("dnsmos", "plcmos", "distill_mos")
COARSE = ("words", "speaker", "harmonicity_1_2k", "harmonicity_2_4k", "harmonicity_4_7k")
"""Tell no small differences."""


@pytest.mark.parametrize("name", [name for name in METRICS if name not in (*NO_REFERENCE, *COARSE)])
def test_more_noise_scores_worse(name: str, voice_16k: Samples) -> None:
    metric = METRICS[name]
    noise = np.random.default_rng(0).standard_normal(len(voice_16k))
    scores = [score(metric, voice_16k, voice_16k + gain * noise) for gain in (0.0001, 0.0005, 0.003)]
    if metric.better == "high":
        assert scores[0] > scores[1] > scores[2]
    else:
        assert scores[0] < scores[1] < scores[2]


def test_waveform_accuracy_of_a_known_error() -> None:
    reference = np.tile([0.5, -0.5], 8000)
    decoded = reference + np.tile([0.05, 0.05, -0.05, -0.05], 4000)
    for name, value in {"snr": 20.0, "psnr": 20.0, "mse": 0.0025, "l1": 0.05}.items():
        assert METRICS[name].function(reference, decoded) == pytest.approx(value)
    assert METRICS["snr"].function(reference, reference) == np.inf


def test_metrics_of_the_research_bench_are_computed_only_when_asked_for() -> None:
    usual, _ = select_metrics()
    assert "snr" not in [metric.name for metric in usual]
    assert [metric.name for metric in select_metrics(["snr"])[0]] == ["snr"]


def test_dnsmos_hears_noise_and_repeats_a_short_sound(voice_16k: Samples) -> None:
    dnsmos = METRICS["dnsmos"]
    noise = 0.1 * np.random.default_rng(0).standard_normal(len(voice_16k))
    sound = np.concatenate([voice_16k, voice_16k, voice_16k[:9600]])
    clean = score(dnsmos, sound, sound)
    assert 1.0 < clean < 5.0
    assert score(dnsmos, sound, sound + np.resize(noise, len(sound))) < clean - 0.3
    assert dnsmos.function(sound, np.tile(sound, 2)) == clean


def test_plcmos_hears_missing_packets_and_repeats_itself(voice_16k: Samples) -> None:
    broken = voice_16k.copy().reshape(-1, 320)
    broken[::3] = 0.0
    whole = score(METRICS["plcmos"], voice_16k, voice_16k)
    assert score(METRICS["plcmos"], voice_16k, broken.reshape(-1)) < whole
    assert score(METRICS["plcmos"], voice_16k, voice_16k) == whole


def test_distill_mos_hears_noise_and_leaves_torchaudio_as_it_was(speech_16k: Samples) -> None:
    noise = 0.003 * np.random.default_rng(0).standard_normal(len(speech_16k))
    before = sys.modules.get("torchaudio")
    clean = score(METRICS["distill_mos"], speech_16k, speech_16k)
    assert clean == pytest.approx(4.30, abs=0.1)
    assert METRICS["distill_mos"].function(speech_16k, speech_16k + noise) < clean - 0.5
    assert sys.modules.get("torchaudio") is before
    with pytest.raises(UnscorableError, match="Distill-MOS"):
        METRICS["distill_mos"].function(speech_16k, np.zeros(16_000))


def test_a_voice_is_more_like_itself_through_a_telephone_than_like_a_higher_one(speech_16k: Samples) -> None:
    narrow = band_pass(speech_16k, 100.0, 4_000.0)
    faster = np.interp(np.arange(0.0, len(speech_16k) - 1, 1.5), np.arange(len(speech_16k)), speech_16k)
    likeness = score(METRICS["speaker"], speech_16k, narrow)
    assert likeness > 0.7
    assert METRICS["speaker"].function(speech_16k, faster) < likeness - 0.1
    with pytest.raises(UnscorableError, match="silence"):
        METRICS["speaker"].function(speech_16k, np.zeros(16_000))


def test_word_errors_count_what_is_no_longer_heard(speech_16k: Samples) -> None:
    sentence = speech_16k[:48_000]
    assert score(METRICS["words"], sentence, sentence) == 0.0
    heard = words.recognise((32767.0 * sentence).astype("<i2").tobytes())
    assert {"the", "stars", "cloud"} <= set(heard)
    assert METRICS["words"].function(sentence, np.zeros(16_000)) == 100.0
    with pytest.raises(UnscorableError, match="words"):
        METRICS["words"].function(np.zeros(16_000), sentence)


def test_edit_distance_of_known_words() -> None:
    spoken = ["one", "two", "three", "four"]
    assert words.edit_distance(spoken, spoken) == 0
    assert words.edit_distance(spoken, ["one", "three", "four", "five"]) == 2
    assert words.edit_distance(spoken, []) == 4
    assert words.edit_distance([], spoken) == 4


@pytest.mark.parametrize("name", ["harmonicity_1_2k", "harmonicity_2_4k", "harmonicity_4_7k"])
@pytest.mark.parametrize("pitch_hz", [95.0, 210.0])
def test_pulses_are_harmonic_and_noise_in_their_place_is_not(name: str, pitch_hz: float) -> None:
    seconds = np.arange(24_000) / 16_000
    pulses = np.sum([np.cos(2 * np.pi * k * pitch_hz * seconds) for k in range(1, int(7_900 / pitch_hz))], axis=0)
    noise = np.random.default_rng(3).standard_normal(len(pulses)) * np.std(pulses)
    metric = METRICS[name]
    assert metric.score(AlignedPair(pulses, 16_000, pulses, 16_000)) > 0.94
    assert metric.function(pulses, noise) < 0.2
    half = metric.function(pulses, pulses + noise)
    assert 0.3 < half < 0.7


def test_the_end_of_a_sound_says_nothing_of_how_harmonic_its_beginning_is() -> None:
    seconds = np.arange(16_000) / 16_000
    pulses = np.sum([np.cos(2 * np.pi * k * 60.0 * seconds) for k in range(1, 15)], axis=0) * (seconds < 0.1)
    noise = np.random.default_rng(3).standard_normal(16_000)
    again = noise.copy()
    again[-320:] = noise[267 : 267 + 320]  # the first frame, at the longest lag
    score = METRICS["harmonicity_4_7k"].function
    assert score(pulses, again) == pytest.approx(score(pulses, noise), abs=0.01)


def test_harmonicity_has_no_value_where_nothing_is_voiced() -> None:
    noise = np.random.default_rng(4).standard_normal(16_000)
    for sound in (noise, np.zeros(16_000), np.zeros(100)):
        with pytest.raises(UnscorableError, match="voiced"):
            METRICS["harmonicity_1_2k"].function(sound, sound)


@settings(max_examples=30, deadline=None)
@given(snr_db=st.floats(-20.0, 60.0), gain=st.floats(0.01, 100.0))
def test_si_sdr_equals_the_known_ratio_at_any_gain(snr_db: float, gain: float) -> None:
    rng = np.random.default_rng(1)
    reference, noise = (x - x.mean() for x in rng.standard_normal((2, 2000)))
    noise -= reference * (noise @ reference) / (reference @ reference)
    noise *= np.linalg.norm(reference) / np.linalg.norm(noise) * 10 ** (-snr_db / 20)
    assert full_reference.si_sdr_db(reference, gain * (reference + noise)) == pytest.approx(snr_db, abs=1e-6)


def test_si_sdr_of_an_exact_copy_is_infinite() -> None:
    ramp = np.array([-1.0, 0.0, 1.0])
    assert full_reference.si_sdr_db(ramp, ramp) == math.inf


def test_mel_distance_of_a_gain_is_its_logarithm(voice_16k: Samples) -> None:
    loud = voice_16k + 0.1 * np.random.default_rng(2).standard_normal(len(voice_16k))
    assert spectral.mel_distance(loud, 10.0 * loud, 16_000) == pytest.approx(1.0, abs=1e-9)
    assert spectral.log_spectral_distance(loud, 10.0 * loud) == pytest.approx(20.0, abs=1e-2)


@pytest.mark.parametrize("sample_rate_hz", [16_000, 24_000])
def test_mel_filters_are_triangles_of_equal_area(sample_rate_hz: int) -> None:
    filters = spectral.mel_filters(sample_rate_hz)
    assert filters.shape == (80, 513)
    assert (filters >= 0).all()
    wide = filters[60:]
    areas = wide.sum(axis=1) * sample_rate_hz / spectral.FFT_SAMPLES
    np.testing.assert_allclose(areas, 1.0, rtol=0.05)
    centres_hz = filters.argmax(axis=1) * sample_rate_hz / spectral.FFT_SAMPLES
    assert (np.diff(centres_hz) >= 0).all()


def test_magnitudes_agree_with_scipy(voice_16k: Samples) -> None:
    from scipy.signal import ShortTimeFFT, get_window

    transform = ShortTimeFFT(get_window("hann", 1024), hop=256, fs=16_000)
    theirs = np.abs(transform.stft(voice_16k, p0=0, p1=1 + len(voice_16k) // 256)).T
    np.testing.assert_allclose(spectral.magnitudes(voice_16k), theirs, atol=1e-9)


@pytest.mark.parametrize("name", ["pesq", "stoi", "estoi", "si_sdr", "visqol", "plcmos", "snr", "psnr"])
def test_silence_is_a_typed_error(name: str) -> None:
    with pytest.raises(UnscorableError):
        score(METRICS[name], np.zeros(16_000), np.zeros(16_000))


@pytest.mark.parametrize("name", ["mel16", "lsd16", "dnsmos"])
def test_no_samples_is_a_typed_error(name: str) -> None:
    if METRICS[name].missing:
        pytest.skip("package not installed")
    with pytest.raises(UnscorableError):
        METRICS[name].function(np.zeros(0), np.zeros(0))


@pytest.mark.parametrize("name", ["pesq", "stoi"])
def test_sound_far_too_short_is_a_typed_error(name: str, voice_16k: Samples) -> None:
    with pytest.raises(UnscorableError):
        score(METRICS[name], voice_16k[3000:3100], voice_16k[3000:3100])


def test_unknown_metric_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"'loudness'.*pesq"):
        select_metrics(["si_sdr", "loudness"])


def test_selection_keeps_order_and_drops_repeats() -> None:
    chosen, notes = select_metrics(["mel16", "si_sdr", "mel16"])
    assert [metric.name for metric in chosen] == ["mel16", "si_sdr"]
    assert notes == []


def test_a_missing_package_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = Metric(
        "x", "X", full_reference.si_sdr_db, 16_000, "high", frozenset({"speech"}), "low", ("no_such_one",)
    )
    monkeypatch.setitem(METRICS, "x", lacking)
    with pytest.raises(MissingPackageError, match=r"no_such_one.*streamcodec\[eval\]"):
        select_metrics(["x"])
    chosen, notes = select_metrics()
    assert lacking not in chosen
    assert any("no_such_one" in note for note in notes)


def test_a_missing_model_wheel_is_a_typed_error(monkeypatch: pytest.MonkeyPatch) -> None:
    no_reference._session.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="speechmos"):
        no_reference.dnsmos_overall(np.ones(100), np.ones(100))
