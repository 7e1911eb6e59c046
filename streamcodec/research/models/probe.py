"""A small convolutional classifier of feature sequences, to ask what a frozen representation knows."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ProbeNet(nn.Module):
    """Two convolutions over time, mean and maximum over what is left of it, one linear layer.

    Shape: features ``[batch, frames, dim]`` -> scores ``[batch, classes]``.
    """

    def __init__(self, dim: int, classes: int, channels: int = 48, dropout: float = 0.3) -> None:
        super().__init__()
        self.first = nn.Conv1d(dim, channels, 5, stride=2, padding=2)
        self.second = nn.Conv1d(channels, channels, 5, stride=2, padding=2)
        self.dropout = nn.Dropout(dropout)
        self.leave = nn.Linear(2 * channels, classes)

    def forward(self, features: Tensor) -> Tensor:
        x = torch.relu(self.first(features.transpose(1, 2)))
        x = torch.relu(self.second(self.dropout(x)))
        pooled = torch.cat([x.mean(-1), x.amax(-1)], dim=-1)
        scores: Tensor = self.leave(self.dropout(pooled))
        return scores
