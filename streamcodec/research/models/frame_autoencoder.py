"""The deep autoencoder of the near-lossless literature: every spectrum by itself through dense layers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from streamcodec.research.models.bottlenecks import ScalarBottleneck
from streamcodec.research.models.later_bottleneck import LaterBottleneck
from streamcodec.research.models.linear_path import LinearPath
from streamcodec.research.models.representations import RepresentationConfig
from streamcodec.research.models.unit_model import UnitModel


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
    linear_path: bool = False
    """An addition to the published network, see :class:`LinearPath`."""
    quantised_in_training: bool = True
    """An addition too; the published network is trained on latents as they are."""


class FrameAutoencoder(UnitModel):
    """Dense layers down to the latent and up again.

    Shape: latent ``[B, latents, N]``.
    """

    def __init__(self, config: FrameAutoencoderConfig) -> None:
        bottleneck = ScalarBottleneck if config.quantised_in_training else LaterBottleneck
        super().__init__(config.representation, [bottleneck(config.latents)])
        self.config = config
        c = config.representation
        sizes = (c.channels * c.rows, *config.hidden, config.latents)
        self.down, self.up = _dense(sizes), _dense(sizes[::-1])
        self.path: LinearPath | None = None
        if config.linear_path:
            self.path = LinearPath(c.channels, c.rows, config.latents)
            for last in (self.down[-1], self.up[-1]):
                nn.init.zeros_(next(last.parameters()))

    @property
    def unit_columns(self) -> int:
        return 1

    def receiver(self) -> Sequence[nn.Module]:
        return [self.up] if self.path is None else [self.up, self.path.up]

    def begin(self, features: Tensor) -> None:
        if self.path is not None:
            self.path.begin(features)

    def positions(self, columns: int) -> list[int]:
        return [columns]

    def encode(self, features: Tensor) -> list[Tensor]:
        codes = self.down(features.flatten(1, 2).transpose(1, 2))
        if self.path is not None:
            codes = codes + self.path.encode(features)
        return [codes.transpose(1, 2)]

    def decode(self, latents: list[Tensor], columns: int) -> Tensor:
        c = self.config.representation
        codes = latents[0].transpose(1, 2)
        features = torch.unflatten(self.up(codes).transpose(1, 2), 1, (c.channels, c.rows))
        return features if self.path is None else features + self.path.decode(codes)


def _dense(sizes: tuple[int, ...]) -> nn.Sequential:
    """Linear layers with ReLU between."""
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
