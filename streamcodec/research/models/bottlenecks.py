"""From latents to whole numbers and back: uniform steps, a variational posterior, a vector codebook."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from streamcodec.models.entropy import bits as logistic_bits

PARAMETER_SCALE = 10.0
"""Steps are learnt on a log scale that must move by whole units in a few hundred optimiser steps of 1e-3."""


@dataclass
class Quantised:
    """What a training pass gets from a bottleneck."""

    values: Tensor
    """Latents as the decoder will see them, or a differentiable stand-in."""
    bits: Tensor
    """Estimated bits of each sound ``[B]``, differentiable where the latents can lower them."""
    penalty: Tensor
    """Further loss that the bottleneck needs to learn, a scalar."""


class Bottleneck(nn.Module, ABC):
    """Quantiser of one latent tensor.

    Shape: latents ``[B, inputs, P]``; values ``[B, channels, P]``; indices int32 ``[B, rows, P]``.
    """

    inputs: int
    """Channels the encoder must give."""
    channels: int
    """Channels the decoder gets."""
    rows: int
    """Whole numbers per position."""

    @abstractmethod
    def calibrate(self, latents: Tensor) -> None:
        """Take a start from the latents of an encoder that has learnt nothing yet."""

    @abstractmethod
    def forward(self, latents: Tensor) -> Quantised:
        """Quantise for training."""

    def centre(self, latents: Tensor) -> Tensor:
        """Latents of a finished encoder, neither rounded nor drawn: ``[B, inputs, P]`` -> ``[B, channels, P]``."""
        return latents

    @abstractmethod
    def indices(self, latents: Tensor) -> Tensor:
        """Whole numbers to be coded."""

    @abstractmethod
    def values(self, indices: Tensor) -> Tensor:
        """What the decoder makes of them."""


class ScalarBottleneck(Bottleneck):
    """Uniform steps, one learnt per channel.

    Trained with rounding and a straight-through gradient; the rate is that of a logistic distribution with each
    channel's own mean and spread in the batch, as the tables fitted after training will follow each channel's counts.
    """

    FIRST_STEPS = 2.0
    """Steps in a standard deviation at the start: coarser, and a network that knows nothing yet sends only zeros."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inputs = self.channels = self.rows = channels
        self.log2_step = nn.Parameter(torch.zeros(channels, 1))

    @torch.no_grad()
    def calibrate(self, latents: Tensor) -> None:
        deviation = latents.square().mean().sqrt().clamp_min(1e-4)
        self.log2_step.fill_(float(torch.log2(deviation / self.FIRST_STEPS)) / PARAMETER_SCALE)

    @property
    def step(self) -> Tensor:
        """Step sizes ``[channels, 1]``."""
        return torch.exp2(PARAMETER_SCALE * self.log2_step)

    def forward(self, latents: Tensor) -> Quantised:
        scaled = latents / self.step
        rounded = scaled + (torch.round(scaled) - scaled).detach()
        noisy = scaled + (torch.rand_like(scaled) - 0.5)
        mean = scaled.mean((0, 2), keepdim=True)
        spread = ((scaled - mean) ** 2).mean((0, 2), keepdim=True) + 1e-4
        # A logistic distribution of standard deviation s has the scale s * sqrt(3) / pi.
        log2_scale = 0.5 * torch.log2(spread) + math.log2(math.sqrt(3.0) / math.pi)
        return Quantised(
            rounded * self.step, logistic_bits(noisy, mean, log2_scale).sum((1, 2)), latents.new_zeros(())
        )

    def indices(self, latents: Tensor) -> Tensor:
        return torch.round(latents / self.step).to(torch.int32)

    def values(self, indices: Tensor) -> Tensor:
        return indices * self.step


