"""Configuration of the neural tier: one frozen dataclass, stored as JSON beside the weights."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Protocol

from streamcodec.errors import ModelError

DEFAULT_MODEL = "speech-24k"
LARGEST_SIZE = 1 << 13
SMALLEST_FFT_SAMPLES = 16
LARGEST_DILATION, MOST_BLOCKS = 64, 64
_LARGEST = {"sample_rate_hz": 192_000, "qualities": 16, "hops_per_frame": 16, "kernel_size": 64}


class Framing(Protocol):
    """What an analysis and synthesis of sound by overlapping frames must know."""

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the sound."""

    @property
    def hop_samples(self) -> int:
        """Distance of frames."""

    @property
    def overlap_samples(self) -> int:
        """How far the synthesis window reaches beyond a hop; the delay of analysis and synthesis."""

    @property
    def fft_samples(self) -> int:
        """Length of the analysis window, all of it in the past."""

    @property
    def compand_power(self) -> float:
        """Exponent of compressed magnitudes."""


def _check_size(name: str, value: object, largest: int, smallest: int = 1) -> None:
    if type(value) is not int or not smallest <= value <= largest:
        raise ModelError(f"{name} must be a whole number from {smallest} to {largest}, got {value!r:.80}")


_IDENTITY_NAMES = {
    "qualities": "levels",
    "hops_per_frame": "hops_per_packet",
    "encoder_dim_frame": "encoder_dim_packet",
    "encoder_dilations_frame": "encoder_dilations_packet",
    "decoder_dim_frame": "decoder_dim_packet",
    "decoder_dilations_frame": "decoder_dilations_packet",
}
"""Names that fingerprints know, which files and calls carry: they never change, whatever the fields are called."""


@dataclass(frozen=True)
class NeuralConfig:
    """Shape of the neural codec: framing, trunk sizes, latents and quality indices.

    All sizes are in samples at ``sample_rate_hz`` unless the name says otherwise. The analysis window is
    ``fft_samples`` long and ends at the newest sample; the synthesis window covers only the newest
    ``hop_samples + overlap_samples``, so the delay of analysis and synthesis together is that and no more.
    """

    sample_rate_hz: int = 24_000
    hop_samples: int = 240
    overlap_samples: int = 120
    fft_samples: int = 512
    hops_per_frame: int = 2
    compand_power: float = 0.5

    mel_bands: int = 40
    envelope_latents: int = 24
    waveform_latents: int = 72
    envelope_groups: int = 6
    waveform_groups: int = 18
    entropy_hidden: int = 128
    qualities: int = 16

    encoder_dim_hop: int = 256
    encoder_blocks_hop: int = 2
    encoder_dim_frame: int = 320
    encoder_dilations_frame: tuple[int, ...] = (1, 2, 4)
    encoder_expansion: int = 2
    decoder_dim_frame: int = 320
    decoder_dilations_frame: tuple[int, ...] = (1, 2, 4, 1)
    decoder_dim_hop: int = 256
    decoder_blocks_hop: int = 3
    decoder_expansion: int = 3
    kernel_size: int = 5

    def __post_init__(self) -> None:
        """Raises ModelError where a size is of a wrong type or out of range, or sizes do not fit together."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "compand_power":
                if type(value) is not float or not 0.0 < value <= 1.0:
                    raise ModelError(f"compand_power must be a number above 0 and up to 1, got {value!r}")
            elif field.type == "tuple[int, ...]":
                if not isinstance(value, tuple) or not 0 < len(value) <= MOST_BLOCKS:
                    raise ModelError(f"{field.name} must hold 1 to {MOST_BLOCKS} dilations, got {value!r:.80}")
                for dilation in value:
                    _check_size(field.name, dilation, LARGEST_DILATION)
            else:
                smallest = 0 if field.name in ("envelope_latents", "envelope_groups") else 1
                _check_size(field.name, value, _LARGEST.get(field.name, LARGEST_SIZE), smallest)
        if self.overlap_samples > self.hop_samples or self.hop_samples + self.overlap_samples > self.fft_samples:
            raise ModelError(
                "overlap_samples must be at most hop_samples, and both together at most fft_samples, got "
                f"{self.overlap_samples}, {self.hop_samples} and {self.fft_samples}"
            )
        if self.fft_samples < SMALLEST_FFT_SAMPLES or self.fft_samples & (self.fft_samples - 1):
            raise ModelError(
                f"fft_samples must be a power of two from {SMALLEST_FFT_SAMPLES} to {LARGEST_SIZE}, "
                f"got {self.fft_samples}"
            )

    @property
    def bins(self) -> int:
        """Number of frequency bins of one analysis frame."""
        return self.fft_samples // 2 + 1

    @property
    def latents(self) -> int:
        """Number of scalar latents in one frame."""
        return self.envelope_latents + self.waveform_latents

    @property
    def group_bounds(self) -> tuple[int, ...]:
        """Bounds of the entropy model's groups: equal parts of the envelope's latents, then of the waveform's."""
        envelope = (self.envelope_latents * k // self.envelope_groups for k in range(self.envelope_groups))
        waveform = (self.waveform_latents * k // self.waveform_groups for k in range(self.waveform_groups + 1))
        return (*envelope, *(self.envelope_latents + start for start in waveform))

    @property
    def frame_samples(self) -> int:
        """Samples of sound carried by one frame."""
        return self.hop_samples * self.hops_per_frame

    def quality(self, quality_index: int) -> float:
        """Where a quality index stands between the coarsest, 0, and the finest, 1."""
        return quality_index / max(self.qualities - 1, 1)

    @property
    def frames_per_second(self) -> float:
        """Frames per second of sound."""
        return self.sample_rate_hz / self.frame_samples

    @property
    def delay_samples(self) -> int:
        """Algorithmic delay: one frame is collected, one overlap must complete."""
        return self.frame_samples + self.overlap_samples

    def identity_text(self) -> str:
        """What the bitstream's fingerprint is taken of: :meth:`to_json`, each field by the name of its first day."""
        fields = dataclasses.asdict(self)
        return json.dumps({_IDENTITY_NAMES.get(name, name): value for name, value in fields.items()}, indent=1)

    def to_json(self) -> str:
        """Serialise to JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> NeuralConfig:
        """Read back what :meth:`to_json` wrote; unknown keys are an error. Raises ModelError or TypeError."""
        fields = json.loads(text)
        if not isinstance(fields, dict):
            raise TypeError(f"a configuration must be an object, got {type(fields).__name__}")
        for name, value in fields.items():
            if isinstance(value, list):
                fields[name] = tuple(value)
        return cls(**fields)
