"""What a stream is to be coded as: the options of each tier, checked before anything is made of them.

What does not go together cannot be said: each tier has a class of its own, and :func:`encoder_options` is the
friendly face that takes everything by name and says which option belongs to which tier.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streamcodec.codec.packet import MAX_FRAMES, Tier
from streamcodec.errors import AudioFormatError, BackendError, BitrateError, ModelError, StreamcodecError
from streamcodec.models.shipped import DEFAULT_MODEL as DEFAULT_MODEL
from streamcodec.runtime.backend import Backend

Samples = NDArray[Any]
PacketMode = Literal["independent", "stream"]
Optimise = Literal["perceptual", "mse"]
TierName = Literal["neural", "near-lossless", "lossless"]
DEFAULT_KEY_PERIOD_S = 1.0
FRAME_MS = 20
PACKET_MS_CHOICES = tuple(FRAME_MS * frames for frames in range(1, MAX_FRAMES + 1))
LOSSLESS_PACKET_MS_CHOICES = PACKET_MS_CHOICES[:-1]
"""Up to what a receiver waits for: 100 ms."""
MIN_KEY_PERIOD_S, MAX_KEY_PERIOD_S = 0.02, 10.0


def check_whole(name: str, value: object, error: type[StreamcodecError] = AudioFormatError) -> None:
    """Raise ``error`` for what is not a whole number."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise error(f"{name} must be a whole number, got {value!r}")


def check_number(name: str, value: object, error: type[StreamcodecError], *, none: bool = False) -> None:
    """Raise ``error`` for what is not a finite number (or None, where ``none`` says that this is one)."""
    if value is None and none:
        return
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not math.isfinite(float(str(value))):
        unit = " of bits per second" if name == "bitrate_bps" else ""
        raise error(f"{name} must be a number{unit}, got {value!r}")


def check_model(name: object) -> None:
    """Raise ModelError for what is no name of a model."""
    if not isinstance(name, str) or not name or "\0" in name:
        raise ModelError(f"model must be the name or the folder of a model, got {name!r}")


def check_neural_channels(channels: int) -> None:
    """Raise AudioFormatError for a number of channels that the neural tier does not code."""
    if channels not in (1, 2):
        raise AudioFormatError(
            f"the neural tier codes one channel, or two, got channels={channels}: sound of several is mixed down to "
            "one when pushed"
        )


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
class NeuralOptions:
    """Options of the neural tier; see ``StreamEncoder`` for each field."""

    tier: ClassVar[Literal[Tier.NEURAL]] = Tier.NEURAL
    sample_rate_hz: int
    bitrate_bps: float | None = None
    mode: PacketMode | None = None
    constrained: bool = False
    dtx: bool = False
    model: str = DEFAULT_MODEL
    key_period_s: float = DEFAULT_KEY_PERIOD_S
    packet_ms: int | None = None
    backend: Backend = "auto"
    channels: int = 1

    bits_per_sample: ClassVar[Literal[16]] = 16
    ratio: ClassVar[None] = None

    def __post_init__(self) -> None:
        _check_stream(self.sample_rate_hz, self.mode, self.key_period_s)
        check_number("bitrate_bps", self.bitrate_bps, BitrateError, none=True)
        check_model(self.model)
        check_whole("channels", self.channels)
        check_neural_channels(self.channels)
        if self.packet_ms is not None and self.packet_ms not in PACKET_MS_CHOICES:
            raise AudioFormatError(
                f"packet_ms must be one of {', '.join(map(str, PACKET_MS_CHOICES))}, got {self.packet_ms!r}"
            )

    @property
    def frames(self) -> int:
        """Frames in a packet: more than one in long packets."""
        return 1 if self.packet_ms is None else self.packet_ms // FRAME_MS


