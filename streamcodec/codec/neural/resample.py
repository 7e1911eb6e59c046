"""Streaming resampling between the caller's rate and the network's: a constant delay, one block in, one block out."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from native_dsp.transforms.polyphase import PolyphaseState, make_polyphase, resample_block

Float32Array = NDArray[np.float32]
_HALF_FILTER_PERIODS = 20.0
"""Half length of the filter, its delay, in periods of the lower of the two rates: 2.5 ms at 8 kHz, 0.8 at 48."""
_ATTENUATION_DB = 50.0
"""Of what would fold. The filter then passes 85 % of the lower rate's band and halves what is at 93; more would take
from that band, and where a few kbps leave noise 10 to 20 dB below the sound nobody hears what is 50 dB below it."""


class BlockResampler:
    """Turns blocks of ``in_hz / blocks_per_second`` samples into blocks of ``out_hz / blocks_per_second``.

    The output lags the input by :attr:`delay_samples` at ``delay_hz``, one of the two rates.
    """

    def __init__(self, in_hz: int, out_hz: int, blocks_per_second: int, delay_hz: int) -> None:
        self._out_block_samples = out_hz // blocks_per_second
        self.delay_samples = 0
        self._filter: PolyphaseState | None = None
        if in_hz != out_hz:
            self.delay_samples = math.ceil(_HALF_FILTER_PERIODS * delay_hz / min(in_hz, out_hz))
            delay_s = self.delay_samples / delay_hz
            self._filter = make_polyphase(in_hz, out_hz, in_hz // blocks_per_second, delay_s, _ATTENUATION_DB)

    def reset(self) -> None:
        """Back to the start of a stream."""
        if self._filter is not None:
            self._filter.sound[:] = 0.0

    def process(self, block: Float32Array) -> Float32Array:
        """One block in, one block out.

        Shape: ``[in block]`` -> ``[out block]``.
        """
        if self._filter is None:
            return block
        out = np.empty(self._out_block_samples, np.float32)
        resample_block(self._filter, block, out)
        return out

    def copy(self) -> BlockResampler:
        """An independent resampler in the same state."""
        twin = BlockResampler.__new__(BlockResampler)
        twin.__dict__.update(self.__dict__)
        twin._filter = None if self._filter is None else self._filter.copy()
        return twin
