"""Training of a decoder with a refiner after its noise."""

from __future__ import annotations

import dataclasses

from streamcodec.models.config import NeuralConfig
from streamcodec.models.refiner import RefinedCodec
from streamcodec.training.codec_task import CodecTask
from streamcodec.training.task import ParameterGroup, TrainedModule

REFINER_RATE_SCALE = 2.0
"""The refiner begins at nothing where the decoder has been trained for long."""


class RefinedTask(CodecTask):
    """:class:`CodecTask` with a :class:`RefinedCodec`."""

    def make_codec(self, model_config: NeuralConfig) -> RefinedCodec:
        """The networks; weights of a plain codec fit in."""
        return RefinedCodec(model_config)

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
