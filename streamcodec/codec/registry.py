"""The tiers by name, and the shape that each tier's encoder and decoder has.

A tier's coder takes blocks of the caller's samples and knows nothing of packets, files or odd pieces of sound: those
are the work of ``stream.py``, the same for all tiers. A tier is a module with ``Encoder`` and ``Decoder``, loaded
when it is asked for, so that a neural stream neither imports nor compiles the waveform tiers.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Protocol, cast, runtime_checkable

from streamcodec.codec.options import DecoderOptions, EncoderOptions, Samples
from streamcodec.codec.packet import Packet, PacketFlags, Tier

TIERS: dict[Tier, str] = {
    Tier.NEURAL: "streamcodec.codec.neural.tier",
    Tier.NEAR_LOSSLESS: "streamcodec.codec.near_lossless.tier",
    Tier.LOSSLESS: "streamcodec.codec.lossless.tier",
}
RECENT_PACKETS = 9
"""How many packets back :meth:`RedundantEncoder.encode_redundant` reaches."""


class EncodedBlock(Protocol):
    """What became of one block of sound."""

    @property
    def quality_index(self) -> int:
        """Of the neural tier; 0 where a tier has none."""

    @property
    def flags(self) -> PacketFlags:
        """What a decoder must know before it reads the payload."""

    @property
    def payload(self) -> bytes:
        """The coded sound."""


class TierEncoder(Protocol):
    """Sending side of a tier: blocks of the caller's samples in, coded blocks out."""

    @property
    def block_samples(self) -> int:
        """Length of a block at the caller's rate."""

    @property
    def delay_samples(self) -> int:
        """Samples by which this side makes the decoded stream lag the input."""

    def accept(self, samples: object) -> Samples:
        """Samples as blocks are cut from them; raises AudioFormatError for what the tier does not take."""

    def encode(self, block: Samples) -> EncodedBlock | None:
        """Code one block; None where nothing need be sent."""

    def silence(self, samples: int) -> Samples:
        """So many samples of silence, of the type and shape that :meth:`accept` gives."""

    def closing_blocks(self, pending: Samples) -> list[Samples]:
        """Blocks that end a stream: the samples pending, and what it takes to get the last of them out."""

    def set_bitrate(self, bitrate_bps: float) -> None:
        """Aim at another rate from the next block on; raises BitrateError."""

    def request_key(self) -> None:
        """Make the next block that is sent decode without those before it."""

    def reset(self) -> None:
        """Back to the start of a stream."""

    def state(self) -> Any:
        """A copy of everything remembered."""

    def restore(self, state: Any) -> None:
        """Continue from a copied state."""


@runtime_checkable
class RedundantEncoder(Protocol):
    """A tier's encoder that can code what it coded a moment ago again, coarser."""

    def encode_redundant(
        self, age: int, first: int, frames: int, quality_index: int, share: float
    ) -> tuple[int, bytes] | None:
        """(quality index, key payload) of so many frames, from frame ``first`` of the block coded ``age`` blocks ago
        on, at a share of the rate of ``quality_index``.

        None if they are too old, or cannot be coded together.
        """


@runtime_checkable
class AdjustableEncoder(Protocol):
    """A tier's encoder whose packets may become longer or shorter as it goes."""

    def set_frames(self, frames: int) -> None:
        """Put so many frames into each packet from the next block on."""


@runtime_checkable
class PlanningEncoder(Protocol):
    """A tier's encoder that can spread a rate over sound that it is shown before."""

    def plan_constant_quality(self, blocks: Sequence[Samples], budget_s: float) -> float:
        """Keep the finest fractional quality index at which ``blocks``, which must come next, fit; returns the
        seconds' worth left over.

        They may take ``budget_s`` seconds' worth of the bitrate.
        """


class TierDecoder(Protocol):
    """Receiving side of a tier: coded blocks, or nothing, in; the caller's samples out."""

    @property
    def block_samples(self) -> int:
        """Length of a block at the caller's rate."""

    @property
    def delay_samples(self) -> int:
        """Samples by which this side makes the decoded stream lag the input."""

    def decode(self, packet: Packet | None) -> tuple[Samples, bool]:
        """Samples of the next block, whatever came, and whether the packet was of use; never raises.

        Packets of several frames come one frame at a time (see ``Packet.each_frame``).
        """

    def drain(self) -> Samples:
        """What is still inside at the end of a stream."""

    def silence(self, samples: int) -> Samples:
        """So many samples of silence, of the type and shape that :meth:`decode` gives."""

    def reset(self) -> None:
        """Back to the start of a stream."""

    def state(self) -> Any:
        """A copy of everything remembered."""

    def restore(self, state: Any) -> None:
        """Continue from a copied state."""


@runtime_checkable
class BridgingDecoder(Protocol):
    """A tier's decoder that conceals a gap better where it knows what comes after it."""

    def bridge(self, following: Packet) -> Samples:
        """Sound of a lost block, as :meth:`TierDecoder.decode` of None gives it; ``following`` is the next packet
        that is there, which is decoded later."""


def make_tier_encoder(options: EncoderOptions) -> TierEncoder:
    """The encoder of a tier, compiled and ready; raises AudioFormatError, BitrateError or ModelError."""
    return cast(TierEncoder, importlib.import_module(TIERS[options.tier]).Encoder(options))


def make_tier_decoder(options: DecoderOptions) -> TierDecoder:
    """The decoder of a tier, compiled and ready; raises AudioFormatError or ModelError."""
    return cast(TierDecoder, importlib.import_module(TIERS[options.tier]).Decoder(options))
