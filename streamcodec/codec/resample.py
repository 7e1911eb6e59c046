"""Streaming resampling with a known, constant delay, one block in, one block out.

libsamplerate does the filtering: of the kept-up libraries it delays least (soxr's streaming mode holds back up to
75 ms in bursts) and its state can be cloned.
"""

from __future__ import annotations

import math

import numpy as np
import samplerate
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
_CONVERTER = "sinc_fastest"
_HALF_FILTER_PERIODS = 20.0
"""Half length of the converter's filter in periods of the lower of the two rates (19.3), and some rounding."""


class BlockResampler:
    """Turns blocks of ``in_hz / blocks_per_second`` samples into blocks of ``out_hz / blocks_per_second``.

    The output lags the input by :attr:`delay_samples` (at ``delay_hz``): silence is put in front, at the input
    where that rate is the caller's (``prime_input``), else at the output, so the lag is a whole number there.
    """

    def __init__(self, in_hz: int, out_hz: int, blocks_per_second: int, prime_input: bool) -> None:
        self.out_block_samples = out_hz // blocks_per_second
        self._ratio = out_hz / in_hz
        self._identity = in_hz == out_hz
        self._prime_input = prime_input
        self.delay_hz = in_hz if prime_input else out_hz
        self.delay_samples = (
            0 if self._identity else math.ceil(_HALF_FILTER_PERIODS * self.delay_hz / min(in_hz, out_hz))
        )
        self._resampler = samplerate.Resampler(_CONVERTER, channels=1)
        self._queue = np.zeros(0, dtype=np.float32)
        self.reset()

    def reset(self) -> None:
        """Back to the start of a stream."""
        self._queue = np.zeros(0, dtype=np.float32)
        if self._identity:
            return
        self._resampler.reset()
        silence = np.zeros(self.delay_samples, dtype=np.float32)
        self._queue = self._convert(silence) if self._prime_input else silence

    def _convert(self, block: Float32Array) -> Float32Array:
        return np.array(self._resampler.process(block, self._ratio), dtype=np.float32)

    def process(self, block: Float32Array) -> Float32Array:
        """One block in, one block out.

        Shape: ``[in block]`` -> ``[out_block_samples]``.
        """
        if self._identity:
            return block
        queue = np.concatenate([self._queue, self._convert(block)])
        self._queue = queue[self.out_block_samples :]
        return queue[: self.out_block_samples]

    def copy(self) -> BlockResampler:
        """An independent resampler in the same state."""
        twin = BlockResampler.__new__(BlockResampler)
        twin.__dict__.update(self.__dict__)
        twin._resampler = self._resampler.clone()
        twin._queue = self._queue.copy()
        return twin
