"""Steady tones: what a codec makes of a whistle, and lines of its own that it adds to sound."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamcodec.evaluation.alignment import Samples
from streamcodec.evaluation.errors import UnscorableError
from streamcodec.evaluation.systems import CodecUnderTest

TONES_HZ = (1_000.0, 2_000.0, 3_000.0, 5_000.0)
TONE_RATE_HZ, TONE_S, TONE_PEAK = 24_000, 2.0, 0.25
LINE_FFT = 4_096
SOFTEST = 10.0 ** (-95.0 / 20.0)
"""Amplitude of a tone that nobody hears."""
SURROUNDINGS_HZ, GAP_HZ = 400.0, 30.0


def tone_level_db(codec: CodecUnderTest, kbps: float, tone_hz: float) -> float:
    """Level of a decoded steady tone against what went in, in dB: 0 is as loud, -40 is hiss in its place.

    What counts is the power within 20 Hz of the tone, half a second of beginning and end left out.
    """
    seconds = np.arange(round(TONE_RATE_HZ * TONE_S)) / TONE_RATE_HZ
    fade = np.clip(np.minimum(seconds, TONE_S - seconds) / 0.02, 0.0, 1.0)
    tone = TONE_PEAK * fade * np.sin(2.0 * np.pi * tone_hz * seconds)
    decoded = codec(tone.astype(np.float32), TONE_RATE_HZ, kbps)
    return _power_db(decoded.samples, decoded.sample_rate_hz, tone_hz) - _power_db(tone, TONE_RATE_HZ, tone_hz)


def tone_levels_db(codec: CodecUnderTest, kbps: float, tones_hz: Sequence[float] = TONES_HZ) -> dict[float, float]:
    """:func:`tone_level_db` of several tones, each coded by itself."""
    return {tone_hz: tone_level_db(codec, kbps, tone_hz) for tone_hz in tones_hz}


def _power_db(samples: NDArray[np.floating], sample_rate_hz: int, tone_hz: float) -> float:
    skipped = sample_rate_hz // 2
    middle = np.asarray(samples, np.float64)[skipped:-skipped]
    if not len(middle):
        raise UnscorableError("A tone's level needs more than a second of sound.")
    power = np.abs(np.fft.rfft(middle * np.hanning(len(middle)))) ** 2
    bins_hz = np.fft.rfftfreq(len(middle), 1.0 / sample_rate_hz)
    near = float(power[np.abs(bins_hz - tone_hz) < 20.0].sum()) / len(middle) ** 2
    return 10.0 * float(np.log10(near + 1e-20))


def added_lines_db(reference: Samples, decoded: Samples, sample_rate_hz: int) -> dict[float, float]:
    """Lines in the long-term spectrum of decoded sound that the original lacks: height in dB by frequency in Hz.

    A line is a bin above both neighbours; its height is that over the median of 400 Hz around it, less what the
    original has there. Given are those of more than 3 dB; what is softer than a tone of -95 dBFS is no line.

    Shape: inputs ``[samples]``, at least ``LINE_FFT`` of them.
    """
    found = _heights_db(decoded, sample_rate_hz) - np.maximum(_heights_db(reference, sample_rate_hz), 0.0)
    bins_hz = np.fft.rfftfreq(LINE_FFT, 1.0 / sample_rate_hz)
    peaks = np.flatnonzero((found[1:-1] > 3.0) & (found[1:-1] >= found[:-2]) & (found[1:-1] >= found[2:])) + 1
    return {float(bins_hz[k]): float(found[k]) for k in peaks}


def _heights_db(samples: Samples, sample_rate_hz: int) -> NDArray[np.float64]:
    """How far each bin of the mean power spectrum stands above its surroundings.

    Shape: ``[samples]`` -> ``[LINE_FFT // 2 + 1]``.
    """
    if len(samples) < LINE_FFT:
        raise UnscorableError(f"Lines are looked for in at least {LINE_FFT} samples of sound, got {len(samples)}.")
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(samples, np.float64), LINE_FFT)[:: LINE_FFT // 2]
    power = (np.abs(np.fft.rfft(frames * np.hanning(LINE_FFT))) ** 2).mean(0)
    floor = (SOFTEST * 0.25 * LINE_FFT) ** 2
    level_db = 10.0 * np.log10(power + floor)
    width_hz = sample_rate_hz / LINE_FFT
    half, gap = round(0.5 * SURROUNDINGS_HZ / width_hz), round(GAP_HZ / width_hz)
    padded = np.pad(level_db, half, mode="reflect")
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    beside = np.concatenate([around[:, : half - gap], around[:, half + gap + 1 :]], axis=1)
    return np.asarray(level_db - np.median(beside, axis=1), np.float64)
