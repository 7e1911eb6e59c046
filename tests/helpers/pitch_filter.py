"""What tests of pitch filter share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RATE_HZ, PACKET = 24_000, 480


Sound = NDArray[np.float32]


def voice(seconds: float, pitch_hz: float) -> Sound:
    """Many harmonics, falling 6 dB per octave, in steps of whole samples so that a period is one exactly."""
    n = np.arange(int(seconds * RATE_HZ))
    period = round(RATE_HZ / pitch_hz)
    partials = [np.cos(2 * np.pi * k * n / period + k * k) / k for k in range(1, period // 2)]
    return (0.1 * np.sum(partials, axis=0)).astype(np.float32)


def noise(samples: int, level: float = 0.1, seed: int = 0) -> Sound:
    return (level * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def decibels(x: NDArray[np.floating]) -> float:
    return float(10 * np.log10(np.mean(np.square(x, dtype=np.float64)) + 1e-30))
