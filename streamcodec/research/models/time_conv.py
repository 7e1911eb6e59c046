"""Convolutional autoencoder on samples: three stride-2 layers down to an eighth of the rate, and back."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from torch import Tensor, nn

from streamcodec.research.models.base import ResearchModel, pad_columns
from streamcodec.research.models.bottlenecks import ScalarBottleneck
from streamcodec.research.models.representations import RepresentationConfig


@dataclass(frozen=True)
class TimeConvConfig:
    """``2 ** len(channels)`` samples share ``latents`` latents."""

    representation: RepresentationConfig = field(default_factory=lambda: RepresentationConfig("waveform"))
    channels: tuple[int, ...] = (32, 64, 96)
    kernel_samples: int = 9
    latents: int = 4


class TimeConv(ResearchModel):
    """Strided convolutions down, transposed ones up.

    Shape: latent ``[B, latents, ceil(T / 8)]``.
    """

    def __init__(self, config: TimeConvConfig) -> None:
        super().__init__(config.representation, [ScalarBottleneck(config.latents)])
        self.config = config
        kernel, half = config.kernel_samples, config.kernel_samples // 2
        widths = (1, *config.channels)
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            down += [nn.Conv1d(a, b, kernel, 2, padding=half), nn.GELU()]
            up = [nn.GELU(), nn.ConvTranspose1d(b, a, kernel, 2, padding=half, output_padding=1), *up]
        self.down = nn.Sequential(*down, nn.Conv1d(widths[-1], config.latents, 3, padding=1))
        self.up = nn.Sequential(nn.Conv1d(config.latents, widths[-1], 3, padding=1), *up)

    @property
    def stride_samples(self) -> int:
        """Samples that share a latent."""
        return int(2 ** len(self.config.channels))

    def positions(self, columns: int) -> list[int]:
        return [-(-columns // self.stride_samples)]

    def encode(self, features: Tensor) -> list[Tensor]:
        return [self.down(pad_columns(features[:, 0], self.stride_samples))]

    def decode(self, latents: list[Tensor], columns: int) -> Tensor:
        samples: Tensor = self.up(latents[0])
        return samples[:, None, :, :columns]
