"""Steady quality for sound that is known before: the finest fractional quality index at which it fits its budget.

One channel and two are planned alike: channels share quality index and rate.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamcodec.codec.neural.model import LatentContext
from streamcodec.codec.neural.rate_control import RateControl, highest_fractional_index_within
from streamcodec.codec.packet import PacketFlags
from streamcodec.codec.varint import varint_bytes

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class ForeseenBlock:
    """What is known of a block to come before its quality index is.

    Shape: latents ``[frames, latents]``; tones as :func:`~native_dsp.filters.tones.put_tones` takes them.
    """

    latents: Float32Array
    tones: Float64Array
    flags: PacketFlags
    voiced: float
    tonal: float
    shift: int
    nothing: bool
    """Silence after silence: coded as coarsely as can be."""

    @property
    def is_silent(self) -> bool:
        """Whether there is nothing in it to be described."""
        return self.nothing or PacketFlags.SILENCE in self.flags


class ForeseeingEncoder(Protocol):
    """The encoder of one channel, which can tell what blocks to come will take."""

    def new_context(self) -> LatentContext:
        """A copy of the context of the next block."""

    def foreseen_bytes(
        self, block: ForeseenBlock, quality_index: int, context: LatentContext, saving: float = 0.0
    ) -> int:
        """Bytes that a block will take; ``context`` becomes that of the block after."""


def plan_constant_quality(
    sides: Sequence[ForeseeingEncoder],
    blocks: Sequence[tuple[ForeseenBlock, ...]],
    rate: RateControl,
    budget_s: float,
) -> float:
    """Have ``rate`` keep the finest fractional quality index at which these blocks, which must come next, fit.

    Each of ``blocks`` holds one for each of ``sides``, the encoders of the channels. They may take ``budget_s``
    seconds' worth of the bitrate; returns how much of that they leave over.
    """
    budget_bits = budget_s * rate.bitrate_bps
    qualities = len(rate.kbps_by_quality)
    index, bits = highest_fractional_index_within(
        budget_bits, qualities, partial(_bits_at, sides, blocks, rate), -rate.largest_saving
    )
    rate.constant_quality_index = index
    return (budget_bits - bits) / rate.bitrate_bps


def _bits_at(
    sides: Sequence[ForeseeingEncoder],
    blocks: Sequence[tuple[ForeseenBlock, ...]],
    rate: RateControl,
    fractional_index: float,
) -> float:
    rate = copy.copy(rate)
    rate.constant_quality_index = fractional_index
    contexts = [side.new_context() for side in sides]
    total = 0
    for channels in blocks:
        voiced = sum(block.voiced for block in channels) / len(channels)
        tonal = sum(block.tonal for block in channels) / len(channels)
        silent = all(block.is_silent for block in channels)
        quality_index = 0 if silent else rate.choose_quality_index(voiced, tonal)
        saving = 0.0 if silent else rate.saving
        sizes = [
            side.foreseen_bytes(block, quality_index, context, saving)
            for side, block, context in zip(sides, channels, contexts, strict=True)
        ]
        # Payloads of two channels go behind the length of the first.
        total += sum(sizes) + (varint_bytes(sizes[0]) if len(sizes) > 1 else 0)
    return 8.0 * total
