"""U-Net autoencoder on spectra: skip connections help the decoder, and each one has to be sent too."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from streamcodec.research.models.base import ResearchModel, pad_columns
from streamcodec.research.models.bottlenecks import ScalarBottleneck
from streamcodec.research.models.representations import RepresentationConfig


@dataclass(frozen=True)
class UNetConfig:
    """``skip_channels[k]`` feature maps of level ``k`` go across; a skip of full width would cost more than the
    sound itself."""

    representation: RepresentationConfig = field(default_factory=RepresentationConfig)
    channels: tuple[int, ...] = (32, 64, 128)
    skip_channels: tuple[int, ...] = (1, 2)
    latents: int = 256


class UNet(ResearchModel):
    """Stride-2 levels; every level but the deepest has a quantised skip connection.

    Shape: latents: the bottom ``[B, latents, N / 8]``, then skips ``[B, skip_channels[k] * F_k, N / 2 ** (k + 1)]``.
    """

    def __init__(self, config: UNetConfig) -> None:
        heights = [config.representation.rows]
        for _ in config.channels:
            heights.append((heights[-1] + 1) // 2)
        rows = [count * height for count, height in zip(config.skip_channels, heights[1:-1], strict=True)]
        super().__init__(
            config.representation, [ScalarBottleneck(config.latents), *(ScalarBottleneck(r) for r in rows)]
        )
        self.config = config
        widths = (config.representation.channels, *config.channels)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, 2, padding=1) for a, b in itertools.pairwise(widths))
        skips = (*config.skip_channels, 0)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(b + skip, a, 3, 2, padding=1, output_padding=(1 - height % 2, 1))
            for a, b, skip, height in zip(widths[:-1], widths[1:], skips, heights[:-1], strict=True)
        )
        self.narrow = nn.ModuleList(
            nn.Conv2d(width, count, 1)
            for width, count in zip(config.channels[:-1], config.skip_channels, strict=True)
        )
        self.heights = heights
        self.to_latent = nn.Linear(widths[-1] * heights[-1], config.latents)
        self.from_latent = nn.Linear(config.latents, widths[-1] * heights[-1])

    @property
    def block_columns(self) -> int:
        """Frames that share a bottom latent."""
        return int(2 ** len(self.config.channels))

    def positions(self, columns: int) -> list[int]:
        bottom = -(-columns // self.block_columns)
        levels = range(1, len(self.config.channels))
        return [bottom, *(bottom * self.block_columns >> level for level in levels)]

    def encode(self, features: Tensor) -> list[Tensor]:
        x, skips = pad_columns(features, self.block_columns), []
        for level, layer in enumerate(self.down):
            x = nn.functional.gelu(layer(x))
            if level < len(self.narrow):
                skips.append(self.narrow[level](x).flatten(1, 2))
        bottom = self.to_latent(x.flatten(1, 2).transpose(1, 2)).transpose(1, 2)
        return [bottom, *skips]

    def decode(self, latents: list[Tensor], columns: int) -> Tensor:
        bottom, *skips = latents
        x = nn.functional.gelu(self.from_latent(bottom.transpose(1, 2))).transpose(1, 2)
        x = torch.unflatten(x, 1, (self.config.channels[-1], self.heights[-1]))
        for level in reversed(range(len(self.up))):
            if level < len(skips):
                x = torch.cat([x, torch.unflatten(skips[level], 1, (-1, self.heights[level + 1]))], dim=1)
            x = self.up[level](x)
            if level:
                x = nn.functional.gelu(x)
        return x[..., :columns]