@dataclass(frozen=True)
class NearLosslessOptions:
    """Options of the near-lossless tier, with at most one rate target; see ``StreamEncoder`` for each field."""

    tier: ClassVar[Literal[Tier.NEAR_LOSSLESS]] = Tier.NEAR_LOSSLESS
    sample_rate_hz: int
    channels: int = 1
    bitrate_bps: float | None = None
    ratio: float | None = None
    snr_db: float | None = None
    step_index: int | None = None
    optimise: Optimise | None = None
    """Where nothing is said, for the ear, and for the least squared error where a ratio of it is to be held."""
    mode: PacketMode | None = None
    key_period_s: float = DEFAULT_KEY_PERIOD_S
    bits_per_sample: int = 16
    finer_blocks: int = 0
    """Blocks from the start of the stream that are coded one step index finer than ``step_index``."""

    frames: ClassVar[Literal[1]] = 1
    packet_ms: ClassVar[None] = None
    model: ClassVar[str] = DEFAULT_MODEL

    def __post_init__(self) -> None:
        _check_stream(self.sample_rate_hz, self.mode, self.key_period_s)
        check_whole("channels", self.channels)
        check_whole("bits_per_sample", self.bits_per_sample)
        for name in ("bitrate_bps", "ratio", "snr_db"):
            check_number(name, getattr(self, name), BitrateError, none=True)
        if self.step_index is not None:
            check_whole("step_index", self.step_index, BitrateError)
        _check_optimise(self.optimise)
        if self.snr_db is not None and self.optimise == "perceptual":
            raise BitrateError(
                "a signal-to-noise ratio is held with optimise='mse': noise that follows the ear has none to hold; "
                "leave optimise out, or give ratio or bitrate_bps"
            )
        chosen = self.optimise or ("perceptual" if self.snr_db is None else "mse")
        object.__setattr__(self, "optimise", chosen)
        targets = ("bitrate_bps", "ratio", "snr_db", "step_index")
        given = [name for name in targets if getattr(self, name) is not None]
        if len(given) > 1:
            raise BitrateError(f"give one rate target, not {' and '.join(given)}")

    @property
    def has_target(self) -> bool:
        """Whether anything is said about the rate."""
        return any(value is not None for value in (self.bitrate_bps, self.ratio, self.snr_db, self.step_index))

    def key_period_blocks(self, block_samples: int) -> int:
        """How many blocks there are from one key block to the next."""
        return _key_period_blocks(self, block_samples)


@dataclass(frozen=True)
class LosslessOptions:
    """Options of the lossless tier; see ``StreamEncoder`` for each field."""

    tier: ClassVar[Literal[Tier.LOSSLESS]] = Tier.LOSSLESS
    sample_rate_hz: int
    channels: int = 1
    bits_per_sample: int = 16
    mode: PacketMode | None = None
    key_period_s: float = DEFAULT_KEY_PERIOD_S
    packet_ms: int | None = None

    frames: ClassVar[Literal[1]] = 1
    bitrate_bps: ClassVar[None] = None
    ratio: ClassVar[None] = None
    model: ClassVar[str] = DEFAULT_MODEL

    def __post_init__(self) -> None:
        _check_stream(self.sample_rate_hz, self.mode, self.key_period_s)
        check_whole("channels", self.channels)
        check_whole("bits_per_sample", self.bits_per_sample)
        if self.packet_ms is not None and self.packet_ms not in LOSSLESS_PACKET_MS_CHOICES:
            raise AudioFormatError(
                "packet_ms of the lossless tier must be one of "
                f"{', '.join(map(str, LOSSLESS_PACKET_MS_CHOICES))}, got {self.packet_ms!r}"
            )

    def key_period_blocks(self, block_samples: int) -> int:
        """How many blocks there are from one key block to the next."""
        return _key_period_blocks(self, block_samples)


EncoderOptions: TypeAlias = NeuralOptions | NearLosslessOptions | LosslessOptions


