"""Streaming resampling of sound in pieces of any length, for listeners whose rate is not the stream's."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from native_dsp.transforms.polyphase import PolyphaseState, make_polyphase, resample_block

Float32Array = NDArray[np.float32]
HALF_FILTER_PERIODS = 32
"""Half length of the filter, its delay, in periods of the lower of the two rates: 0.7 ms at 44.1 kHz."""
ATTENUATION_DB = 80.0
LEAST_CHUNK_SAMPLES = 64
SMALLEST_COMMON_HZ = 25
"""Rates are rounded to multiples of this, so that filters stay small: below 0.2 % of any rate from 8 kHz on."""


class StreamResampler:
    """Turns pieces of any length at ``in_hz`` into what they complete at ``out_hz``.

    The output lags by :data:`HALF_FILTER_PERIODS` of the lower rate, and by what does not fill a chunk yet: a few
    milliseconds at most.
    """

    def __init__(self, in_hz: int, out_hz: int, channels: int = 1) -> None:
        if math.gcd(in_hz, out_hz) < SMALLEST_COMMON_HZ:
            in_hz, out_hz = (SMALLEST_COMMON_HZ * round(hz / SMALLEST_COMMON_HZ) for hz in (in_hz, out_hz))
        common = math.gcd(in_hz, out_hz)
        up, down = out_hz // common, in_hz // common
        self._chunk = down * -(-LEAST_CHUNK_SAMPLES // down)
        self._out_chunk = self._chunk // down * up
        lower_hz = min(in_hz, out_hz)
        delay_s = math.ceil(HALF_FILTER_PERIODS * in_hz / lower_hz) / in_hz
        self._filters: list[PolyphaseState] = [
            make_polyphase(in_hz, out_hz, self._chunk, delay_s, ATTENUATION_DB) for _ in range(channels)
        ]
        self._pending = np.zeros((0, channels), np.float32)

    @property
    def filter(self) -> PolyphaseState:
        """Of the first channel: its taps and the length of a chunk are those of all."""
        return self._filters[0]

    def process(self, sound: Float32Array) -> Float32Array:
        """What the sound so far completes.

        Shape: ``[n]`` or ``[n, channels]`` -> the same with another n.
        """
        channels = len(self._filters)
        plane = np.concatenate([self._pending, sound.reshape(-1, channels)])
        chunks = len(plane) // self._chunk
        out = np.empty((channels, chunks * self._out_chunk), np.float32)
        for channel, state in enumerate(self._filters):
            samples = np.ascontiguousarray(plane[:, channel])
            for k in range(chunks):
                resample_block(
                    state,
                    samples[k * self._chunk : (k + 1) * self._chunk],
                    out[channel, k * self._out_chunk : (k + 1) * self._out_chunk],
                )
        self._pending = plane[chunks * self._chunk :].copy()
        return out[0] if sound.ndim == 1 else np.ascontiguousarray(out.T)
