"""What a stream is to be coded as: the options of each tier, checked before anything is made of them.

What does not go together cannot be said: each tier has a class of its own, and :func:`encoder_options` is the
friendly face that takes everything by name and says which option belongs to which tier.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streamcodec.codec.packet import MAX_FRAMES, Tier
from streamcodec.errors import AudioFormatError, BackendError, BitrateError, ModelError, StreamcodecError
from streamcodec.models.config import DEFAULT_MODEL as DEFAULT_MODEL
from streamcodec.runtime.backend import BACKENDS, Backend
from streamcodec.wording import given, named, shown_value

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from native_dsp.coding.noise_shape import NoiseShape

Samples = NDArray[Any]
PacketMode = Literal["independent", "stream"]
Optimise = Literal["perceptual", "mse"]
TierName = Literal["neural", "near-lossless", "lossless"]
DEFAULT_KEY_PERIOD_S = 1.0
DEFAULT_BITRATE_BPS = 6_000
"""Of a channel of the neural tier."""
FRAME_MS = 20
PACKET_MS_CHOICES = tuple(FRAME_MS * frames for frames in range(1, MAX_FRAMES + 1))
SAMPLE_RATES_HZ = (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""Of the neural tier."""
MAX_DURATION_S = 24 * 3600.0
"""Longest sound that a file decodes to unless the caller allows more."""
LOSSLESS_PACKET_MS_CHOICES = PACKET_MS_CHOICES[:-1]
"""Up to what a receiver waits for: 100 ms."""
MIN_KEY_PERIOD_S, MAX_KEY_PERIOD_S = 0.02, 10.0
MIN_BITRATE_BPS, MAX_BITRATE_BPS = 1_000, 24_000
"""Of the neural tier, a channel. What speech takes at the least (``ShippedModel.kbps_of_packets``) is more, which is
told in a warning; ``constrained`` holds less at the price of quality."""


def check_whole(name: str, value: object, error: type[StreamcodecError] = AudioFormatError) -> int:
    """The value as an int, 20.0 as well as 20; raises ``error`` for what is not a whole number."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, float | np.floating) and math.isfinite(value) and value == int(value):
        return int(value)
    raise error(f"{named(name)} must be a whole number, got {shown_value(name, value)}")


def check_number(name: str, value: object, error: type[StreamcodecError]) -> float:
    """The value as a float; raises ``error`` for what is not a finite number."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not math.isfinite(float(str(value))):
        unit = " of bits per second" if named(name) == "bitrate_bps" else ""
        raise error(f"{named(name)} must be a number{unit}, got {shown_value(name, value)}")
    return float(str(value))


def check_fields(config: DataclassInstance, error: type[StreamcodecError], *but: str) -> None:
    """Raise ``error`` for a field of a configuration, all ``but`` these, that is not a finite number of 0 or more."""
    for item in fields(config):
        if item.name not in but:
            value = check_number(item.name, getattr(config, item.name), error)
            if value < 0.0:
                raise error(f"{named(item.name)} must be 0 or more, got {shown_value(item.name, value)}")


def check_flag(name: str, value: object) -> bool:
    """The value as a bool; raises AudioFormatError for what is neither True nor False."""
    if not isinstance(value, bool | np.bool_):
        raise AudioFormatError(f"{named(name)} must be True or False, got {value!r}")
    return bool(value)


def check_mode(mode: object) -> None:
    """Raise AudioFormatError for what is no mode of packets."""
    if mode not in ("independent", "stream"):
        raise AudioFormatError(f"{named('mode')} must be 'independent' or 'stream', got {mode!r}")


def check_sample_rate(sample_rate_hz: int) -> int:
    """Return a rate of the neural tier, or raise AudioFormatError."""
    if sample_rate_hz not in SAMPLE_RATES_HZ:
        raise AudioFormatError(
            f"{named('sample_rate_hz')} must be one of {', '.join(map(str, SAMPLE_RATES_HZ))}, got "
            f"{sample_rate_hz!r}: choose one of them, or resample the sound"
        )
    return int(sample_rate_hz)