def encoder_options(
    tier: TierName | Tier,
    sample_rate_hz: int,
    bitrate_bps: float | None = None,
    *,
    channels: int = 1,
    bits_per_sample: int = 16,
    mode: PacketMode | None = None,
    constrained: bool = False,
    dtx: bool = False,
    model: str = DEFAULT_MODEL,
    optimise: Optimise | None = None,
    ratio: float | None = None,
    snr_db: float | None = None,
    step_index: int | None = None,
    key_period_s: float = DEFAULT_KEY_PERIOD_S,
    packet_ms: int | None = None,
    backend: Backend = "auto",
) -> EncoderOptions:
    """The options of a tier, of everything that ``StreamEncoder`` takes.

    Errors: AudioFormatError, BackendError, BitrateError for what no tier takes, or the chosen one does not.
    """
    kind = tier_of(tier)
    check_model(model)
    _check_optimise(optimise)
    targets = {"bitrate_bps": bitrate_bps, "ratio": ratio, "snr_db": snr_db, "step_index": step_index}
    given = [name for name, value in targets.items() if value is not None]
    if kind is Tier.NEURAL:
        if given not in ([], ["bitrate_bps"]):
            raise BitrateError(f"the neural tier goes by bitrate_bps: {given[-1]} is for the near-lossless tier")
        check_whole("channels", channels)
        check_whole("bits_per_sample", bits_per_sample)
        return NeuralOptions(
            sample_rate_hz, bitrate_bps, mode, constrained, dtx, model, key_period_s, packet_ms, backend, channels
        )
    if constrained or dtx:
        raise BitrateError("constrained and dtx are for the neural tier")
    if packet_ms is not None and kind is Tier.NEAR_LOSSLESS:
        raise AudioFormatError(
            "packet_ms is for the neural and the lossless tier: near-lossless packets have a length of their own"
        )
    _check_backend(kind, backend)
    if kind is Tier.LOSSLESS:
        if given:
            raise BitrateError(f"lossless coding takes the bits it needs: {given[0]} does not apply")
        return LosslessOptions(sample_rate_hz, channels, bits_per_sample, mode, key_period_s, packet_ms)
    return NearLosslessOptions(
        sample_rate_hz,
        channels,
        bitrate_bps,
        ratio,
        snr_db,
        step_index,
        optimise,
        mode,
        key_period_s,
        bits_per_sample,
    )


@dataclass(frozen=True)
class DecoderOptions:
    """What a decoder gives out, and so what it takes: see ``StreamDecoder`` for each field."""

    tier: Tier
    sample_rate_hz: int
    channels: int = 1
    bits_per_sample: int = 16
    model: str = DEFAULT_MODEL
    backend: Backend = "auto"

    def __post_init__(self) -> None:
        check_whole("sample_rate_hz", self.sample_rate_hz)
        check_whole("channels", self.channels)
        check_whole("bits_per_sample", self.bits_per_sample)
        check_model(self.model)
        _check_backend(self.tier, self.backend)


def _check_optimise(optimise: object) -> None:
    if optimise not in (None, "perceptual", "mse"):
        raise BitrateError(f"optimise must be 'perceptual' or 'mse', got {optimise!r}")


def _check_stream(sample_rate_hz: object, mode: object, key_period_s: float) -> None:
    check_whole("sample_rate_hz", sample_rate_hz)
    check_number("key_period_s", key_period_s, AudioFormatError)
    if mode not in (None, "independent", "stream"):
        raise AudioFormatError(f"mode must be 'independent' or 'stream', got {mode!r}")
    if not MIN_KEY_PERIOD_S <= key_period_s <= MAX_KEY_PERIOD_S:
        raise AudioFormatError(
            f"key_period_s must be {MIN_KEY_PERIOD_S:g} to {MAX_KEY_PERIOD_S:g}, got {key_period_s!r}"
        )


def _key_period_blocks(options: NearLosslessOptions | LosslessOptions, block_samples: int) -> int:
    if options.mode == "independent":
        return 1
    return max(1, round(options.key_period_s * options.sample_rate_hz / block_samples))


def _check_backend(tier: Tier, backend: Backend) -> None:
    if tier is not Tier.NEURAL and backend != "auto":
        raise BackendError(f"the {tier_name(tier)} tier has no networks to step: leave backend at 'auto'")
