"""What the training loop asks of a task, and the plain values the two exchange."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from streamcodec.errors import StreamcodecError
from streamcodec.training.learning_rate import Schedule


class TrainingError(StreamcodecError):
    """A run cannot be started or resumed as asked."""


@dataclass(frozen=True)
class OptimiserConfig:
    """Settings of Adam; ``adamw`` decouples the weight decay from the gradient."""

    kind: Literal["adamw", "adam"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    gradient_clip: float = 1.0


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a multiple of the learning rate and a weight decay."""

    parameters: Sequence[nn.Parameter]
    weight_decay: float
    rate_scale: float = 1.0


@dataclass(frozen=True)
class TrainedModule:
    """One network that one optimiser moves to lower one loss.

    An autoencoder is one trained module; an adversarial stage has two. ``average_decay`` keeps an exponential moving
    average of the weights, which validation and export take; None keeps none.
    """

    module: nn.Module
    schedule: Schedule
    optimiser: OptimiserConfig = OptimiserConfig()
    groups: Sequence[ParameterGroup] | None = None
    average_decay: float | None = None

    def make_optimiser(self) -> torch.optim.Optimizer:
        """A fresh, fused optimiser of this module's parameters; a group's ``scale`` multiplies its rate."""
        groups = self.groups or [ParameterGroup(list(self.module.parameters()), self.optimiser.weight_decay)]
        options = [{"params": g.parameters, "weight_decay": g.weight_decay, "scale": g.rate_scale} for g in groups]
        kind = torch.optim.AdamW if self.optimiser.kind == "adamw" else torch.optim.Adam
        return kind(options, lr=1e-3, betas=self.optimiser.betas, fused=True)


@dataclass
class Counted:
    """A figure by case (a quality index, say) that each step yields for some of the cases.

    Shape: ``[cases]`` each; the log shows ``total / count`` over its steps.
    """

    total: Tensor
    count: Tensor


Figures = Mapping[str, float | Tensor | Counted]


@dataclass
class OptimiserStep:
    """The loop is to lower ``loss`` with the parameters of ``module``, then to ask for the next optimiser step."""

    module: str
    loss: Tensor
    figures: Figures


class TrainingTask(ABC):
    """What is trained on what; how it is optimised, timed, saved and resumed is up to the loop.

    Everything random in a step must come from ``step`` or from torch's own generators, which the loop seeds before
    each step: a resumed run then equals an unbroken one, bit by bit.
    """

    modules: Mapping[str, TrainedModule]
    """By name, in the order of the checkpoint."""
    identity: Mapping[str, str]
    """What a checkpoint must have in common with this task to be resumed: the shape of the networks."""
    sound_s_per_step: float = 0.0
    """Seconds of sound in one batch, for the throughput in the log."""

    @abstractmethod
    def optimiser_steps(self, step: int, progress: float) -> Iterator[OptimiserStep]:
        """One step: an optimiser step for each trained module in turn, each taken before the next is computed.

        ``progress`` goes from 0 to 1 over the run.
        """

    def prepare(self) -> dict[str, float]:
        """Set start values of a new run; returns what was found, for the log."""
        return {}

    def settings(self) -> dict[str, object]:
        """Everything else worth knowing of the run, plain values for the checkpoint."""
        return {}

    def validate(self) -> float | None:
        """Score on sound held back, lower is better; None if there is none. Averaged weights are in place."""
        return None

    def state(self) -> dict[str, object]:
        """What else must be in the checkpoint: plain values and tensors."""
        return {}

    def load_state(self, state: Mapping[str, object]) -> None:
        """Take back what :meth:`state` gave."""
        if state:
            raise TrainingError(f"{type(self).__name__} keeps no state, but the checkpoint holds {sorted(state)}")
