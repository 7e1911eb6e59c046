"""Adaptive bit models: round trip, learning, bounds."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native_dsp.coding.adaptive_bits import (
    adapt,
    decode_adaptive_bit,
    encode_adaptive_bit,
    make_models,
    probability,
)
from native_dsp.coding.range_coder import decoder_init, encoded_length_256, encoder_finish, encoder_init, make_state
from tests.reference.mixing_reference import ReferenceModel


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), max_size=500))
def test_bits_come_back_and_the_models_equal_the_reference(steps: list[tuple[int, int]]) -> None:
    state, buffer, models = make_state(), np.zeros(2048, np.uint8), make_models(4)
    references = [ReferenceModel() for _ in range(4)]
    encoder_init(state)
    for index, bit in steps:
        assert probability(models, index) == references[index].probability()
        encode_adaptive_bit(state, buffer, models, index, bit)
        references[index].adapt(bit)
    length = encoder_finish(state, buffer)
    decoder_init(state, buffer, length)
    decoder_models = make_models(4)
    assert [decode_adaptive_bit(state, buffer, decoder_models, index) for index, _ in steps] == [b for _, b in steps]
    np.testing.assert_array_equal(decoder_models, models)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.9])
def test_steady_bits_cost_little_more_than_their_entropy(share: float) -> None:
    bits = np.random.default_rng(3).random(20000) < share
    state, buffer, models = make_state(), np.zeros(4096, np.uint8), make_models(1)
    encoder_init(state)
    for bit in bits.tolist():
        encode_adaptive_bit(state, buffer, models, 0, int(bit))
    entropy = -share * log2(share) - (1 - share) * log2(1 - share)
    # measured: 0.4 to 1.8 % of a bit, the price of always expecting change
    assert encoded_length_256(state) / 256 / len(bits) < entropy + 0.025


@pytest.mark.parametrize("bit", [0, 1])
def test_certainty_stays_within_bounds(bit: int) -> None:
    models = make_models(1)
    for _ in range(5000):
        adapt(models, 0, bit)
        assert 1 <= probability(models, 0) <= 65535
    assert probability(models, 0) > 65300 if bit else probability(models, 0) < 200
