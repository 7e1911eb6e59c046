"""Convolutional autoencoder on spectra: stride-2 convolutions down, one dense latent, the mirror image up."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from streamcodec.research.models.base import ResearchModel, pad_columns
from streamcodec.research.models.bottlenecks import Bottleneck, ScalarBottleneck
from streamcodec.research.models.representations import RepresentationConfig


@dataclass(frozen=True)
class FrequencyConvConfig:
    """The published network has a latent for a whole clip; here one for every ``time_stride ** layers`` frames, so
    that a sound of any length is coded with the same cost per second."""

    representation: RepresentationConfig = field(default_factory=RepresentationConfig)
    channels: tuple[int, ...] = (32, 64, 128)
    time_stride: int = 2
    latents: int = 256


class FrequencyConv(ResearchModel):
    """Encoder 1-32-64-128 of 3x3 convolutions with stride 2, a dense latent, and the mirrored decoder.

    Shape: latent ``[B, latents, ceil(N / time_stride ** 3)]``.
    """

    def __init__(self, config: FrequencyConvConfig, bottleneck: Bottleneck | None = None) -> None:
        bottleneck = bottleneck or ScalarBottleneck(config.latents)
        super().__init__(config.representation, [bottleneck])
        self.config = config
        heights = [config.representation.rows]
        for _ in config.channels:
            heights.append((heights[-1] + 1) // 2)
        widths = (config.representation.channels, *config.channels)
        stride = (2, config.time_stride)
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for k, (a, b) in enumerate(itertools.pairwise(widths)):
            down += [nn.Conv2d(a, b, 3, stride, padding=1), nn.GELU()]
            # What the stride dropped comes back: a row where the height was even, a column where time was halved.
            extra = (1 - heights[k] % 2, config.time_stride - 1)
            up = [nn.ConvTranspose2d(b, a, 3, stride, padding=1, output_padding=extra), *up]
            if k:
                up = [up[0], nn.GELU(), *up[1:]]
        self.down, self.up = nn.Sequential(*down), nn.Sequential(*up)
        self.top = (widths[-1], heights[-1])
        self.to_latent = nn.Linear(widths[-1] * heights[-1], bottleneck.inputs)
        self.from_latent = nn.Linear(bottleneck.channels, widths[-1] * heights[-1])

    @property
    def block_columns(self) -> int:
        """Frames that share a latent."""
        return int(self.config.time_stride ** len(self.config.channels))

    def positions(self, columns: int) -> list[int]:
        return [-(-columns // self.block_columns)]

    def encode(self, features: Tensor) -> list[Tensor]:
        top = self.down(pad_columns(features, self.block_columns))
        return [self.to_latent(top.flatten(1, 2).transpose(1, 2)).transpose(1, 2)]

    def decode(self, latents: list[Tensor], columns: int) -> Tensor:
        top = nn.functional.gelu(self.from_latent(latents[0].transpose(1, 2))).transpose(1, 2)
        features: Tensor = self.up(torch.unflatten(top, 1, self.top))
        return features[..., :columns]
