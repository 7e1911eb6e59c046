"""Sounds that calls are tested with."""

from __future__ import annotations

import numpy as np

from streamcodec.net.time_scale import Samples
from tests.helpers.fake_codec import RATE_HZ


def tone(samples: int, hertz: float = 200.0, amplitude: float = 0.3, start: int = 0) -> Samples:
    return np.asarray(amplitude * np.sin(2 * np.pi * hertz * (start + np.arange(samples)) / RATE_HZ), np.float32)
