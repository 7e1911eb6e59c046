"""Ablation variants change what they say, and are compared at equal rates."""

from __future__ import annotations

import pytest
import torch

from bench.training.__main__ import at_rates
from bench.training.variants import GruTrunk, variants, with_gru_trunks, without_noise
from streamcodec.models.codec import NeuralCodec, context_available
from tests.training.tiny import TINY


def test_rates_are_compared_on_a_logarithmic_scale() -> None:
    levels = [{"kbps": 2.0, "pesq": 1.0}, {"kbps": 8.0, "pesq": 3.0}]
    (row,) = at_rates(levels, (1.0, 4.0, 10.0))
    assert row == {"kbps": 4.0, "pesq": pytest.approx(2.0)}


def test_every_variant_codes_the_same_number_of_latents() -> None:
    assert {variant.model.latents for variant in variants().values()} == {variants()["base"].model.latents}


def test_a_gru_trunk_stepped_equals_the_whole() -> None:
    torch.manual_seed(0)
    trunk = GruTrunk(8, layers=2).eval()
    x = torch.randn(2, 6, 8)
    with torch.no_grad():
        whole, _ = trunk(x, trunk.initial_state(2))
        state, pieces = trunk.initial_state(2), []
        for k in range(6):
            piece, state = trunk(x[:, k : k + 1], state)
            pieces.append(piece)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole)


@pytest.mark.parametrize("noisy", [True, False])
def test_exchanged_networks_run_in_the_codec(noisy: bool) -> None:
    torch.manual_seed(0)
    codec = NeuralCodec(TINY)
    with_gru_trunks(codec)
    if not noisy:
        without_noise(codec)
    nothing_lost = torch.zeros(1, 4, dtype=torch.bool)
    level = torch.zeros(1, 4, dtype=torch.int64)
    with torch.no_grad():
        out = codec(0.1 * torch.randn(1, 4 * 480), level, context_available(1, 4, "independent"), nothing_lost)
    assert torch.allclose(out.samples, out.second, atol=1e-6) is not noisy
