"""Whether a packet's worth of sound is worth sending."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ALWAYS_SILENT_DBFS = -70.0
MARGIN_DB = 8.0
FLOOR_RISE_DB_PER_S = 3.0
HANGOVER_S = 0.24
REFRESH_S = 0.4


def level_dbfs(samples: NDArray[np.float32]) -> float:
    """Mean power of some sound, full scale 1; -120 for silence.

    Shape: ``[n]``.
    """
    mean_square = float(np.dot(samples, samples)) / max(samples.size, 1)
    return 10.0 * math.log10(mean_square + 1e-12)


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
        rise = FLOOR_RISE_DB_PER_S / self.packets_per_second
        self.floor_dbfs = min(dbfs, self.floor_dbfs + rise)
        active = dbfs > max(ALWAYS_SILENT_DBFS, self.floor_dbfs + MARGIN_DB)
        self.quiet_packets = 0 if active else self.quiet_packets + 1
        return max(0, self.quiet_packets - round(HANGOVER_S * self.packets_per_second))

    def due(self, silent_packets: int) -> bool:
        """Whether a silent packet is to be sent: the first one, and one now and then to follow the background."""
        return silent_packets % round(REFRESH_S * self.packets_per_second) == 1
