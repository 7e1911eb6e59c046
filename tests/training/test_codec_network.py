"""The codec as a torch module: the same stepped and whole, and grown without a change."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from streamcodec.models.codec import NeuralCodec, context_available
from streamcodec.training.initialise import grow_from
from tests.helpers.tiny_model import TINY


def test_a_grown_model_begins_where_the_smaller_one_stood() -> None:
    torch.manual_seed(0)
    small = NeuralCodec(TINY)
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    large = NeuralCodec(dataclasses.replace(TINY, encoder_dilations_frame=(1, 2, 4, 8), decoder_expansion=5))
    grow_from(large, small.state_dict())
    sound, quality_index = 0.1 * torch.randn(2, 480 * 6), torch.full((2, 6), 2)
    nothing = context_available(2, 6, "independent"), torch.zeros(2, 6, dtype=torch.bool)
    outputs = []
    for codec in (small, large):
        torch.manual_seed(1)
        outputs.append(codec(sound, quality_index, *nothing))
    torch.testing.assert_close(outputs[0].samples, outputs[1].samples)
    torch.testing.assert_close(outputs[0].frame_bits_hard, outputs[1].frame_bits_hard)
    with pytest.raises(ValueError, match="has no place"):
        grow_from(small, large.state_dict())


def test_offline_network_equals_stepped_network() -> None:
    torch.manual_seed(1)
    codec = NeuralCodec(TINY).eval()
    sound = 0.1 * torch.randn(1, 10 * TINY.frame_samples)
    companded = codec.spectrum.compand(codec.spectrum.analyse(sound))
    with torch.no_grad():
        whole, _ = codec.encoder(companded, codec.encoder.initial_state(1))
        state, pieces = codec.encoder.initial_state(1), []
        for k in range(10):
            piece, state = codec.encoder(companded[:, 2 * k : 2 * k + 2], state)
            pieces.append(piece)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, atol=1e-5, rtol=1e-4)
