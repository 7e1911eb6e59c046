"""A fixed stretch of memory between one thread that writes sound and one that reads it, without locks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamcodec.errors import AudioFormatError

Samples = NDArray[np.float32]


class RingBuffer:
    """First in, first out, for exactly one writing and one reading thread; neither ever waits or allocates.

    Both positions only grow, and each is stored by one thread alone, after the samples that it vouches for have been
    copied: the other thread sees an old position or the new one, never a half-written block. What does not fit is
    refused (``overflowed_samples``), what is missing is read as zeros (``missing_samples``).

    Shape: blocks ``[n]``, or ``[n, channels]`` where ``channels`` is above 1. Errors: AudioFormatError on a
    capacity or channel count below 1.
    """

    def __init__(self, capacity_samples: int, channels: int = 1) -> None:
        if capacity_samples < 1 or channels < 1:
            raise AudioFormatError(
                f"capacity_samples and channels must be at least 1, got {capacity_samples} and {channels}"
            )
        self.capacity_samples = capacity_samples
        shape = (capacity_samples, channels) if channels > 1 else (capacity_samples,)
        self._store: Samples = np.zeros(shape, np.float32)
        self._written = 0
        self._read = 0
        self.overflowed_samples = 0
        self.missing_samples = 0

    @property
    def available_samples(self) -> int:
        """How many samples wait to be read."""
        return self._written - self._read

    @property
    def free_samples(self) -> int:
        """How many samples may be written."""
        return self.capacity_samples - self.available_samples

    def write(self, samples: Samples) -> int:
        """Copy in as many samples as fit and return their number; the rest is refused. Writing thread only."""
        wanted = len(samples)
        count = min(wanted, self.free_samples)
        start = self._written % self.capacity_samples
        before_end = min(count, self.capacity_samples - start)
        self._store[start : start + before_end] = samples[:before_end]
        self._store[: count - before_end] = samples[before_end:count]
        self._written += count
        self.overflowed_samples += wanted - count
        return count

    def read_into(self, out: Samples) -> int:
        """Fill ``out``, with zeros where samples are missing; returns how many were there. Reading thread only."""
        wanted = len(out)
        count = min(wanted, self.available_samples)
        start = self._read % self.capacity_samples
        before_end = min(count, self.capacity_samples - start)
        out[:before_end] = self._store[start : start + before_end]
        out[before_end:count] = self._store[: count - before_end]
        out[count:] = 0.0
        self._read += count
        self.missing_samples += wanted - count
        return count
