"""The harmonic excitation follows a voice, keeps its power, and is silent where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from native_dsp.filters.excitation import LAG, excite, excite_all, make_excitation
from native_dsp.transforms.windows import low_delay_pair

RATE_HZ, HOP, OVERLAP, FFT = 24_000, 240, 120, 512
ANALYSIS, SYNTHESIS = low_delay_pair(FFT, HOP, OVERLAP)

Float32Array = NDArray[np.float32]


def voice(pitch_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Harmonics of a gliding pitch up to 1.4 kHz."""
    phase = 2.0 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    harmonics = int(1_400.0 / pitch_hz.max())
    return np.asarray(0.1 * np.sum([np.cos(k * phase) / k for k in range(1, harmonics + 1)], axis=0))


def run(low: NDArray[np.float64]) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Spectra, voicing and lags of every hop."""
    hops = len(low) // HOP
    out = np.zeros((hops, FFT + 2), np.float32)
    voicing, lags = np.zeros(hops, np.float32), np.zeros(hops, np.float32)
    state = make_excitation(ANALYSIS, RATE_HZ, HOP)
    excite_all(state, low[: hops * HOP].reshape(hops, HOP).astype(np.float32), out, voicing, lags)
    return out, voicing, lags


def sound_of(spectra: Float32Array) -> NDArray[np.float64]:
    """Overlap-add of companded spectra."""
    real, imag = np.split(spectra.astype(np.float64), 2, axis=1)
    magnitude = np.hypot(real, imag)
    frames = np.fft.irfft((real + 1j * imag) * magnitude, n=FFT) * SYNTHESIS
    sound = np.zeros(len(frames) * HOP + OVERLAP)
    for t, frame in enumerate(frames):
        sound[t * HOP : t * HOP + HOP + OVERLAP] += frame[-(HOP + OVERLAP) :]
    return sound


@pytest.mark.parametrize("middle_hz", [80.0, 130.0, 220.0, 330.0])
def test_pulses_repeat_at_the_pitch_in_every_band(middle_hz: float) -> None:
    seconds = np.arange(RATE_HZ) / RATE_HZ
    pitch_hz = middle_hz * (1.0 + 0.1 * np.sin(2.0 * np.pi * 1.5 * seconds))
    spectra, voicing, lags = run(voice(pitch_hz))
    assert (voicing[8:] > 0.9).all()
    np.testing.assert_allclose(RATE_HZ / lags[10:], pitch_hz[10 * HOP :: HOP], rtol=0.03)
    sound = sound_of(spectra)
    for low_hz, high_hz, least in ((1_000, 2_000, 0.8), (2_000, 4_000, 0.5)):
        spectrum = np.fft.rfft(sound)
        bins_hz = np.fft.rfftfreq(len(sound), 1 / RATE_HZ)
        band = np.fft.irfft(spectrum * ((bins_hz > low_hz) & (bins_hz < high_hz)), n=len(sound))
        correlation = []
        for start in range(15 * HOP, 95 * HOP, HOP):
            lag = round(RATE_HZ / pitch_hz[start])
            here, before = band[start : start + 480], band[start - lag : start - lag + 480]
            correlation.append(here @ before / np.sqrt(here @ here * (before @ before)))
        assert np.mean(correlation) > least


def test_spectra_have_unit_power_on_average() -> None:
    spectra, _, _ = run(voice(np.full(RATE_HZ, 150.0)))
    companded = spectra[20:, : FFT // 2 + 1] ** 2 + spectra[20:, FFT // 2 + 1 :] ** 2
    assert np.mean(companded**2) == pytest.approx(1.0, abs=0.1)


def test_pulses_stand_where_the_energy_of_the_period_is() -> None:
    pitch_hz = np.full(RATE_HZ, 120.0)
    low = voice(pitch_hz)
    spectra, _, _ = run(low)
    pulses = sound_of(spectra)[: len(low)]
    middle = slice(RATE_HZ // 2, RATE_HZ // 2 + 1_000)
    period = 200
    peak_of_sound = np.argmax(np.abs(low[middle])) % period
    peak_of_pulses = np.argmax(np.abs(pulses[middle])) % period
    assert min(abs(peak_of_sound - peak_of_pulses), period - abs(peak_of_sound - peak_of_pulses)) < 12


@pytest.mark.parametrize("kind", ["silence", "noise"])
def test_what_is_not_voiced_is_said_to_be_none(kind: str) -> None:
    rng = np.random.default_rng(0)
    low = (
        np.zeros(RATE_HZ) if kind == "silence" else np.convolve(rng.standard_normal(RATE_HZ), np.hanning(24), "same")
    )
    spectra, voicing, _ = run(0.01 * low)
    assert np.isfinite(spectra).all()
    assert np.mean(voicing) < (0.001 if kind == "silence" else 0.2)


def test_a_copy_goes_on_alone_and_alike() -> None:
    low = voice(np.full(RATE_HZ, 140.0)).reshape(-1, HOP).astype(np.float32)
    state = make_excitation(ANALYSIS, RATE_HZ, HOP)
    out, other = np.zeros(FFT + 2, np.float32), np.zeros(FFT + 2, np.float32)
    for hop in low[:20]:
        excite(state, hop, out)
    copy = state.copy()
    excite(state, low[20], out)
    excite(copy, low[20], other)
    np.testing.assert_array_equal(out, other)
    excite(copy, 0 * low[20], other)
    assert state.track[LAG] == pytest.approx(RATE_HZ / 140.0, rel=0.01)


def test_a_hop_that_cannot_be_thinned_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        make_excitation(ANALYSIS, RATE_HZ, 242)
