"""What the three tiers have in common: the settings of a stream, and the shape that each tier's coder has.

A tier's coder takes blocks of the caller's samples and knows nothing of packets, files or odd pieces of sound: those
are the work of ``stream.py``, the same for all tiers. Tiers are loaded when one is asked for, so that a neural stream
neither imports nor compiles the waveform tiers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from numpy.typing import NDArray

from streamcodec.codec.packet import MAX_FRAMES, Packet, PacketFlags, Tier
from streamcodec.errors import AudioFormatError, BackendError, BitrateError
from streamcodec.models.shipped import DEFAULT_MODEL
from streamcodec.runtime.backend import Backend

if TYPE_CHECKING:
    from streamcodec.codec.near_lossless.engine import Optimise

Samples = NDArray[Any]
PacketMode = Literal["independent", "stream"]
TierName = Literal["neural", "near-lossless", "lossless"]
DEFAULT_KEY_PERIOD_S = 1.0
FRAME_MS = 20
PACKET_MS_CHOICES = tuple(FRAME_MS * frames for frames in range(1, MAX_FRAMES + 1))
MIN_KEY_PERIOD_S, MAX_KEY_PERIOD_S = 0.02, 10.0


def tier_of(name: str | Tier) -> Tier:
    """The tier of this name; raises AudioFormatError."""
    if isinstance(name, Tier):
        return name
    for tier in Tier:
        if name == tier_name(tier):
            return tier
    raise AudioFormatError(f"tier must be 'neural', 'near-lossless' or 'lossless', got {name!r}")


def tier_name(tier: Tier) -> str:
    """The name that people use, such as ``near-lossless``."""
    return tier.name.lower().replace("_", "-")


@dataclass(frozen=True)
class EncoderSettings:
    """What a stream is to be coded as; see ``StreamEncoder`` for each field.

    Errors: AudioFormatError, BackendError, BitrateError for what no tier takes, or the chosen one does not.
    """

    tier: Tier
    sample_rate_hz: int
    bitrate_bps: float | None = None
    channels: int = 1
    bits_per_sample: int = 16
    mode: PacketMode | None = None
    constrained: bool = False
    dtx: bool = False
    model: str = DEFAULT_MODEL
    optimise: Optimise = "perceptual"
    ratio: float | None = None
    snr_db: float | None = None
    step_index: int | None = None
    key_period_s: float = DEFAULT_KEY_PERIOD_S
    packet_ms: int | None = None
    backend: Backend = "auto"

    def __post_init__(self) -> None:
        if self.mode not in (None, "independent", "stream"):
            raise AudioFormatError(f"mode must be 'independent' or 'stream', got {self.mode!r}")
        if not MIN_KEY_PERIOD_S <= self.key_period_s <= MAX_KEY_PERIOD_S:
            raise AudioFormatError(
                f"key_period_s must be {MIN_KEY_PERIOD_S:g} to {MAX_KEY_PERIOD_S:g}, got {self.key_period_s!r}"
            )
        targets = {"ratio": self.ratio, "snr_db": self.snr_db, "step_index": self.step_index}
        given = [name for name, value in {"bitrate_bps": self.bitrate_bps, **targets}.items() if value is not None]
        if self.tier is Tier.LOSSLESS and given:
            raise BitrateError(f"lossless coding takes the bits it needs: {given[0]} does not apply")
        if self.tier is Tier.NEURAL and given not in ([], ["bitrate_bps"]):
            raise BitrateError(f"the neural tier goes by bitrate_bps: {given[-1]} is for the near-lossless tier")
        if len(given) > 1:
            raise BitrateError(f"give one rate target, not {' and '.join(given)}")
        if self.tier is not Tier.NEURAL and (self.constrained or self.dtx):
            raise BitrateError("constrained and dtx are for the neural tier")
        if self.packet_ms is not None and self.tier is not Tier.NEURAL:
            raise AudioFormatError(
                "packet_ms is for the neural tier: an waveform tier's packets have a length of their own"
            )
        if self.packet_ms is not None and self.packet_ms not in PACKET_MS_CHOICES:
            raise AudioFormatError(
                f"packet_ms must be one of {', '.join(map(str, PACKET_MS_CHOICES))}, got {self.packet_ms!r}"
            )
        _check_backend(self.tier, self.backend)

    @property
    def frames(self) -> int:
        """Frames in a packet: more than one in long packets of the neural tier."""
        return 1 if self.packet_ms is None else self.packet_ms // FRAME_MS

    def key_period_blocks(self, block_samples: int) -> int:
        """How many blocks there are from one key block of an waveform tier to the next."""
        if self.mode == "independent":
            return 1
        return max(1, round(self.key_period_s * self.sample_rate_hz / block_samples))


@dataclass(frozen=True)
class DecoderSettings:
    """What a decoder gives out, and so what it takes: see ``StreamDecoder`` for each field."""

    tier: Tier
    sample_rate_hz: int
    channels: int = 1
    bits_per_sample: int = 16
    model: str = DEFAULT_MODEL
    backend: Backend = "auto"
    restorer: str | None = None

    def __post_init__(self) -> None:
        _check_backend(self.tier, self.backend)
        if self.restorer is not None and self.tier is not Tier.NEURAL:
            raise AudioFormatError("a restorer is for the neural tier: the waveform tiers need none")


def _check_backend(tier: Tier, backend: Backend) -> None:
    if tier is not Tier.NEURAL and backend != "auto":
        raise BackendError(f"the {tier_name(tier)} tier has no networks to step: leave backend at 'auto'")


class EncodedBlock(Protocol):
    """What became of one block of sound."""

    @property
    def quality_index(self) -> int:
        """Rate level; 0 where a tier has none."""

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

    def reset(self) -> None:
        """Back to the start of a stream."""

    def state(self) -> Any:
        """A copy of everything remembered."""

    def restore(self, state: Any) -> None:
        """Continue from a copied state."""


@runtime_checkable
class RedundantEncoder(Protocol):
    """A tier's encoder that can code what it coded a moment ago again, coarser."""

    def encode_redundant(self, age: int, quality_index: int) -> tuple[int, bytes] | None:
        """(level, key payload) of the block coded ``age`` blocks ago, which was at ``quality_index``; None if too old."""


