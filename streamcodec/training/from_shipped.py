"""A shipped model back as the torch modules it was exported from, to train on where it stands."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from streamcodec.codec.neural import entropy as integer
from streamcodec.models.codec import NeuralCodec
from streamcodec.models.shipped import ShippedModel
from streamcodec.models.step_modules import DecoderStep, EncoderStep
from streamcodec.models.torch_weights import load_weights


def codec_of(model: ShippedModel) -> NeuralCodec:
    """The networks in float32; raises ModelError where the model's files do not hold what they should."""
    codec = NeuralCodec(model.config)
    weights = model.load_weights()
    load_weights(EncoderStep(codec.encoder), weights)
    load_weights(DecoderStep(codec.decoder), weights)
    _fill_entropy_model(codec, model)
    return codec


@torch.no_grad()
def _fill_entropy_model(codec: NeuralCodec, model: ShippedModel) -> None:
    """Undo :func:`~streamcodec.training.export.entropy_tables`: exact, since the tables are the coarser form."""

    def floats(name: str, bits: int) -> Tensor:
        return torch.from_numpy(model.entropy[name] / np.float32(1 << bits)).float()

    hidden, hidden_bias = floats("hidden", integer.WEIGHT_BITS), floats("hidden_bias", integer.HIDDEN_BITS)
    out = floats("out", integer.WEIGHT_BITS)
    out_bias = floats("out_bias", integer.HIDDEN_BITS + integer.WEIGHT_BITS)
    codec.quantizer.log2_step.copy_(torch.log2(floats("step", integer.STEP_BITS)))
    entropy = codec.entropy
    for k, (first, last) in enumerate(zip(entropy.hidden, entropy.out, strict=True)):
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        first.weight.copy_(hidden[k, :, : first.in_features])
        last.weight.copy_(out[k, : last.out_features])
        entropy.bias[k].copy_(hidden_bias[:, :, k])
        entropy.out_bias[k].copy_(out_bias[:, :, k, : last.out_features])
        # The tables hold both biases as one.
        first.bias.zero_()
        last.bias.zero_()
