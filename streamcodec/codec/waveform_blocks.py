"""What the lossless and the near-lossless tier share: their blocks, the pace of key blocks, shapes of samples."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from streamcodec.codec.options import Samples
from streamcodec.codec.packet import PacketFlags
from streamcodec.errors import AudioFormatError


@dataclass(frozen=True)
class WaveformBlock:
    """A coded block of a waveform tier."""

    flags: PacketFlags
    payload: bytes
    quality_index: int = 0


def waveform_block(payload: bytes, is_key: bool) -> WaveformBlock:
    """A payload with the flags that belong to it."""
    return WaveformBlock(PacketFlags.KEY if is_key else PacketFlags.NONE, payload)


@dataclass
class KeyPace:
    """Says when a key block is due: the first, and every ``period_blocks``-th after it."""

    period_blocks: int
    since_key_blocks: int = 0

    def take(self) -> bool:
        """Whether the next block is to be a key block; counts it."""
        due = self.since_key_blocks % self.period_blocks == 0
        self.since_key_blocks = 1 if due else self.since_key_blocks + 1
        return due

    def request(self) -> None:
        """The next block is to be a key block."""
        self.since_key_blocks = 0

    def copy(self) -> KeyPace:
        """An independent copy."""
        return replace(self)


def with_channels(samples: Samples, channels: int) -> Samples:
    """Samples with an axis of channels; raises AudioFormatError where they have another number of them.

    Shape: ``[n]`` (one channel) or ``[n, channels]`` -> ``[n, channels]``.
    """
    if samples.ndim == 1 and channels == 1:
        return samples[:, None]
    if samples.ndim != 2 or samples.shape[1] != channels:
        raise AudioFormatError(
            f"samples of a stream with channels={channels} have the shape [n, {channels}], got "
            f"{list(samples.shape)}; transpose channels-first sound"
        )
    return samples


def padded_to_blocks(samples: Samples, blocks: int, block_samples: int) -> list[Samples]:
    """Samples cut into so many blocks, silence behind them.

    Shape: ``[n, channels]`` -> ``blocks`` times ``[block_samples, channels]``.
    """
    padded = np.zeros((blocks, block_samples, samples.shape[1]), samples.dtype)
    padded.reshape(-1, samples.shape[1])[: len(samples)] = samples
    return list(padded)
