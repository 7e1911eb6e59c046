"""Whether a packet's worth of sound is worth sending."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import shared

ALWAYS_SILENT_DBFS = -70.0
MARGIN_DB = 8.0
FLOOR_RISE_DB_PER_S = 3.0
HANGOVER_S = 0.24
REFRESH_S = 0.4
NO_POWER = 1e-12
"""Added to mean squares: silence is at -120 dB."""


def level_dbfs(samples: NDArray[np.float32]) -> float:
    """Mean power of some sound, full scale 1; -120 for silence.

    Shape: ``[n]``.
    """
    return mean_square_dbfs(float(np.dot(samples, samples)) / max(samples.size, 1))


@shared
def mean_square_dbfs(mean_square: float) -> float:
    """Mean power in decibels, full scale 1; -120 for silence."""
    return 10.0 * math.log10(mean_square + NO_POWER)


@dataclass
class ActivityDetector:
    """Energy against a slowly rising noise floor, with a hangover, for discontinuous transmission.

    Plain numbers only, so a copy of the object is a copy of the state.
    """

    packets_per_second: float
    floor_dbfs: float = -50.0
    quiet_packets: int = 0

    def silent_for(self, samples: NDArray[np.float32]) -> int:
        """Packets since the sound fell silent, this one included; 0 while it is active (hangover included)."""
        dbfs = level_dbfs(samples)
        self.floor_dbfs, active = noise_floor(dbfs, self.floor_dbfs, self.packets_per_second)
        self.quiet_packets = 0 if active else self.quiet_packets + 1
        return silent_packets(self.quiet_packets, self.packets_per_second)

    def due(self, silent_packets: int) -> bool:
        """Whether a silent packet is to be sent: the first one, and one now and then to follow the background."""
        return refresh_due(silent_packets, self.packets_per_second)


@shared
def noise_floor(dbfs: float, floor_dbfs: float, packets_per_second: float) -> tuple[float, bool]:
    """The noise floor after a packet of a loudness, and whether that stands out from it."""
    floor_dbfs = min(dbfs, floor_dbfs + FLOOR_RISE_DB_PER_S / packets_per_second)
    return floor_dbfs, dbfs > max(ALWAYS_SILENT_DBFS, floor_dbfs + MARGIN_DB)


@shared
def silent_packets(quiet_packets: int, packets_per_second: float) -> int:
    """Packets since the hangover ended, of so many quiet ones."""
    return max(0, quiet_packets - round(HANGOVER_S * packets_per_second))


@shared
def refresh_due(silent_packets: int, packets_per_second: float) -> bool:
    """Whether the last of so many silent packets is sent."""
    return silent_packets % round(REFRESH_S * packets_per_second) == 1
