"""How voiced the sound of each frame is: where a coarse codec should spend its bits."""

from __future__ import annotations

from dataclasses import dataclass, replace

from native_dsp.filters.voicing import VoicingState, make_voicing
from native_dsp.jit import shared

UNVOICED, VOICED = 0.4, 0.6
"""Pitch correlations of a frame: up to the first none of it counts as voice, from the second on all."""
QUIET_DB = -25.0
"""What is so far below the loudest of late is no voice, whatever repeats in it."""
PEAK_FALL_DB_PER_S = 5.0
START_DBFS = -60.0


@dataclass
class VoicingDetector:
    """Voiced share of frame after frame, from its pitch and from its loudness beside the loudest of late.

    ``state`` is that of ``native_dsp.filters.voicing``, which finds the pitch.
    """

    frames_per_second: float
    state: VoicingState
    peak_dbfs: float = START_DBFS

    @classmethod
    def of(cls, sample_rate_hz: int, frame_samples: int) -> VoicingDetector:
        """A detector that has heard silence."""
        return cls(sample_rate_hz / frame_samples, make_voicing(sample_rate_hz, frame_samples))

    def copy(self) -> VoicingDetector:
        """An independent copy."""
        return replace(self, state=self.state.copy())

    def take(self, dbfs: float, correlation: float) -> float:
        """Voiced share of the next frame, 0 to 1, of its loudness and its pitch correlation."""
        self.peak_dbfs, share = voiced_share(correlation, dbfs, self.peak_dbfs, self.frames_per_second)
        return share


@shared
def voiced_share(correlation: float, dbfs: float, peak_dbfs: float, frames_per_second: float) -> tuple[float, float]:
    """The loudest of late after a frame of a loudness, and that frame's voiced share."""
    peak_dbfs = max(peak_dbfs - PEAK_FALL_DB_PER_S / frames_per_second, dbfs)
    if dbfs < peak_dbfs + QUIET_DB:
        return peak_dbfs, 0.0
    return peak_dbfs, min(max((correlation - UNVOICED) / (VOICED - UNVOICED), 0.0), 1.0)
