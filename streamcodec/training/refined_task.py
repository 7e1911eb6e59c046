"""Training of a decoder with a refiner after its noise, with how voices repeat as one more loss."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from streamcodec.models.config import NeuralConfig
from streamcodec.models.refiner import RefinedCodec
from streamcodec.training.codec_task import CodecTask
from streamcodec.training.harmonic_task import HARMONICITY_WEIGHT
from streamcodec.training.harmonicity import HarmonicityDistance
from streamcodec.training.task import ParameterGroup, TrainedModule

REFINER_RATE_SCALE = 5.0
"""The refiner begins at nothing where the decoder has been trained for long."""


class RefinedTask(CodecTask):
    """:class:`CodecTask` with a :class:`RefinedCodec`."""

    def make_codec(self, model_config: NeuralConfig) -> RefinedCodec:
        """The networks; weights of a plain codec fit in."""
        self.harmonicity = HarmonicityDistance(model_config.sample_rate_hz).to(self.device)
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

    def score_further(
        self, draws: tuple[Tensor, Tensor], original: Tensor, bandwidth_hz: Tensor, distance: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """With harmonicity at the original's pitch."""
        codec = self.codec
        assert isinstance(codec, RefinedCodec)
        whole = original.shape[1] // codec.config.hop_samples * codec.config.hop_samples
        with torch.no_grad():
            _, voicing, lags = codec.follower(codec.spectrum, codec.spectrum.analyse(original[:, :whole]))
        term = self.harmonicity(draws, original, lags, voicing[..., 0], bandwidth_hz)
        return distance + HARMONICITY_WEIGHT * term, {"harmonicity": term.detach()}