@runtime_checkable
class PlanningEncoder(Protocol):
    """A tier's encoder that can spread a rate over sound that it is shown before."""

    def plan_constant_quality(self, blocks: Sequence[Samples], budget_s: float) -> float:
        """Hold the finest level at which ``blocks``, which must come next, fit; returns the seconds' worth left over.

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


def make_tier_encoder(settings: EncoderSettings) -> TierEncoder:
    """The encoder of a tier, compiled and ready; raises AudioFormatError, BitrateError or ModelError."""
    if settings.tier is Tier.LOSSLESS:
        from streamcodec.codec.lossless.tier import LosslessTierEncoder

        return LosslessTierEncoder(settings)
    if settings.tier is Tier.NEAR_LOSSLESS:
        from streamcodec.codec.near_lossless.tier import NearLosslessTierEncoder

        return NearLosslessTierEncoder(settings)
    from streamcodec.codec.neural.tier import NeuralTierEncoder

    return NeuralTierEncoder(settings)


def make_tier_decoder(settings: DecoderSettings) -> TierDecoder:
    """The decoder of a tier, compiled and ready; raises AudioFormatError or ModelError."""
    if settings.tier is Tier.LOSSLESS:
        from streamcodec.codec.lossless.tier import LosslessTierDecoder

        return LosslessTierDecoder(settings)
    if settings.tier is Tier.NEAR_LOSSLESS:
        from streamcodec.codec.near_lossless.tier import NearLosslessTierDecoder

        return NearLosslessTierDecoder(settings)
    from streamcodec.codec.neural.tier import NeuralTierDecoder

    return NeuralTierDecoder(settings)
