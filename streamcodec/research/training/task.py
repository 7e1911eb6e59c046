"""Research models as a training task, alone or before a judge. The loop is in ``training.loop``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from streamcodec.research.models.base import ResearchModel
from streamcodec.research.training.losses import CropSource, Float32Array, PricedModel, PricedPass, ResearchTraining
from streamcodec.training.adversarial_task import AdversarialTask
from streamcodec.training.distributed import DistributedGroup
from streamcodec.training.function_task import MODEL
from streamcodec.training.sound_task import SoundPass, SoundTask
from streamcodec.training.task import OptimiserStep, TrainedModule


class ResearchTask(SoundTask):
    """A research model on crops of sounds at its rate; its start is calibrated on some of them.

    Shape: sounds ``[T]`` each.
    """

    def __init__(
        self,
        model: ResearchModel,
        training: Sequence[Float32Array],
        settings: ResearchTraining,
        validation: Sequence[Float32Array] = (),
        device: str = "cpu",
    ) -> None:
        self.sample_rate_hz = model.sample_rate_hz
        self.device = torch.device(device)
        self.distributed = DistributedGroup()
        self._settings = settings
        crop = round(settings.segment_s * model.sample_rate_hz)
        self._source = CropSource(training, crop, settings.seed)
        model.calibrate(self._source.batch(step=2**31, size=32))
        self.priced = PricedModel(model, settings).to(self.device)
        self.modules = {MODEL: TrainedModule(self.priced, settings.schedule(), settings.optimiser)}
        config: Any = model.config
        self.identity = {"shape": json.dumps(dataclasses.asdict(config))}
        self.sound_s_per_step = settings.batch_segments * settings.segment_s
        beginnings = [sound[:crop] for sound in validation if sound.size >= crop]
        self._validation = torch.from_numpy(np.stack(beginnings)).to(self.device) if beginnings else None

    def settings(self) -> dict[str, object]:
        """Those of the run."""
        return dict(json.loads(json.dumps(dataclasses.asdict(self._settings))))

    def optimiser_steps(self, step: int, progress: float) -> Iterator[OptimiserStep]:
        """The model's optimiser step; features are not turned into sound, which no loss asks for here."""
        done = self._code(step)
        yield OptimiserStep(MODEL, done.loss, done.figures)

    def sound_batch(self, step: int, progress: float) -> SoundPass:
        """A batch and its sound; where features have no phase, with the original's, as losses on sound take it."""
        done = self._code(step)
        original, features = done.found.original, done.found.features
        return SoundPass(
            original=original,
            draws=(self.priced.model.invert(features, original.shape[1], original),),
            outputs=(features,),
            bandwidth_hz=original.new_full((original.shape[0],), self.sample_rate_hz),
            distance=done.distortion,
            price=done.price,
            figures=done.figures,
        )

    def validate(self) -> float | None:
        """On the beginnings of the sounds held back: the loss, or the distortion alone while the price is steered."""
        if self._validation is None:
            return None
        done = self.priced.code(self._validation)
        return float(done.distortion if self._settings.target_kbps is not None else done.loss)

    def _code(self, step: int) -> PricedPass:
        return self.priced.code(self._source.batch(step, self._settings.batch_segments).to(self.device))


def research_task(
    model: ResearchModel,
    training: Sequence[Float32Array],
    settings: ResearchTraining,
    validation: Sequence[Float32Array] = (),
    device: str = "cpu",
) -> ResearchTask | AdversarialTask[ResearchTask]:
    """The task of training ``model``, with a discriminator if the settings ask for one.

    Shape: sounds ``[T]`` each.
    """
    task = ResearchTask(model, training, settings, validation, device)
    return task if settings.adversarial is None else AdversarialTask(task, settings.adversarial)
