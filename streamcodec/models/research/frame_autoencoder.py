"""The deep autoencoder of the near-lossless literature: every spectrum by itself through dense layers."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from streamcodec.models.research.base import ResearchModel
from streamcodec.models.research.bottlenecks import ScalarBottleneck
from streamcodec.models.research.representations import RepresentationConfig


@dataclass(frozen=True)
class FrameAutoencoderConfig:
    """Frames of 1,024 at 44.1 kHz with a hop of 512 and a Hann window; the published latents are 35 and 60.

    35 latents for a frame of 1,024 samples are called 30:1 there. Frames overlap by half, so there are 14.6 samples
    for each latent, and what ratio a latent makes depends on its bits.
    """

    representation: RepresentationConfig = field(
        default_factory=lambda: RepresentationConfig("complex", 44_100, 1024, 512, compand_power=1.0)
    )
    hidden: tuple[int, ...] = (512, 256)
    latents: int = 60
    linear_path: bool = True
    """An addition to the published network; without it waveform accuracy takes hours to learn."""


class FrameAutoencoder(ResearchModel):
    """Dense layers down to the latent and up again, and beside them a linear path from an orthonormal start.

    Shape: latent ``[B, latents, N]``.
    """

    def __init__(self, config: FrameAutoencoderConfig) -> None:
        super().__init__(config.representation, [ScalarBottleneck(config.latents, first_step=0.05)])
        self.config = config
        inputs = config.representation.channels * config.representation.rows
        sizes = (inputs, *config.hidden, config.latents)
        self.down, self.up = _dense(sizes), _dense(sizes[::-1])
        self.linear_down = nn.Linear(inputs, config.latents, bias=False)
        self.linear_up = nn.Linear(config.latents, inputs, bias=False)
        if config.linear_path:
            nn.init.orthogonal_(self.linear_down.weight)
            for last in (self.down[-1], self.up[-1]):
                nn.init.zeros_(_weight(last))
        else:
            nn.init.zeros_(self.linear_down.weight)
            self.linear_down.requires_grad_(False)
        self.linear_up.weight.data.copy_(self.linear_down.weight.T)
        self.linear_up.requires_grad_(config.linear_path)

    def positions(self, columns: int) -> list[int]:
        return [columns]

    def encode(self, features: Tensor) -> list[Tensor]:
        frames = features.flatten(1, 2).transpose(1, 2)
        return [(self.linear_down(frames) + self.down(frames)).transpose(1, 2)]

    def decode(self, latents: list[Tensor], columns: int) -> Tensor:
        c = self.config.representation
        codes = latents[0].transpose(1, 2)
        frames: Tensor = self.linear_up(codes) + self.up(codes)
        return torch.unflatten(frames.transpose(1, 2), 1, (c.channels, c.rows))


def _dense(sizes: tuple[int, ...]) -> nn.Sequential:
    """Linear layers with ReLU between."""
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _weight(layer: nn.Module) -> Tensor:
    assert isinstance(layer, nn.Linear)
    return layer.weight
