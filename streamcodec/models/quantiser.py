"""Scalar quantiser with one learned step per quality index and latent."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from streamcodec.models.config import NeuralConfig

COARSEST_LOG2_STEP = 2.4
FINEST_LOG2_STEP = -1.4


class QualityQuantiser(nn.Module):
    """Uniform quantiser; quality index 0 is the coarsest.

    Shape: latents ``[batch, frames, latents]``, quality_index int64 ``[batch, frames]``.
    """

    def __init__(self, config: NeuralConfig) -> None:
        super().__init__()
        ladder = torch.linspace(COARSEST_LOG2_STEP, FINEST_LOG2_STEP, config.qualities)
        self.log2_step = nn.Parameter(ladder[:, None].repeat(1, config.latents))

    def steps(self, quality_index: Tensor) -> Tensor:
        """Step sizes: ``[batch, frames]`` -> ``[batch, frames, latents]``."""
        return torch.exp2(self.log2_step[quality_index])

    def forward(self, latents: Tensor, quality_index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantise for training.

        Returns dequantised latents (rounded, straight-through gradient), the scaled latents with uniform
        noise in place of rounding (for the rate term), and the rounded indices (as floats).
        """
        step = self.steps(quality_index)
        scaled = latents / step
        indices = torch.round(scaled.detach())
        hard = scaled + (indices - scaled.detach())
        noisy = scaled + (torch.rand_like(scaled) - 0.5)
        return hard * step, noisy, indices