def check_bitrate(bitrate_bps: float, channels: int = 1) -> float:
    """Return the neural tier's rate of so many channels together, or raise BitrateError."""
    least, most = channels * MIN_BITRATE_BPS, channels * MAX_BITRATE_BPS
    if not least <= bitrate_bps <= most:
        several = f" of {channels} channels" if channels > 1 else ""
        got = shown_value("bitrate_bps", bitrate_bps)
        as_kbps = "" if named("bitrate_bps") != "bitrate_bps" else f" ({named('bitrate_bps')} {least} to {most})"
        raise BitrateError(
            f"the neural tier codes sound{several} at {least / 1000:g} to {most / 1000:g} kbps{as_kbps}, got {got}"
        )
    return float(bitrate_bps)


def check_model(name: object) -> None:
    """Raise ModelError for what is no name of a model."""
    if not isinstance(name, str) or not name or "\0" in name:
        raise ModelError(f"{named('model')} must be the name or the folder of a model, got {name!r}")


def check_neural_channels(channels: int) -> None:
    """Raise AudioFormatError for a number of channels that the neural tier does not code."""
    if channels not in (1, 2):
        raise AudioFormatError(
            f"the neural tier codes one channel, or two, got {given('channels', channels)}: sound of several is "
            "mixed down to one when pushed"
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
        _check_stream(self)
        _whole(self, "channels")
        check_neural_channels(self.channels)
        check_sample_rate(self.sample_rate_hz)
        if self.bitrate_bps is not None:
            _number(self, "bitrate_bps", BitrateError)
            check_bitrate(self.bitrate_bps, self.channels)
        check_model(self.model)
        for name in ("constrained", "dtx"):
            object.__setattr__(self, name, check_flag(name, getattr(self, name)))
        if self.packet_ms is not None:
            _check_packet_ms(self, PACKET_MS_CHOICES)
        _check_backend(self.tier, self.backend)

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
    noise: NoiseShape | None = None
    """How noise follows the spectrum at ``step_index``, where that was found for a ratio."""
    packet_ms: int | None = None

    model: ClassVar[str] = DEFAULT_MODEL

    def __post_init__(self) -> None:
        _check_stream(self)
        _whole(self, "channels")
        _whole(self, "bits_per_sample")
        for name in ("bitrate_bps", "ratio", "snr_db"):
            if getattr(self, name) is not None:
                _number(self, name, BitrateError)
        if self.step_index is not None:
            _whole(self, "step_index", BitrateError)
        _check_optimise(self.optimise)
        if self.snr_db is not None and self.optimise == "perceptual":
            raise BitrateError(
                f"a signal-to-noise ratio is held with {given('optimise', 'mse')}: noise that follows the ear has "
                f"none to hold; leave {named('optimise')} out, or give {named('ratio')} or {named('bitrate_bps')}"
            )
        chosen = self.optimise or ("perceptual" if self.snr_db is None else "mse")
        object.__setattr__(self, "optimise", chosen)
        if self.packet_ms is not None:
            _check_packet_ms(self, PACKET_MS_CHOICES)
        targets = ("bitrate_bps", "ratio", "snr_db", "step_index")
        told = [named(name) for name in targets if getattr(self, name) is not None]
        if len(told) > 1:
            raise BitrateError(f"give one rate target, not {' and '.join(told)}")

    @property
    def frames(self) -> int:
        """Blocks in a packet: as many as come nearest to ``packet_ms``, one where nothing is said."""
        if self.packet_ms is None:
            return 1
        from streamcodec.codec.near_lossless.format import default_block_samples

        block_ms = 1_000.0 * default_block_samples(self.sample_rate_hz) / self.sample_rate_hz
        return min(max(round(self.packet_ms / block_ms), 1), MAX_FRAMES)

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
        _check_stream(self)
        _whole(self, "channels")
        _whole(self, "bits_per_sample")
        if self.packet_ms is not None:
            _check_packet_ms(self, LOSSLESS_PACKET_MS_CHOICES, " of the lossless tier")

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
    told = [name for name, value in targets.items() if value is not None]
    if optimise is not None and kind is not Tier.NEAR_LOSSLESS:
        raise BitrateError(f"{named('optimise')} is for the near-lossless tier: leave it out")
    if model != DEFAULT_MODEL and kind is not Tier.NEURAL:
        raise ModelError(f"{named('model')} is for the neural tier, the {tier_name(kind)} one has none: leave it out")
    if kind is Tier.NEURAL:
        if told not in ([], ["bitrate_bps"]):
            raise BitrateError(
                f"the neural tier goes by {named('bitrate_bps')}: {named(told[-1])} is for the near-lossless tier"
            )
        check_whole("channels", channels)
        check_whole("bits_per_sample", bits_per_sample)
        return NeuralOptions(
            sample_rate_hz, bitrate_bps, mode, constrained, dtx, model, key_period_s, packet_ms, backend, channels
        )
    if constrained or dtx:
        raise BitrateError(f"{named('constrained')} and {named('dtx')} are for the neural tier")
    _check_backend(kind, backend)
    if kind is Tier.LOSSLESS:
        if told:
            raise BitrateError(f"lossless coding takes the bits it needs: {named(told[0])} does not apply")
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
        packet_ms=packet_ms,
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
    post_filter: bool = True

    def __post_init__(self) -> None:
        for name in ("sample_rate_hz", "channels", "bits_per_sample"):
            _whole(self, name)
        object.__setattr__(self, "post_filter", check_flag("post_filter", self.post_filter))
        if self.tier is Tier.NEURAL:
            check_sample_rate(self.sample_rate_hz)
            check_neural_channels(self.channels)
        check_model(self.model)
        _check_backend(self.tier, self.backend)


def _check_optimise(optimise: object) -> None:
    if optimise not in (None, "perceptual", "mse"):
        raise BitrateError(f"{named('optimise')} must be 'perceptual' or 'mse', got {optimise!r}")


def _whole(options: object, name: str, error: type[StreamcodecError] = AudioFormatError) -> None:
    """Keep a field of frozen options as an int."""
    object.__setattr__(options, name, check_whole(name, getattr(options, name), error))


def _check_packet_ms(options: EncoderOptions, choices: tuple[int, ...], tier: str = "") -> None:
    _whole(options, "packet_ms")
    if options.packet_ms not in choices:
        raise AudioFormatError(
            f"{named('packet_ms')}{tier} must be one of {', '.join(map(str, choices))}, got {options.packet_ms}"
        )


def _number(options: object, name: str, error: type[StreamcodecError]) -> None:
    """Check that a field of options is a number; ints stay ints."""
    check_number(name, getattr(options, name), error)


def _check_stream(options: NeuralOptions | NearLosslessOptions | LosslessOptions) -> None:
    _whole(options, "sample_rate_hz")
    _number(options, "key_period_s", AudioFormatError)
    if options.mode is not None:
        check_mode(options.mode)
    if not MIN_KEY_PERIOD_S <= options.key_period_s <= MAX_KEY_PERIOD_S:
        raise AudioFormatError(
            f"{named('key_period_s')} must be {MIN_KEY_PERIOD_S:g} to {MAX_KEY_PERIOD_S:g} s, "
            f"got {shown_value('key_period_s', options.key_period_s)}"
        )


def _key_period_blocks(options: NearLosslessOptions | LosslessOptions, block_samples: int) -> int:
    if options.mode == "independent":
        return 1
    return max(1, round(options.key_period_s * options.sample_rate_hz / block_samples))


def _check_backend(tier: Tier, backend: Backend) -> None:
    if tier is not Tier.NEURAL and backend != "auto":
        raise BackendError(f"the {tier_name(tier)} tier has no networks to step: leave {named('backend')} at 'auto'")
    if backend not in BACKENDS:
        raise BackendError(f"{named('backend')} must be one of {', '.join(BACKENDS)}, got {backend!r}")
