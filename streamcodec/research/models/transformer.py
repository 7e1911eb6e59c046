"""Transformer autoencoder on spectra: frames of a block attend to each other on both sides of the latent."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from streamcodec.research.models.base import ResearchModel, pad_columns
from streamcodec.research.models.bottlenecks import ScalarBottleneck
from streamcodec.research.models.representations import RepresentationConfig


@dataclass(frozen=True)
class TransformerConfig:
    """Blocks of ``block_frames`` are coded apart, so that cost and delay do not grow with the sound."""

    representation: RepresentationConfig = field(default_factory=RepresentationConfig)
    block_frames: int = 32
    width: int = 192
    heads: int = 4
    layers: int = 2
    latents: int = 32


class Transformer(ResearchModel):
    """Pre-norm Transformer encoders (Vaswani et al., 2017) before and after a latent for every frame.

    Shape: latent ``[B, latents, N']``, N' the next multiple of ``block_frames``.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config.representation, [ScalarBottleneck(config.latents)])
        self.config = config
        rows = config.representation.rows * config.representation.channels
        self.enter, self.leave = nn.Linear(rows, config.width), nn.Linear(config.width, rows)
        self.to_latent = nn.Linear(config.width, config.latents)
        self.from_latent = nn.Linear(config.latents, config.width)
        self.encoder, self.decoder = self._stack(), self._stack()
        self.register_buffer("places", _places(config.block_frames, config.width), persistent=False)

    def _stack(self) -> nn.TransformerEncoder:
        c = self.config
        layer = nn.TransformerEncoderLayer(
            c.width, c.heads, 2 * c.width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        return nn.TransformerEncoder(layer, c.layers, nn.LayerNorm(c.width), enable_nested_tensor=False)

    def positions(self, columns: int) -> list[int]:
        block = self.config.block_frames
        return [-(-columns // block) * block]

    def _attend(self, stack: nn.Module, frames: Tensor) -> Tensor:
        """Shape: ``[B, N', width]`` -> the same."""
        batch, count, width = frames.shape
        blocks = frames.reshape(-1, self.config.block_frames, width) + self.get_buffer("places")
        attended: Tensor = stack(blocks)
        return attended.reshape(batch, count, width)

    def encode(self, features: Tensor) -> list[Tensor]:
        frames = pad_columns(features, self.config.block_frames).flatten(1, 2).transpose(1, 2)
        return [self.to_latent(self._attend(self.encoder, self.enter(frames))).transpose(1, 2)]

    def decode(self, latents: list[Tensor], columns: int) -> Tensor:
        c = self.config.representation
        frames = self.leave(self._attend(self.decoder, self.from_latent(latents[0].transpose(1, 2))))
        features: Tensor = frames.transpose(1, 2).unflatten(1, (c.channels, c.rows))
        return features[..., :columns]


def _places(count: int, width: int) -> Tensor:
    """Sines and cosines of the place in the block.

    Shape: output ``[count, width]``.
    """
    place = torch.arange(count, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10_000.0) / width))
    return torch.stack([torch.sin(place * rate), torch.cos(place * rate)], dim=-1).flatten(1)
