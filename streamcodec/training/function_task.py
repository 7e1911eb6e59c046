"""The plain case of a task: one network, one loss function, batches by step number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from torch import Tensor, nn

from streamcodec.training.learning_rate import Schedule
from streamcodec.training.task import Figures, OptimiserConfig, OptimiserStep, TrainedModule, TrainingTask

Batch = TypeVar("Batch")
MODEL = "model"


class FunctionTask(TrainingTask):
    """Lower ``loss(batches(step))`` with the weights of ``module``.

    ``batches`` must depend on the step number alone (seed a generator with it), or runs do not resume exactly.
    ``validation`` scores the averaged weights, lower is better. ``shape`` is what a resumed run must agree on.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Callable[[Batch], tuple[Tensor, Figures]],
        batches: Callable[[int], Batch],
        schedule: Schedule,
        *,
        optimiser: OptimiserConfig | None = None,
        average_decay: float | None = None,
        validation: Callable[[], float] | None = None,
        shape: str = "",
        settings: Mapping[str, object] | None = None,
        sound_s_per_step: float = 0.0,
    ) -> None:
        chosen = optimiser or OptimiserConfig()
        self.modules = {MODEL: TrainedModule(module, schedule, chosen, average_decay=average_decay)}
        self.identity = {"shape": shape or repr(module)}
        self._settings = dict(settings or {})
        self.sound_s_per_step = sound_s_per_step
        self._step_loss: Callable[[int], tuple[Tensor, Figures]] = lambda step: loss(batches(step))
        self._validation = validation

    def settings(self) -> dict[str, object]:
        """Those given."""
        return self._settings

    def optimiser_steps(self, step: int, progress: float) -> Iterator[OptimiserStep]:
        """One optimiser step of the one module."""
        loss, figures = self._step_loss(step)
        yield OptimiserStep(MODEL, loss, figures)

    def validate(self) -> float | None:
        """The validation function's score."""
        return None if self._validation is None else self._validation()
