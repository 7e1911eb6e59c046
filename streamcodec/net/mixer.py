"""Several people into one loudspeaker: a sum that cannot clip and does not pump when nobody shouts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamcodec.net.time_scale import Samples

KNEE = 0.9
"""Level up to which a sample passes unchanged."""
_CEILING = 0.999
_RELEASE_S = 0.3


class Mixer:
    """Sums blocks, turning the sum down at once when it would pass full scale and up again over a third of a second.

    The gain moves linearly within a block; what still peaks above the knee while it does is bent, never cut. A single
    voice is within full scale as it is, and passes untouched once the gain is back.
    """

    def __init__(self, sample_rate_hz: int, channels: int = 1) -> None:
        self._shape = () if channels == 1 else (channels,)
        self._release_per_sample = 1.0 / (_RELEASE_S * sample_rate_hz)
        self._gain = 1.0

    @property
    def gain(self) -> float:
        """Gain in force at the end of the last block, 1 where nothing had to be turned down."""
        return self._gain

    def mix(self, blocks: Sequence[Samples], count_samples: int) -> Samples:
        """The sum of ``blocks``, within full scale; zeros where there are none.

        Shape: each block ``[count]``, or ``[count, channels]`` for more than one channel; the result likewise.
        """
        total = np.zeros((count_samples, *self._shape), np.float32)
        for block in blocks:
            total += block
        if count_samples == 0:
            return total
        peak = float(np.max(np.abs(total)))
        if len(blocks) <= 1 and self._gain == 1.0 and peak <= 1.0:
            return total
        released = min(1.0, self._gain + count_samples * self._release_per_sample)
        target = min(released, KNEE / peak if peak > KNEE else 1.0)
        gains = np.linspace(self._gain, target, count_samples, dtype=np.float32)
        total *= gains.reshape(-1, *(1 for _ in self._shape))
        self._gain = target
        return soft_clip(total)


def soft_clip(samples: Samples) -> Samples:
    """Samples unchanged up to the knee, and bent smoothly towards full scale above it.

    Shape: any; the result is within 0.999.
    """
    size = np.abs(samples)
    if float(size.max(initial=0.0)) <= KNEE:
        return samples
    room = _CEILING - KNEE
    bent = KNEE + room * np.tanh((size - KNEE) / room)
    limited: Samples = np.where(size > KNEE, np.copysign(bent, samples), samples).astype(np.float32)
    return limited
