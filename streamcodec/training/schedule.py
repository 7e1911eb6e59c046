"""Settings of a codec run, and what changes as it proceeds: the price of bits, the coding conditions of a batch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamcodec.models.config import NeuralConfig
from streamcodec.models.entropy import CONTEXT_FRAMES

QualityCurve = Sequence[tuple[float, float]]
"""(quality, value) pairs, interpolated; quality runs from 0, the coarsest, to 1, the finest."""

QUALITY_SHARES = ((0.0, 1.5), (0.12, 3.0), (0.4, 2.0), (0.6, 1.0), (0.75, 0.4), (1.0, 0.4))
"""How often a quality (0 coarsest to 1 finest) is drawn: most at those of calls of 2 to 10 kbps."""
LOW_QUALITY_SHARES = ((0.0, 1.0), (0.13, 3.0), (0.27, 1.5), (0.4, 0.7), (0.5, 0.3), (1.0, 0.3))
"""The same, most at 2 to 6 kbps, where a decoder has to make up the most."""


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of one training run."""

    segment_packets: int = 40
    batch_segments: int = 8
    initial_segments: int = 600
    learning_rate: float = 1e-3
    final_learning_rate: float = 3e-5
    warmup_steps: int = 200
    rate_warmup_steps: int = 800
    rate_weight_coarse: float = 2.3
    rate_weight_fine: float = 0.008
    ema_decay: float = 0.999
    gradient_clip: float = 1.0
    weight_decay: float = 0.01
    late_losses_from: float = 0.5
    """Progress at which the final loss weights hold; 0 where a run starts from trained weights."""
    repulsion: float = 1.0
    """Weight of the distance between two draws in the energy distance; below 1, draws are less noisy than sound."""
    quality_shares: QualityCurve = QUALITY_SHARES
    """How often each quality is drawn."""
    seed: int = 1


FINE_TUNING = TrainingConfig(
    learning_rate=3e-4,
    final_learning_rate=2e-5,
    warmup_steps=100,
    rate_warmup_steps=1,
    late_losses_from=0.0,
    repulsion=0.9,
)
"""Settings for an adversarial stage, which starts from trained weights."""
DECODER_STAGE = dataclasses.replace(FINE_TUNING, learning_rate=2e-4, quality_shares=LOW_QUALITY_SHARES)
"""Settings for the same where the decoder alone is trained."""


def rate_weights(config: TrainingConfig, qualities: int, step: int) -> Tensor:
    """Price of one kbps at each quality index, coarse to fine, warmed up.

    Shape: output ``[qualities]``.
    """
    ladder = torch.logspace(math.log10(config.rate_weight_coarse), math.log10(config.rate_weight_fine), qualities)
    return ladder * min(1.0, (step + 1) / config.rate_warmup_steps)


def by_quality(curve: QualityCurve, qualities: int) -> NDArray[np.float64]:
    """Values of a curve over quality at each quality index.

    Shape: output ``[qualities]``.
    """
    quality, values = zip(*curve, strict=True)
    return np.asarray(np.interp(np.linspace(0.0, 1.0, qualities), quality, values), np.float64)


def quality_shares(qualities: int, curve: QualityCurve = QUALITY_SHARES) -> Tensor:
    """Shares of the quality indices in training.

    Shape: output ``[qualities]``, sum 1.
    """
    drawn = torch.from_numpy(by_quality(curve, qualities))
    return drawn / drawn.sum()


@dataclass
class Conditions:
    """Quality indices, entropy contexts and losses drawn for one batch."""

    quality_index: Tensor
    available: Tensor
    lost: Tensor


def draw_conditions(
    model: NeuralConfig,
    batch: int,
    frames: int,
    generator: torch.Generator,
    quality_curve: QualityCurve = QUALITY_SHARES,
) -> Conditions:
    """Random coding conditions: mostly one quality index per segment, contexts of every kind, some bursts of loss."""
    shares = quality_shares(model.qualities, quality_curve)
    quality_index = torch.multinomial(shares, batch, replacement=True, generator=generator)[:, None].repeat(1, frames)
    for row in range(batch):
        if torch.rand((), generator=generator) < 0.2:
            cut = int(torch.randint(1, frames, (), generator=generator))
            quality_index[row, cut:] = torch.multinomial(shares, 1, generator=generator)[0]
    available = torch.zeros(batch, frames, CONTEXT_FRAMES, dtype=torch.bool)
    style = torch.rand(batch, generator=generator)
    for row in range(batch):
        if style[row] < 0.5:
            continue
        available[row, 1:, 0] = True
        available[row, 2:, 1] = True
        if style[row] > 0.8:
            period = int(torch.randint(2, 11, (), generator=generator))
            available[row, ::period, :] = False
            available[row, 1::period, 1] = False
    lost = torch.zeros(batch, frames, dtype=torch.bool)
    for row in range(batch):
        if torch.rand((), generator=generator) < 0.15:
            chance = 0.03 + 0.12 * float(torch.rand((), generator=generator))
            position = 2
            while position < frames:
                if torch.rand((), generator=generator) < chance:
                    burst = int(torch.randint(1, 6, (), generator=generator))
                    lost[row, position : position + burst] = True
                    position += burst
                position += 1
    return Conditions(quality_index, available, lost)
