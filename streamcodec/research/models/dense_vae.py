"""The fully connected VAE of the near-lossless literature: short blocks of samples, trained on one file or many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from streamcodec.research.models.base import pad_columns
from streamcodec.research.models.bottlenecks import VariationalBottleneck
from streamcodec.research.models.representations import RepresentationConfig
from streamcodec.research.models.unit_model import UnitModel


@dataclass(frozen=True)
class DenseVaeConfig:
    """``ratio`` times ``latents`` samples share ``latents`` latents; published: 15-20 latents, 64-128 hidden units,
    ratios 1, 2, 4 and 8."""

    representation: RepresentationConfig = field(default_factory=lambda: RepresentationConfig("waveform", 44_100))
    latents: int = 16
    ratio: int = 8
    hidden: int = 128


class DenseVae(UnitModel):
    """One hidden layer on each side of a Gaussian latent.

    Shape: latent ``[B, latents, ceil(T / (latents * ratio))]``.
    """

    def __init__(self, config: DenseVaeConfig) -> None:
        bottleneck = VariationalBottleneck(config.latents)
        super().__init__(config.representation, [bottleneck])
        self.config = config
        block = self.block_samples
        self.encoder = nn.Sequential(
            nn.Linear(block, config.hidden), nn.Tanh(), nn.Linear(config.hidden, bottleneck.inputs)
        )
        self.decoder = nn.Sequential(
            nn.Linear(config.latents, config.hidden), nn.Tanh(), nn.Linear(config.hidden, block)
        )

    @property
    def block_samples(self) -> int:
        """Samples that share a latent vector."""
        return self.config.latents * self.config.ratio

    @property
    def unit_columns(self) -> int:
        return self.block_samples

    def receiver(self) -> Sequence[nn.Module]:
        return [self.decoder]

    def positions(self, columns: int) -> list[int]:
        return [-(-columns // self.block_samples)]

    def encode(self, features: Tensor) -> list[Tensor]:
        blocks = torch.unflatten(pad_columns(features[:, 0, 0], self.block_samples), 1, (-1, self.block_samples))
        return [self.encoder(blocks).transpose(1, 2)]

    def decode(self, latents: list[Tensor], columns: int) -> Tensor:
        samples: Tensor = self.decoder(latents[0].transpose(1, 2)).flatten(1)
        return samples[:, None, None, :columns]
