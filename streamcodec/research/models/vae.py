"""Variational autoencoder on spectra: the convolutional autoencoder with a Gaussian posterior as its bottleneck."""

from __future__ import annotations

from streamcodec.research.models.bottlenecks import VariationalBottleneck
from streamcodec.research.models.frequency_conv import FrequencyConv, FrequencyConvConfig


class Vae(FrequencyConv):
    """As :class:`FrequencyConv`; the rate in the loss is the divergence from a standard normal prior."""

    def __init__(self, config: FrequencyConvConfig) -> None:
        super().__init__(config, VariationalBottleneck(config.latents))
