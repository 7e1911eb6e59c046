"""Who is talking: loudness with a little patience, so that an indication neither flickers nor lags behind speech."""

from __future__ import annotations

import math

import numpy as np

from streamcodec.net.time_scale import Samples

START_RMS = 0.01
"""About -40 dBFS: talking begins above this."""
STOP_RMS = 0.005
SMOOTHING_MS = 50.0
PATIENCE_MS = 400.0
"""Quiet for this long is no longer talking: longer than the pauses between words."""


class VoiceActivityDetector:
    """Takes one voice's sound as it goes by. Its only clock is the count of samples."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._sample_rate_hz = sample_rate_hz
        self._power = 0.0
        self._quiet_ms = 0.0
        self.talking = False

    @property
    def level_rms(self) -> float:
        """Smoothed root mean square."""
        return math.sqrt(self._power)

    def hear(self, samples: Samples) -> bool:
        """Take the next samples; whether talking has begun or ended with them.

        Shape: ``[n]`` or ``[n, channels]``.
        """
        if not samples.size:
            return False
        duration_ms = 1_000.0 * len(samples) / self._sample_rate_hz
        power = float(np.vdot(samples, samples)) / samples.size
        self._power += (1.0 - math.exp(-duration_ms / SMOOTHING_MS)) * (power - self._power)
        self._quiet_ms = 0.0 if self.level_rms > STOP_RMS else self._quiet_ms + duration_ms
        before = self.talking
        self.talking = self.level_rms > START_RMS or (before and self._quiet_ms < PATIENCE_MS)
        return self.talking != before
