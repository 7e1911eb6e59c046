"""Prediction of complex spectra: the frame-wise convolutional autoencoder with phase among its features."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamcodec.models.research.frequency_conv import FrequencyConv, FrequencyConvConfig
from streamcodec.models.research.representations import RepresentationConfig


@dataclass(frozen=True)
class ComplexSpectrumConfig(FrequencyConvConfig):
    """Companded real and imaginary parts in and out, a latent every frame, so that the sound needs no phase lent."""

    representation: RepresentationConfig = field(default_factory=lambda: RepresentationConfig("complex"))
    channels: tuple[int, ...] = (16, 32)
    time_stride: int = 1
    latents: int = 192


class ComplexSpectrum(FrequencyConv):
    """As :class:`FrequencyConv`, on two channels."""

    config: ComplexSpectrumConfig
