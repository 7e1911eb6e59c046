"""Partials in noise, as the waveform tiers take them, and how close something comes to them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.generic]


def pcm(samples: int, channels: int = 1, bits: int = 16, seed: int = 0) -> NDArray[np.int32]:
    """Partials and noise as integers of so many bits."""
    t = np.arange(samples) / 44_100
    rng = np.random.default_rng(seed)
    tones = sum(np.sin(2 * np.pi * f * t) / k for k, f in enumerate((220.0, 447.0, 1_330.0), 1))
    sound = 0.25 * tones[:, None] * np.linspace(1, 0.5, channels) + rng.normal(0, 0.01, (samples, channels))
    return np.round(sound * (1 << (bits - 1))).astype(np.int32)


def floats(samples: int, channels: int = 1) -> NDArray[np.float32]:
    return (pcm(samples, channels) / 32_768.0).astype(np.float32)


def snr_db(sound: Samples, result: Samples) -> float:
    wanted = np.asarray(sound, np.float64)
    return float(10 * np.log10(np.sum(wanted**2) / np.sum((wanted - result) ** 2)))
