"""A linear path from a spectrum to its latent and back, begun at the principal components of training sound.

What the streaming codec gained most by: the model starts as a working transform codec, and the layers beside the path
only have to correct it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LinearPath(nn.Module):
    """Shape: features ``[B, C, F, N]``, codes ``[B, N, latents]``."""

    def __init__(self, channels: int, rows: int, latents: int) -> None:
        super().__init__()
        self.sizes = (channels, rows)
        self.down = nn.Linear(channels * rows, latents, bias=False)
        self.up = nn.Linear(latents, channels * rows, bias=False)

    @torch.no_grad()
    def begin(self, features: Tensor) -> None:
        """Take the principal components of some training features."""
        frames = features.flatten(1, 2).transpose(1, 2).flatten(0, 1).double()
        _, directions = torch.linalg.eigh(frames.T @ frames)
        strongest = directions.flip(1)[:, : self.down.out_features].float()
        self.down.weight.copy_(strongest.T)
        self.up.weight.copy_(strongest)

    def encode(self, features: Tensor) -> Tensor:
        """Codes of every frame."""
        codes: Tensor = self.down(features.flatten(1, 2).transpose(1, 2))
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """Features of every frame."""
        return torch.unflatten(self.up(codes).transpose(1, 2), 1, self.sizes)
