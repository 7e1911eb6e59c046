"""Pitch filter: what repeats stays, what lies between harmonics goes, and all else is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from native_dsp.filters.pitch_filter import (
    BAND_EDGES_HZ,
    COARSE_STEP,
    CORRELATION_SHARES,
    ENERGY_FLOOR,
    ENERGY_MEMORY,
    FEEDBACK,
    FULL_GAIN,
    LARGEST_CORRECTION,
    LARGEST_LEVELLING,
    LEAST_BAND,
    LEAST_PITCH,
    LONG_LAG_PENALTY,
    PITCH_EDGE,
    SILENCE_POWER,
    filter_pitch,
    make_pitch_filter,
)
from tests.helpers.pitch_filter import PACKET, RATE_HZ, Sound, decibels, noise, voice

BLOCK, WINDOW = 120, 480


def filtered(sound: Sound, strength: float = 1.0, packet: int = PACKET) -> Sound:
    """The whole sound, packet by packet, with the true future as what comes next."""
    state = make_pitch_filter(RATE_HZ, packet)
    out = np.array(sound, np.float32)
    longer = np.concatenate([sound, np.zeros(packet, np.float32)])
    for start in range(0, len(sound), packet):
        state.ahead[:] = longer[start + packet : start + packet + state.ahead.size]
        filter_pitch(state, strength, out[start : start + packet])
    return out


def harmonicity(sound: Sound, clean: Sound) -> float:
    """Decibels of voice over all else below 1.8 kHz, whatever the voice is scaled by."""
    spectra = np.fft.rfft(np.stack([sound, clean]).astype(np.float64), axis=1)[:, : int(1_800 * len(sound) / RATE_HZ)]
    heard, voiced = spectra
    scale = np.vdot(voiced, heard) / np.vdot(voiced, voiced)
    return float(10 * np.log10(np.sum(np.abs(scale * voiced) ** 2) / np.sum(np.abs(heard - scale * voiced) ** 2)))


def reference(sound: Sound, strength: float) -> NDArray[np.float64]:
    """The same on a whole sound at once, in float64, from its description alone."""
    x = sound.astype(np.float64)
    ahead = 24
    n = np.arange(-ahead, ahead + 1)
    lows = []
    for edge_hz in BAND_EDGES_HZ:
        taps = np.sinc(2 * edge_hz / RATE_HZ * n) * (0.54 + 0.46 * np.cos(np.pi * n / ahead))
        lows.append(np.convolve(x, taps / taps.sum(), "same"))
    bands = np.diff(np.stack([np.zeros_like(x), *lows, x]), axis=0)
    past = 1_000
    bands = np.pad(bands, ((0, 0), (past, 0)))
    low = np.pad(lows[PITCH_EDGE], (past, 0))

    def correlation(signal: NDArray[np.float64], end: int, lag: int, step: int = 1) -> float:
        here = signal[end - WINDOW : end : step]
        there = signal[end - WINDOW - lag : end - lag : step]
        power = np.sum(here**2) * np.sum(there**2)
        return float(np.sum(here * there) / np.sqrt(power)) if power > 0 else 0.0

    out, repeated = np.zeros_like(bands), np.zeros_like(bands)
    lag, gains, corrections = 410, np.zeros(len(bands)), np.ones(len(bands))
    energies = np.zeros((len(bands), 2))
    share = np.arange(1, BLOCK + 1) / BLOCK
    for start in range(past, past + len(x), BLOCK):
        end, found, best = start + BLOCK, 0, 0.0
        # The kernel's coarse search looks at every third sample counted from its packet, which is ours from ``past``.
        coarse_end = end - (end - past) % COARSE_STEP
        power = np.sum(low[coarse_end - WINDOW : coarse_end : COARSE_STEP] ** 2)
        if power >= SILENCE_POWER * WINDOW / COARSE_STEP:
            for k in range(57 // COARSE_STEP, 410 // COARSE_STEP + 1):
                like = correlation(low, coarse_end, COARSE_STEP * k, COARSE_STEP)
                like *= 1 - LONG_LAG_PENALTY * COARSE_STEP * k / RATE_HZ
                best, found = max((best, found), (like, COARSE_STEP * k), key=lambda pair: pair[0])
        now, alike = lag, 0.0
        if found:
            for near in range(max(found - 2, 57), min(found + 2, 410) + 1):
                alike, now = max((alike, now), (correlation(low, end, near), near), key=lambda pair: pair[0])
        for b, band in enumerate(bands):
            gain = 0.0
            if alike > LEAST_PITCH:
                repeats = max(correlation(band, end, now), CORRELATION_SHARES[b] * alike)
                gain = strength * FULL_GAIN * max(repeats - LEAST_BAND, 0.0) / (1 - LEAST_BAND)
            here = repeated[b, start:end] = band[start:end]
            faded = (1 - share) * (here + gains[b] * repeated[b, start - lag : end - lag]) / (1 + gains[b])
            faded = faded + share * (here + gain * repeated[b, start - now : end - now]) / (1 + gain)
            ago = repeated[b, start - now : end - now]
            was, came, a_period_ago = ENERGY_FLOOR * BLOCK + np.sum([here**2, faded**2, ago**2], axis=1)
            energies[b] = ENERGY_MEMORY * energies[b] + (was, came)
            correction = 1.0
            if max(gain, gains[b]) > 0:
                levelling = (a_period_ago / came) ** (min(gain, gains[b], 1.0) / 2)
                correction = np.clip(levelling, 1 / LARGEST_LEVELLING, LARGEST_LEVELLING)
                correction *= np.sqrt(energies[b, 0] / energies[b, 1])
                correction = np.clip(correction, 1 / LARGEST_CORRECTION, LARGEST_CORRECTION)
            out[b, start:end] = (corrections[b] + share * (correction - corrections[b])) * faded
            repeated[b, start:end] = FEEDBACK * out[b, start:end] + (1 - FEEDBACK) * here
            gains[b], corrections[b] = gain, correction
        lag = now
    return np.asarray(out[:, past:].sum(axis=0))


@pytest.mark.parametrize("pitch_hz", [80.0, 150.0, 320.0])
def test_equals_its_description(pitch_hz: float) -> None:
    sound = voice(0.4, pitch_hz) + noise(9_600, 0.02)
    sound[4_000:6_000] = noise(2_000, 0.05, seed=1)
    wanted = reference(sound, 1.0)
    got = filtered(sound)
    assert decibels(got - wanted) < decibels(sound) - 60.0
    assert decibels(got - sound) > decibels(sound) - 40.0


@pytest.mark.parametrize("pitch_hz", [70.0, 120.0, 250.0, 400.0])
def test_noise_between_harmonics_goes_and_the_voice_stays(pitch_hz: float) -> None:
    clean = voice(1.0, pitch_hz)
    noisy = clean + noise(len(clean), 0.03)
    steady = slice(RATE_HZ // 4, None)
    assert decibels((filtered(clean) - clean)[steady]) < decibels(clean[steady]) - 45.0
    before = harmonicity(noisy[steady], clean[steady])
    assert harmonicity(filtered(noisy)[steady], clean[steady]) > before + 1.5


@pytest.mark.parametrize("pitch_hz", [80.0, 120.0, 160.0])
def test_a_voice_whose_packets_do_not_fit_together_flutters_less(pitch_hz: float) -> None:
    """Every packet is off by some voice and some of its quadrature, as few bits leave it, and fades into the next."""
    steady = voice(1.2, pitch_hz)
    analytic = np.fft.ifft(np.fft.fft(steady) * (2.0 * (np.fft.fftfreq(len(steady)) > 0)))
    off = 0.35 * np.random.default_rng(3).standard_normal((2, len(steady) // PACKET))
    starts = PACKET * np.arange(off.shape[1])
    corners = np.stack([starts, starts + PACKET - BLOCK], axis=1).ravel()
    level, turned = (np.interp(np.arange(len(steady)), corners, np.repeat(values, 2)) for values in off)
    broken = ((1.0 + level) * analytic.real + turned * analytic.imag).astype(np.float32)
    assert fluctuation(filtered(broken, strength=2.0)) < 0.75 * fluctuation(broken)


def fluctuation(sound: Sound) -> float:
    """Decibels by which the power of the harmonics below 1 kHz varies, in windows of 20 ms, once it has settled."""
    frames = np.lib.stride_tricks.sliding_window_view(sound[RATE_HZ // 4 :].astype(np.float64), WINDOW)[::BLOCK]
    spectra = np.abs(np.fft.rfft(frames * np.hanning(WINDOW))) ** 2
    return float(np.std(10 * np.log10(spectra[:, : int(1_000 * WINDOW / RATE_HZ)].sum(1))))


def test_what_does_not_repeat_keeps_its_level_and_most_of_its_shape() -> None:
    sound = noise(RATE_HZ, 0.1)
    out = filtered(sound)
    assert decibels(out) == pytest.approx(decibels(sound), abs=0.3)
    assert decibels(out - sound) < decibels(sound) - 12.0


def test_strength_zero_changes_not_one_bit() -> None:
    sound = voice(0.5, 130.0) + noise(12_000, 0.01)
    np.testing.assert_array_equal(filtered(sound, strength=0.0), sound)


def test_packets_are_blocks_of_any_number() -> None:
    """Only the forms of memory differ: 5 ms or 60 ms at a time give the same sound."""
    sound = voice(0.6, 180.0) + noise(14_400, 0.02)
    whole = filtered(sound)
    for packet in (120, 240, 1_440):
        assert decibels(filtered(sound, packet=packet) - whole) < decibels(whole) - 80.0
    with pytest.raises(ValueError, match="subframes of 120"):
        make_pitch_filter(RATE_HZ, 500)


def test_looks_no_further_ahead_than_it_is_told() -> None:
    sound = voice(0.5, 130.0) + noise(12_000, 0.01)
    later = sound.copy()
    later[6_000 + 24 :] = noise(12_000 - 6_024, 0.3, seed=2)
    np.testing.assert_array_equal(filtered(sound)[:5_760], filtered(later)[:5_760])


@pytest.mark.parametrize("level", [0.0, 1e-20, 1e-6, 1.0, 3.0])
def test_any_level_is_survived(level: float) -> None:
    sound = np.concatenate([level * voice(0.2, 100.0), np.zeros(4_800, np.float32)]).astype(np.float32)
    sound[2_000:2_480] = np.sign(sound[2_000:2_480]) * np.float32(level)
    out = filtered(sound)
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= 2.5 * max(np.abs(sound).max(), 1e-12)


def test_a_copy_goes_its_own_way() -> None:
    sound = voice(0.4, 140.0)
    state = make_pitch_filter(RATE_HZ, PACKET)
    for start in range(0, 4_800, PACKET):
        filter_pitch(state, 1.0, sound[start : start + PACKET].copy())
    twin = state.copy()
    first, second = sound[4_800:5_280].copy(), sound[4_800:5_280].copy()
    filter_pitch(state, 1.0, noise(PACKET, 0.5))
    filter_pitch(twin, 1.0, first)
    fresh = make_pitch_filter(RATE_HZ, PACKET)
    for start in range(0, 4_800, PACKET):
        filter_pitch(fresh, 1.0, sound[start : start + PACKET].copy())
    filter_pitch(fresh, 1.0, second)
    np.testing.assert_array_equal(first, second)
