"""Prediction of complex spectra: a convolutional autoencoder with phase among its features, beside a linear path."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from streamcodec.research.models.frequency_conv import FrequencyConv, FrequencyConvConfig
from streamcodec.research.models.linear_path import LinearPath
from streamcodec.research.models.representations import RepresentationConfig


@dataclass(frozen=True)
class ComplexSpectrumConfig(FrequencyConvConfig):
    """Companded real and imaginary parts in and out, a latent every frame, so that the sound needs no phase lent."""

    representation: RepresentationConfig = field(
        default_factory=lambda: RepresentationConfig("complex", fft_samples=512)
    )
    channels: tuple[int, ...] = (16, 32)
    time_stride: int = 1
    latents: int = 96


class ComplexSpectrum(FrequencyConv):
    """As :class:`FrequencyConv`, on two channels, as a correction of a linear path.

    Convolutions alone settle on silence: over a small patch the phase of a spectrum looks random.
    """

    config: ComplexSpectrumConfig

    def __init__(self, config: ComplexSpectrumConfig) -> None:
        super().__init__(config)
        self.path = LinearPath(config.representation.channels, config.representation.rows, config.latents)
        nn.init.zeros_(self.to_latent.weight)
        nn.init.zeros_(next(self.up[-1].parameters()))

    def begin(self, features: Tensor) -> None:
        self.path.begin(features)

    def encode(self, features: Tensor) -> list[Tensor]:
        return [super().encode(features)[0] + self.path.encode(features).transpose(1, 2)]

    def decode(self, latents: list[Tensor], columns: int) -> Tensor:
        return super().decode(latents, columns) + self.path.decode(latents[0].transpose(1, 2))
