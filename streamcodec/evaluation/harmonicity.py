"""How much of a voice is harmonic, band by band: 1 repeats itself at the original's pitch, about 0.13 is hiss."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from streamcodec.evaluation.alignment import Samples
from streamcodec.evaluation.errors import UnscorableError

SAMPLE_RATE_HZ = 16_000
LOWEST_PITCH_HZ, HIGHEST_PITCH_HZ = 60.0, 420.0
PITCH_BAND_HZ = (60.0, 900.0)
FINER = 3
"""Lags are told to a third of a sample: at 3 kHz a whole one is a fifth of a period."""
HOP, WINDOW = 160, 320
NEARBY = 4
"""How far from the lag the highest value is taken, in those thirds: high harmonics tell the pitch of their moment."""
LEAST_LIKENESS = 0.6
LONG_LAG_PENALTY = 5.0
"""Per second of lag: two periods repeat as well as one."""
ACTIVE_SHARE = 1e-3
"""Frames of less power than this share of the loudest are pauses."""
LEAST_FRAMES = 5

Float64Array = NDArray[np.float64]
Indices = NDArray[np.int64]


def harmonicity(reference: Samples, decoded: Samples, low_hz: float, high_hz: float) -> float:
    """Mean normalised autocorrelation of a band at the original's pitch lag, over frames where that is voiced.

    The highest value within 83 us of the lag counts, which is why noise has more than nothing.

    Shape: inputs ``[samples]`` at 16 kHz, aligned.

    Raises:
        UnscorableError: fewer than five voiced frames.
    """
    starts, lags = _pitch_track(np.ascontiguousarray(reference, np.float64).tobytes())
    if len(starts) < LEAST_FRAMES:
        raise UnscorableError("Harmonicity needs at least 0.05 s of voiced speech.")
    band = band_pass(np.asarray(decoded, np.float64), low_hz, high_hz, FINER)
    nearby = [_likeness(band, FINER * starts, lags + shift, FINER) for shift in range(-NEARBY, NEARBY + 1)]
    return float(np.mean(np.max(nearby, axis=0)))


def band_pass(samples: Samples, low_hz: float, high_hz: float, finer: int = 1) -> Float64Array:
    """The band alone, by a transform of the whole sound with edges 50 Hz wide; ``finer`` raises the rate.

    Shape: ``[samples]`` at 16 kHz -> ``[finer * samples]``.
    """
    spectrum = np.fft.rfft(samples)
    bins_hz = np.fft.rfftfreq(len(samples), 1.0 / SAMPLE_RATE_HZ)
    rise = np.clip((bins_hz - low_hz) / 50.0 + 0.5, 0.0, 1.0)
    fall = np.clip((high_hz - bins_hz) / 50.0 + 0.5, 0.0, 1.0)
    return np.asarray(np.fft.irfft(spectrum * rise * fall, n=finer * len(samples)), np.float64)


def _likeness(band: Float64Array, starts: Indices, lags: Indices, finer: int) -> Float64Array:
    """Normalised autocorrelation of each frame at its lag.

    Shape: starts and lags ``[frames]`` -> ``[frames]``.
    """
    frames = np.lib.stride_tricks.sliding_window_view(band, finer * WINDOW)
    now, before = frames[starts, ::finer], frames[starts - lags, ::finer]
    power = np.sqrt((now * now).sum(1) * (before * before).sum(1))
    return np.asarray((now * before).sum(1) / np.maximum(power, 1e-20))


@functools.lru_cache(maxsize=4)
def _pitch_track(sound: bytes) -> tuple[Indices, Indices]:
    """Starts of the voiced frames in samples, and their lags in ``1 / FINER`` samples."""
    samples = np.frombuffer(sound, np.float64)
    shortest, longest = int(SAMPLE_RATE_HZ / HIGHEST_PITCH_HZ), int(SAMPLE_RATE_HZ / LOWEST_PITCH_HZ)
    starts = np.arange(longest + 1, len(samples) - WINDOW + 1, HOP)
    if not len(starts):
        return starts, starts
    low = band_pass(samples, *PITCH_BAND_HZ)
    lags = np.arange(shortest, longest + 1)
    correlation = np.stack([_likeness(low, starts, np.full(len(starts), lag), 1) for lag in lags], axis=1)
    best = np.argmax(correlation * (1.0 - LONG_LAG_PENALTY * lags / SAMPLE_RATE_HZ), axis=1)
    powers = np.lib.stride_tricks.sliding_window_view(samples**2, WINDOW)[starts].mean(1)
    voiced = (correlation.max(1) > LEAST_LIKENESS) & (powers > ACTIVE_SHARE * powers.max())
    starts, coarse = starts[voiced], FINER * lags[best[voiced]]
    if not len(starts):
        return starts, coarse
    fine = band_pass(samples, *PITCH_BAND_HZ, FINER)
    shifts = np.arange(1 - FINER, FINER)
    nearby = np.stack([_likeness(fine, FINER * starts, coarse + shift, FINER) for shift in shifts], axis=1)
    lags = coarse + shifts[np.argmax(nearby, axis=1)]
    # With the longest lags, and what is tried beyond them, the first frame would be compared with the sound's end.
    inside = FINER * starts >= lags + NEARBY
    return starts[inside], lags[inside]
