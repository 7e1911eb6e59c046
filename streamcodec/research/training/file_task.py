"""A network for one file: epochs over its units in an order of their own, scored on the whole file after each."""

from __future__ import annotations

import dataclasses
import functools
import json
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from streamcodec.research.models.unit_model import UnitModel
from streamcodec.training.function_task import FunctionTask
from streamcodec.training.learning_rate import Plateau
from streamcodec.training.task import Figures, OptimiserConfig

SCORED_AT_ONCE = 4096


@dataclass(frozen=True)
class FileTraining:
    """The published settings: Adam, L2, clipping, and a rate that falls where the loss stays as it is."""

    price: float = 0.0
    """Loss that a bit for each sample is worth; the distortion is the squared error over the features' power."""
    batch_units: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    gradient_clip: float = 1.0
    plateau_factor: float = 0.2
    plateau_patience: int = 3
    patience: int = 5
    seed: int = 1

    def steps(self, units: int) -> int:
        """Steps of one epoch."""
        return -(-units // self.batch_units)


def file_task(model: UnitModel, units: Tensor, settings: FileTraining) -> FunctionTask:
    """The task of training ``model`` on the units of the file that it is going to code.

    Shape: ``[U, C, F, unit_columns]``, standardised.
    """
    steps = settings.steps(len(units))
    unit_samples = model.representation.config.hop_samples
    if model.representation.config.kind == "waveform":
        unit_samples = model.unit_columns

    @functools.lru_cache(maxsize=1)
    def order(epoch: int) -> Tensor:
        return torch.from_numpy(np.random.default_rng((settings.seed, epoch)).permutation(len(units)))

    def batches(step: int) -> Tensor:
        epoch, number = divmod(step, steps)
        return units[order(epoch)[number * settings.batch_units :][: settings.batch_units]]

    def loss(target: Tensor) -> tuple[Tensor, Figures]:
        features, bits, penalty = model.through(target)
        distortion = (features - target).square().mean()
        bits_per_sample = bits.mean() / unit_samples
        figures = {"distortion": distortion.detach(), "bits_per_sample": bits_per_sample.detach()}
        return distortion + settings.price * bits_per_sample + penalty, figures

    def validation() -> float:
        parts = [(float(loss(part)[0]), len(part)) for part in torch.split(units, SCORED_AT_ONCE)]
        return sum(value * count for value, count in parts) / len(units)

    config = json.dumps(dataclasses.asdict(model.config))  # type: ignore[call-overload]
    return FunctionTask(
        model,
        loss,
        batches,
        Plateau(settings.learning_rate, settings.plateau_factor, settings.plateau_patience),
        optimiser=OptimiserConfig("adam", (0.9, 0.999), settings.weight_decay, settings.gradient_clip),
        validation=validation,
        shape=config,
        settings=dataclasses.asdict(settings),
    )
