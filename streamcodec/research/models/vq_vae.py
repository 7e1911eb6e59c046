"""VQ-VAE on spectra: the convolutional autoencoder with vector codebooks as its bottleneck."""

from __future__ import annotations

from dataclasses import dataclass

from streamcodec.research.models.bottlenecks import VectorBottleneck
from streamcodec.research.models.frequency_conv import FrequencyConv, FrequencyConvConfig


@dataclass(frozen=True)
class VqVaeConfig(FrequencyConvConfig):
    """``groups`` codebooks of ``entries`` vectors share the latent's channels."""

    latents: int = 256
    groups: int = 32
    entries: int = 256


class VqVae(FrequencyConv):
    """As :class:`FrequencyConv`; the rate before entropy coding is ``groups * log2(entries)`` bits a position."""

    config: VqVaeConfig

    def __init__(self, config: VqVaeConfig) -> None:
        super().__init__(config, VectorBottleneck(config.latents, config.groups, config.entries))
