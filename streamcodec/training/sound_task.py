"""A task whose network gives sound: what a judge of that sound needs to know of every step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from streamcodec.training.distributed import DistributedGroup
from streamcodec.training.task import Figures, OptimiserStep, TrainingTask


@dataclass
class SoundPass:
    """One batch through a network, and what it costs.

    Shape: original and draws ``[batch, samples]``, ``bandwidth_hz`` ``[batch]``, outputs any, the rest scalars.
    """

    original: Tensor
    """Sound aligned with the decoded one."""
    draws: tuple[Tensor, ...]
    """Decoded sound: once, or twice with other noise where the decoder draws some."""
    outputs: tuple[Tensor, ...]
    """What the network gave, of which ``distance`` and ``draws`` are functions: the draws themselves, or features."""
    bandwidth_hz: Tensor
    """Up to where each original is to be trusted."""
    distance: Tensor
    """Mean reconstruction loss."""
    price: Tensor
    """What else is lowered beside it: the mean price of the bits."""
    figures: Figures

    @property
    def loss(self) -> Tensor:
        """What is lowered without a discriminator."""
        return self.distance + self.price


class SoundTask(TrainingTask):
    """A task whose first trained module makes sound."""

    sample_rate_hz: int
    device: torch.device
    bfloat16: bool = False
    distributed: DistributedGroup

    @abstractmethod
    def sound_batch(self, step: int, progress: float) -> SoundPass:
        """Draw the batch of a step, let the network make sound of it, and score that."""

    def optimiser_steps(self, step: int, progress: float) -> Iterator[OptimiserStep]:
        """The optimiser step of the module that makes the sound."""
        done = self.sound_batch(step, progress)
        yield OptimiserStep(next(iter(self.modules)), done.loss, done.figures)
