"""Residual quantisers for comparison: stages of equal rate, each coding what the ones before have left.

As in SoundStream and EnCodec, fewer stages are a lower rate, and indices are written plainly, without an entropy
model, so what a packet costs is its stages times ten bits.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from streamcodec.models.codec import CodedLatents, NeuralCodec
from streamcodec.models.config import NeuralConfig
from streamcodec.models.neural import full_precision

STAGE_BITS = 10
FEWEST_STAGES, MOST_STAGES = 2, 26
COMMITMENT = 1.0
"""Pull of latents towards what they are quantised to, in bits per squared unit: the price of bits scales it, too."""


class Stage(nn.Module):
    """One stage of :data:`STAGE_BITS` bits."""

    def start(self, residual: Tensor) -> None:
        """Begin with what these vectors have in common: ``[vectors, latents]``."""
        raise NotImplementedError

    def forward(self, residual: Tensor) -> Tensor:
        """What the indices stand for, with a gradient where there is something to learn by it.

        Shape: ``[vectors, latents]`` -> the same.
        """
        raise NotImplementedError


class Codebook(Stage):
    """A book of 1,024 vectors, k-means at the start, moving averages after it, restarts for those nobody chooses."""

    ENTRIES = 1 << STAGE_BITS
    DECAY = 0.98
    KMEANS_ROUNDS = 8
    DEAD_BELOW = 0.05

    def __init__(self, latents: int) -> None:
        super().__init__()
        self.register_buffer("entries", torch.zeros(self.ENTRIES, latents))
        self.register_buffer("sums", torch.zeros(self.ENTRIES, latents))
        self.register_buffer("uses", torch.ones(self.ENTRIES))

    def nearest(self, residual: Tensor) -> Tensor:
        """Index of the nearest entry of each vector."""
        entries = self.get_buffer("entries")
        return torch.argmin(entries.square().sum(1) - 2.0 * residual @ entries.T, dim=1)

    @torch.no_grad()
    def start(self, residual: Tensor) -> None:
        entries = self.get_buffer("entries")
        entries.copy_(residual[torch.randperm(len(residual))[torch.arange(self.ENTRIES) % len(residual)]])
        for _ in range(self.KMEANS_ROUNDS):
            self._follow(residual, self.nearest(residual), decay=0.0)

    @torch.no_grad()
    def _follow(self, residual: Tensor, chosen: Tensor, decay: float) -> None:
        entries, sums, uses = (self.get_buffer(name) for name in ("entries", "sums", "uses"))
        counts = torch.bincount(chosen, minlength=self.ENTRIES).to(uses)
        uses.mul_(decay).add_((1.0 - decay) * counts)
        sums.mul_(decay).index_add_(0, chosen, (1.0 - decay) * residual)
        dead = uses < self.DEAD_BELOW * len(residual) / self.ENTRIES
        entries.copy_(torch.where(dead[:, None], entries, sums / uses.clamp_min(1e-6)[:, None]))
        if dead.any():
            again = residual[torch.randint(len(residual), (int(dead.sum()),))]
            entries[dead] = again
            sums[dead] = again * uses.mean()
            uses[dead] = uses.mean()

    def forward(self, residual: Tensor) -> Tensor:
        chosen = self.nearest(residual.detach())
        found = self.get_buffer("entries")[chosen]
        if self.training and torch.is_grad_enabled():
            self._follow(residual.detach(), chosen, self.DECAY)
        return found


class FiniteScalars(Stage):
    """Five directions of four levels each (Mentzer et al., "Finite scalar quantization", 2023), begun as principal
    components with the steps that suit a Gaussian."""

    SCALARS, LEVELS = 5, 4
    GAUSSIAN_STEP = 0.996

    def __init__(self, latents: int) -> None:
        super().__init__()
        self.down = nn.Linear(latents, self.SCALARS)
        self.up = nn.Linear(self.SCALARS, latents)

    @torch.no_grad()
    def start(self, residual: Tensor) -> None:
        mean = residual.mean(0)
        centred = residual - mean
        values, vectors = torch.linalg.eigh((centred.T @ centred / len(centred)).double())
        directions = vectors[:, -self.SCALARS :].T.float()
        step = values[-self.SCALARS :].clamp_min(1e-9).sqrt().float() * self.GAUSSIAN_STEP
        self.down.weight.copy_(directions / step[:, None])
        self.down.bias.copy_(-self.down.weight @ mean)
        self.up.weight.copy_(directions.T * step)
        self.up.bias.copy_(mean)

    def forward(self, residual: Tensor) -> Tensor:
        scaled = self.down(residual)
        limit = (self.LEVELS - 1) / 2
        qualities = (torch.floor(scaled.detach()) + 0.5).clamp(-limit, limit)
        inside: Tensor = self.up(scaled + (qualities - scaled).detach())
        return inside


class ResidualCodec(NeuralCodec):
    """The codec with stages in place of scalar latents under an entropy model."""

    def __init__(self, config: NeuralConfig, make_stage: Callable[[int], Stage]) -> None:
        super().__init__(config)
        self.stages = nn.ModuleList(make_stage(config.latents) for _ in range(MOST_STAGES))
        ladder = torch.linspace(FEWEST_STAGES, MOST_STAGES, config.qualities).round().long()
        self.register_buffer("stages_by_quality", ladder, persistent=False)

    @torch.no_grad()
    def start_stages(self, samples: Tensor) -> None:
        """Begin every stage on what is left of the latents of ``samples`` (``[segments, samples]``)."""
        companded = self.spectrum.compand(self.spectrum.analyse(samples))
        latents, _ = self.encoder(companded, self.encoder.initial_state(len(samples)))
        residual = latents.reshape(-1, latents.shape[-1])
        for stage in self.stages:
            assert isinstance(stage, Stage)
            stage.start(residual)
            residual = residual - stage(residual)

    def code(self, latents: Tensor, quality_index: Tensor, available: Tensor) -> CodedLatents:
        """As many stages as the level says; ``available`` makes no difference to indices that are written plainly."""
        with full_precision(latents):
            flat = latents.float().reshape(-1, latents.shape[-1])
            wanted = self.get_buffer("stages_by_quality")[quality_index].reshape(-1, 1)
            total, target = torch.zeros_like(flat), flat.detach()
            for k, stage in enumerate(self.stages):
                total = total + torch.where(k < wanted, stage(target - total.detach()), 0.0)
            error = (flat - total.detach()).square().sum(-1)
            passed = total + (flat - flat.detach())
        bits = (STAGE_BITS * wanted[:, 0]).float()
        pull = COMMITMENT * (error - error.detach())
        shape = quality_index.shape
        return CodedLatents(passed.reshape(latents.shape), (bits + pull).reshape(shape), bits.reshape(shape))
