"""Training of a decoder with a refiner after its noise."""

from __future__ import annotations

import dataclasses

from streamcodec.models.refiner import RefinedCodec
from streamcodec.training.harmonic_task import HarmonicityTask
from streamcodec.training.task import ParameterGroup, TrainedModule

REFINER_RATE_SCALE = 5.0
"""The refiner begins at nothing where the decoder has been trained for long."""


class RefinedTask(HarmonicityTask):
    """With a :class:`RefinedCodec`."""

    kind = RefinedCodec

    def _module(self) -> TrainedModule:
        module, codec = super()._module(), self.codec
        assert isinstance(codec, RefinedCodec)
        refiner = list(codec.decoder.refiner.parameters())
        known = {id(p) for p in refiner}
        groups = [
            dataclasses.replace(group, parameters=[p for p in group.parameters if id(p) not in known])
            for group in module.groups or ()
        ]
        groups.append(ParameterGroup(refiner, self.config.weight_decay, rate_scale=REFINER_RATE_SCALE))
        return dataclasses.replace(module, groups=groups)
