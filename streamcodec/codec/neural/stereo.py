"""Two channels in the neural tier: one network each, one quality index and one rate for both.

Payload of a packet: the channels' payloads, joined (:mod:`~streamcodec.codec.payload_parts`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamcodec.codec.audio_format import as_array, as_mono
from streamcodec.codec.neural.constant_quality import plan_constant_quality
from streamcodec.codec.neural.encoder import (
    EncodedBlock,
    NeuralEncoder,
    NeuralEncoderState,
    largest_saving,
)
from streamcodec.codec.neural.model import NeuralModel
from streamcodec.codec.neural.rate_control import RateControl
from streamcodec.codec.options import DEFAULT_BITRATE_BPS, NeuralOptions, Samples, check_bitrate
from streamcodec.codec.packet import Packet, PacketFlags
from streamcodec.codec.payload_parts import joined, parts_of
from streamcodec.codec.waveform_blocks import with_channels
from streamcodec.errors import BitrateError
from streamcodec.wording import named

Float32Array = NDArray[np.float32]
CHANNELS = 2


@dataclass
class StereoEncoderState:
    """Everything a :class:`StereoEncoder` remembers."""

    sides: tuple[NeuralEncoderState, ...]
    rate: RateControl


class StereoEncoder:
    """See :class:`~streamcodec.codec.registry.TierEncoder`; blocks are float32 ``[n, 2]``, 20 ms a frame.

    ``bitrate_bps`` is of both channels together: where one is silent the other has its bits.
    Errors: BitrateError for a rate out of range, and for ``dtx``, which is for one channel.
    """

    def __init__(self, options: NeuralOptions, runtime: NeuralModel) -> None:
        if options.dtx:
            raise BitrateError(f"{named('dtx')} is for one channel: leave it out, or code one")
        asked = CHANNELS * DEFAULT_BITRATE_BPS if options.bitrate_bps is None else options.bitrate_bps
        self._bitrate_bps = check_bitrate(asked, CHANNELS)
        self._mode = options.mode or "independent"
        self._constrained = options.constrained
        self._model = runtime.model
        one = replace(options, channels=1, bitrate_bps=self._bitrate_bps / CHANNELS)
        self._sides = tuple(NeuralEncoder(one, runtime) for _ in range(CHANNELS))
        self._rate = self._new_rate()

    def _new_rate(self) -> RateControl:
        frames = self._sides[0].frames
        kbps = tuple(CHANNELS * each for each in self._model.kbps_of_packets(self._mode, frames))
        return RateControl(
            kbps,
            self._model.config.frames_per_second / frames,
            self._bitrate_bps,
            channels=CHANNELS,
            largest_saving=largest_saving(frames),
        )

    @property
    def delay_samples(self) -> int:
        """Lag of the resampler."""
        return self._sides[0].delay_samples

    @property
    def block_samples(self) -> int:
        """Samples of a packet at the caller's rate."""
        return self._sides[0].block_samples

    def accept(self, samples: object) -> Float32Array:
        """Float32 of two channels, NaN to 0, infinities and faults clipped.

        Shape: ``[n, 2]``, float32, float64 or int16 -> ``[n, 2]``.
        """
        array = with_channels(as_array(samples), CHANNELS)
        return np.stack([as_mono(array[:, side]) for side in range(CHANNELS)], axis=1)

    def silence(self, samples: int) -> Float32Array:
        """Silence.

        Shape: output ``[samples, 2]``.
        """
        return np.zeros((samples, CHANNELS), np.float32)

    def closing_blocks(self, pending: Samples) -> list[Samples]:
        """Pending samples and silence, enough for any decoder to give out the last sample."""
        sides = [self._sides[side].closing_blocks(np.ascontiguousarray(pending[:, side])) for side in range(CHANNELS)]
        return [np.stack(blocks, axis=1) for blocks in zip(*sides, strict=True)]

    def set_frames(self, frames: int) -> None:
        """Put so many frames into each packet from the next block on; everything else goes on as it was."""
        for side in self._sides:
            side.set_frames(frames)
        fresh = self._new_rate()
        self._rate.kbps_by_quality, self._rate.packets_per_second = fresh.kbps_by_quality, fresh.packets_per_second
        self._rate.largest_saving = fresh.largest_saving

    def set_bitrate(self, bitrate_bps: float) -> None:
        """Aim at another rate, of both channels together, from the next block on."""
        self._rate.set_bitrate(bitrate_bps)
        self._bitrate_bps = self._rate.bitrate_bps
        for side in self._sides:
            side.set_bitrate(bitrate_bps / CHANNELS)

    def request_key(self) -> None:
        """Make the next block a key block."""
        for side in self._sides:
            side.request_key()

    def encode(self, block: Samples) -> EncodedBlock:
        """Code one packet's worth.

        Shape: ``[block_samples, 2]``.
        """
        for number, side in enumerate(self._sides):
            side.take_in(np.ascontiguousarray(block[:, number]))
        found = [side.next_flags() for side in self._sides]
        # Alike: only dtx, which two channels do not have, tells one side's from the other's.
        flags = found[0] or PacketFlags.NONE
        for side in self._sides:
            side.begin(flags)
        nothing = [side.is_nothing() for side in self._sides]
        saving = 0.0
        if all(nothing):
            quality_index = 0
        elif self._constrained:
            quality_index = min(side.highest_quality_within_budget() for side in self._sides)
        else:
            voiced = sum(side.voiced_share() for side in self._sides) / CHANNELS
            tonal = sum(side.tonal_share() for side in self._sides) / CHANNELS
            quality_index = self._rate.choose_quality_index(voiced, tonal)
            saving = self._rate.saving
        payload = joined([side.coded(quality_index, saving) for side in self._sides])
        self._rate.spent(8.0 * len(payload), None if all(nothing) or self._constrained else quality_index)
        return EncodedBlock(quality_index, flags, payload)

    def plan_constant_quality(self, blocks: Sequence[Samples], budget_s: float) -> float:
        """As :meth:`NeuralEncoder.plan_constant_quality`, one fractional quality index for both channels.

        Shape: each block ``[block_samples, 2]``.
        """
        sides = [
            side.foresee([np.ascontiguousarray(block[:, number]) for block in blocks])
            for number, side in enumerate(self._sides)
        ]
        return plan_constant_quality(self._sides, list(zip(*sides, strict=True)), self._rate, budget_s)

    def reset(self) -> None:
        """Back to the start of a stream."""
        for side in self._sides:
            side.reset()
        self._rate = self._new_rate()

    def state(self) -> StereoEncoderState:
        """A copy of everything remembered."""
        return StereoEncoderState(tuple(side.state() for side in self._sides), copy.copy(self._rate))

    def restore(self, state: StereoEncoderState) -> None:
        """Continue from a copied state."""
        for side, kept in zip(self._sides, state.sides, strict=True):
            side.restore(kept)
        self._rate = copy.copy(state.rate)
        self._bitrate_bps = self._rate.bitrate_bps


def apart(packet: Packet) -> tuple[Packet, ...] | None:
    """The packet of each channel, without copies; None where the payload is none of two channels."""
    parts = parts_of(packet.payload, CHANNELS)
    return None if parts is None else tuple(replace(packet, payload=part, redundant=()) for part in parts)
