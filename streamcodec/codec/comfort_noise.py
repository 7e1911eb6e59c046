"""Background noise for gaps: random phase over a tracked noise spectrum."""

from __future__ import annotations

import copy

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
RISE_PER_FRAME = 1.012
SMOOTHING = 0.2


class ComfortNoise:
    """Follows the quietest spectrum heard lately (minimum statistics) and draws noise of that colour.

    After Martin, "Noise power spectral density estimation based on optimal smoothing and minimum statistics"
    (2001), in its simplest form.
    """

    def __init__(self, bins: int, seed: int = 1) -> None:
        self._smooth: Float32Array = np.full(bins, 1e-6, np.float32)
        self._power: Float32Array = np.full(bins, 1e-6, np.float32)
        self._random = np.random.Generator(np.random.PCG64(seed))

    def hear(self, re: Float32Array, im: Float32Array, background: bool) -> None:
        """Follow one decoded frame; ``background`` says it is known to be noise alone.

        Shape: two ``[bins]``.
        """
        power = re * re + im * im
        self._smooth += np.float32(SMOOTHING) * (power - self._smooth)
        if background:
            self._power += np.float32(SMOOTHING) * (power - self._power)
        else:
            np.minimum(self._power * np.float32(RISE_PER_FRAME) + np.float32(1e-9), self._smooth, out=self._power)

    def draw(self, re: Float32Array, im: Float32Array, gain: float) -> None:
        """Add one frame of noise at ``gain`` to a spectrum.

        Shape: two ``[bins]``, changed in place.
        """
        deviation = np.sqrt(self._power) * np.float32(gain * 0.5**0.5)
        re += deviation * self._random.standard_normal(re.size, dtype=np.float32)
        im += deviation * self._random.standard_normal(im.size, dtype=np.float32)
        im[0] = im[-1] = 0.0

    def copy(self) -> ComfortNoise:
        """An independent copy, random numbers included."""
        return copy.deepcopy(self)
