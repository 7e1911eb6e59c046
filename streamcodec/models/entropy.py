"""Learned entropy model of the latent indices, float form for training.

Latents are coded in groups. A small network per group predicts the location and scale of a logistic
distribution for each latent of the group, from the groups already decoded in this frame, from the two
previous frames where the mode allows it, and from the quality index. The shipped form of the same network runs in
integer arithmetic (``streamcodec.codec.neural.entropy``), so both ends of a line agree bit by bit on any machine.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from streamcodec.models.config import NeuralConfig

CONTEXT_FRAMES = 2
INPUT_LIMIT = 24.0
HIDDEN_LIMIT = 16.0
LOG2_SCALE_MIN = -4.0
LOG2_SCALE_MAX = 5.0
MIN_PROBABILITY = 2.0**-15


def group_slices(config: NeuralConfig) -> list[slice]:
    """Latent ranges of the groups."""
    return [slice(a, b) for a, b in itertools.pairwise(config.group_bounds)]


class EntropyModel(nn.Module):
    """Location and scale of every latent index, given what the decoder already knows.

    Shape:
        dequantised: ``[batch, frames, latents]``; quality_index: int64 ``[batch, frames]``;
        available: bool ``[batch, frames, CONTEXT_FRAMES]``, which previous frames may be used.
        returns location (in latent units) and log2 scale (in latent units), both like ``dequantised``.
    """

    def __init__(self, config: NeuralConfig) -> None:
        super().__init__()
        self.config = config
        self.groups = group_slices(config)
        context = CONTEXT_FRAMES * config.latents
        self.hidden = nn.ModuleList(nn.Linear(context + group.start, config.entropy_hidden) for group in self.groups)
        self.bias = nn.ParameterList(
            nn.Parameter(torch.zeros(config.qualities, 2**CONTEXT_FRAMES, config.entropy_hidden)) for _ in self.groups
        )
        self.out = nn.ModuleList(
            nn.Linear(config.entropy_hidden, 2 * (group.stop - group.start)) for group in self.groups
        )
        self.out_bias = nn.ParameterList(
            nn.Parameter(torch.zeros(config.qualities, 2**CONTEXT_FRAMES, 2 * (group.stop - group.start)))
            for group in self.groups
        )
        for layer in self.out:
            assert isinstance(layer, nn.Linear)
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, dequantised: Tensor, quality_index: Tensor, available: Tensor) -> tuple[Tensor, Tensor]:
        limited = dequantised.clamp(-INPUT_LIMIT, INPUT_LIMIT)
        history = []
        for age in range(1, CONTEXT_FRAMES + 1):
            past = nn.functional.pad(limited, (0, 0, age, 0))[:, : limited.shape[1]]
            history.append(past * available[..., age - 1 : age])
        everything = torch.cat([*history, limited], dim=-1)
        mask = (available.long() * torch.tensor([1, 2], device=quality_index.device)).sum(-1)
        locations, scales = [], []
        for k, group in enumerate(self.groups):
            known = everything[..., : CONTEXT_FRAMES * self.config.latents + group.start]
            hidden = self.hidden[k](known) + self.bias[k][quality_index, mask]
            hidden = hidden.clamp(0.0, HIDDEN_LIMIT)
            out = self.out[k](hidden) + self.out_bias[k][quality_index, mask]
            location, log2_scale = out.chunk(2, dim=-1)
            locations.append(location)
            scales.append(log2_scale)
        log2_scale = torch.cat(scales, dim=-1).clamp(LOG2_SCALE_MIN - 2, LOG2_SCALE_MAX + 2)
        return torch.cat(locations, dim=-1), log2_scale


def bits(scaled: Tensor, location: Tensor, log2_scale: Tensor) -> Tensor:
    """Bits of indices under a discretised logistic, all arguments in units of the quantiser step.

    Shape: three tensors of one shape -> bits of the same shape.
    """
    inverse = torch.exp2(-log2_scale.clamp(LOG2_SCALE_MIN, LOG2_SCALE_MAX))
    distance = -(scaled - location).abs()
    upper = torch.sigmoid((distance + 0.5) * inverse)
    lower = torch.sigmoid((distance - 0.5) * inverse)
    return -torch.log2((upper - lower).clamp_min(MIN_PROBABILITY))
