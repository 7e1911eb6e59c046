"""Training of decoders that follow a pitch: the codec's task with how voices repeat as one more loss."""

from __future__ import annotations

import torch
from torch import Tensor

from streamcodec.models.codec import NeuralCodec
from streamcodec.models.config import NeuralConfig
from streamcodec.models.harmonic import HarmonicCodec
from streamcodec.models.refiner import RefinedCodec
from streamcodec.training.codec_task import CodecTask
from streamcodec.training.harmonicity import HarmonicityDistance

HARMONICITY_WEIGHT = 16.0


class HarmonicityTask(CodecTask):
    """:class:`CodecTask` with a codec that follows a pitch, and one more loss: how voices repeat."""

    kind: type[HarmonicCodec | RefinedCodec]

    def make_codec(self, model_config: NeuralConfig) -> NeuralCodec:
        """The networks; weights of a plain codec fit in."""
        self.harmonicity = HarmonicityDistance(model_config.sample_rate_hz).to(self.device)
        return self.kind(model_config)

    def score_further(
        self, draws: tuple[Tensor, Tensor], original: Tensor, bandwidth_hz: Tensor, distance: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """With harmonicity at the original's pitch."""
        codec = self.codec
        assert isinstance(codec, self.kind)
        whole = original.shape[1] // codec.config.hop_samples * codec.config.hop_samples
        with torch.no_grad():
            _, voicing, lags = codec.follower(codec.spectrum, codec.spectrum.analyse(original[:, :whole]))
        term = self.harmonicity(draws, original, lags, voicing[..., 0], bandwidth_hz)
        return distance + HARMONICITY_WEIGHT * term, {"harmonicity": term.detach()}


class HarmonicTask(HarmonicityTask):
    """With a :class:`HarmonicCodec`."""

    kind = HarmonicCodec