class VariationalBottleneck(Bottleneck):
    """A Gaussian posterior per latent, standard normal prior (Kingma and Welling, "Auto-encoding variational Bayes").

    The divergence, in bits, is what coding the latent to the posterior's own precision costs. For real bits the
    posterior's mean is rounded to steps of ``sqrt(12)`` mean standard deviations of its channel: rounding then adds
    as much noise as the decoder was trained with.
    """

    FIRST_LOG_DEVIATION = -2.0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inputs, self.channels, self.rows = 2 * channels, channels, channels
        self.register_buffer("log_deviation", torch.zeros(channels, 1))
        self.register_buffer("gain", torch.ones(()))

    @torch.no_grad()
    def calibrate(self, latents: Tensor) -> None:
        self.get_buffer("gain").copy_(1.0 / latents.chunk(2, dim=1)[0].std().clamp_min(1e-4))

    def _posterior(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log deviation, each ``[B, channels, P]``; narrow and of unit spread before training."""
        mean, log_deviation = latents.chunk(2, dim=1)
        return mean * self.get_buffer("gain"), (log_deviation + self.FIRST_LOG_DEVIATION).clamp(-8.0, 4.0)

    def forward(self, latents: Tensor) -> Quantised:
        mean, log_deviation = self._posterior(latents)
        deviation = log_deviation.exp()
        running = self.get_buffer("log_deviation")
        if self.training:
            running.lerp_(log_deviation.detach().mean((0, 2))[:, None], 0.05)
        divergence = 0.5 * (mean**2 + deviation**2 - 1.0) - log_deviation
        values = mean + deviation * torch.randn_like(mean)
        return Quantised(values, divergence.sum((1, 2)) / math.log(2.0), latents.new_zeros(()))

    @property
    def step(self) -> Tensor:
        """Step sizes ``[channels, 1]``."""
        return math.sqrt(12.0) * self.get_buffer("log_deviation").exp()

    def centre(self, latents: Tensor) -> Tensor:
        return self._posterior(latents)[0]

    def indices(self, latents: Tensor) -> Tensor:
        return torch.round(self.centre(latents) / self.step).to(torch.int32)

    def values(self, indices: Tensor) -> Tensor:
        return indices * self.step


class VectorBottleneck(Bottleneck):
    """Groups of channels, each replaced by the nearest of a codebook (van den Oord et al., VQ-VAE, 2017).

    Codebooks follow their members by moving averages, start at vectors of the untrained encoder, and put entries that
    are never chosen onto vectors of the present batch: otherwise most of them are never used.
    """

    DECAY = 0.97
    DEAD = 0.05
    COMMITMENT = 0.25

    def __init__(self, channels: int, groups: int = 1, entries: int = 256) -> None:
        super().__init__()
        if channels % groups:
            raise ValueError(f"{channels} channels do not fall into {groups} groups")
        self.inputs = self.channels = channels
        self.rows, self.entries = groups, entries
        self.register_buffer("codebook", torch.zeros(groups, entries, channels // groups))
        self.register_buffer("use", torch.zeros(groups, entries))

    @torch.no_grad()
    def calibrate(self, latents: Tensor) -> None:
        self.get_buffer("codebook").copy_(self._some(self._vectors(latents)))
        self.get_buffer("use").fill_(1.0)

    def _some(self, vectors: Tensor) -> Tensor:
        """As many of the vectors as a codebook has entries, drawn at random.

        Shape: ``[groups, M, width]`` -> ``[groups, entries, width]``.
        """
        picked = torch.randint(vectors.shape[1], (self.rows, self.entries), device=vectors.device)
        return torch.gather(vectors, 1, picked[..., None].expand(-1, -1, vectors.shape[2]))

    def _vectors(self, latents: Tensor) -> Tensor:
        """Shape: ``[B, channels, P]`` -> ``[groups, B * P, width]``."""
        batch, _, positions = latents.shape
        grouped = latents.reshape(batch, self.rows, -1, positions)
        return grouped.permute(1, 0, 3, 2).reshape(self.rows, batch * positions, -1)

    def _nearest(self, vectors: Tensor) -> Tensor:
        """Shape: ``[groups, M, width]`` -> int64 ``[groups, M]``."""
        book = self.get_buffer("codebook")
        distance = (book**2).sum(-1)[:, None] - 2.0 * vectors @ book.transpose(1, 2)
        return distance.argmin(-1)

    def _follow(self, vectors: Tensor, chosen: Tensor) -> None:
        """Move the codebooks towards their members."""
        book, use = self.get_buffer("codebook"), self.get_buffer("use")
        member = nn.functional.one_hot(chosen, self.entries).to(vectors)
        count = member.sum(1)
        centre = (member.transpose(1, 2) @ vectors) / count.clamp_min(1.0)[..., None]
        book.copy_(torch.where(count[..., None] > 0, torch.lerp(book, centre, 1.0 - self.DECAY), book))
        use.lerp_(count / count.sum(-1, keepdim=True) * self.entries, 1.0 - self.DECAY)
        dead = use < self.DEAD
        book.copy_(torch.where(dead[..., None], self._some(vectors), book))
        use.masked_fill_(dead, 1.0)

    def forward(self, latents: Tensor) -> Quantised:
        vectors = self._vectors(latents.detach())
        chosen = self._nearest(vectors)
        quantised = self.values(self._as_indices(chosen, latents.shape[0]))
        if self.training:
            self._follow(vectors, chosen)
        bits = latents.new_full((latents.shape[0],), self.rows * latents.shape[2] * math.log2(self.entries))
        return Quantised(
            latents + (quantised - latents).detach(), bits, self.COMMITMENT * ((latents - quantised) ** 2).mean()
        )

    def _as_indices(self, chosen: Tensor, batch: int) -> Tensor:
        """Shape: ``[groups, B * P]`` -> int32 ``[B, groups, P]``."""
        return chosen.reshape(self.rows, batch, -1).transpose(0, 1).to(torch.int32)

    def indices(self, latents: Tensor) -> Tensor:
        return self._as_indices(self._nearest(self._vectors(latents)), latents.shape[0])

    def values(self, indices: Tensor) -> Tensor:
        book = self.get_buffer("codebook")
        # Damaged bytes may name entries that do not exist.
        chosen = indices.long().clamp(0, self.entries - 1)
        each = [book[k][chosen[:, k]] for k in range(self.rows)]
        return torch.cat(each, dim=-1).transpose(1, 2)
