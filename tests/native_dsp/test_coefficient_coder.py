"""Coefficient coder: the reference's bytes, round trips, learning, bounds."""

from __future__ import annotations

import numpy as np
import pytest

from native_dsp.coding.coefficient_coder import (
    HIGHEST_HINT,
    LARGEST,
    decode_coefficients,
    encode_coefficients,
    make_coefficient_coder,
)
from native_dsp.coding.range_coder import decoder_init, encoder_finish, encoder_init, make_state
from tests.reference.range_coder_reference import ReferenceEncoder
from tests.reference.spectrum_reference import ReferenceCoefficients


def coded_bytes(blocks: np.ndarray, key_every: int = 0, reference: ReferenceCoefficients | None = None) -> int:
    """Code blocks ``[n, channels, coefficients]``, decode them, compare; returns the bytes they took."""
    _, channels, coefficients = blocks.shape
    rng, hinted = np.random.default_rng(8), reference is not None
    ours = make_coefficient_coder(channels, coefficients)
    theirs = make_coefficient_coder(channels, coefficients)
    coder, buffer, total = make_state(), np.zeros(1 << 18, np.uint8), 0
    for number, block in enumerate(blocks):
        key = number == 0 or bool(key_every and number % key_every == 0)
        # Every other block without hints.
        hints = rng.integers(0, HIGHEST_HINT + 1, block.shape, np.int32) * np.int32(hinted and number % 2)
        encoder_init(coder)
        encode_coefficients(coder, buffer, ours, block, hints, key)
        length = encoder_finish(coder, buffer)
        assert length >= 0
        data = buffer[:length].copy()
        if reference is not None:
            long_code = ReferenceEncoder()
            reference.encode(long_code, block.tolist(), hints.tolist(), key)
            assert data.tobytes() == long_code.finish()
        found = np.zeros_like(block)
        decoder_init(coder, data, length)
        decode_coefficients(coder, data, theirs, found, hints, key)
        assert np.array_equal(found, block)
        total += length
    return total


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("spread", [0.05, 1.0, 300.0, 1e6])
def test_coefficients_are_coded_as_by_the_reference_and_come_back(spread: float, channels: int) -> None:
    rng = np.random.default_rng(7)
    envelope = np.linspace(2, 0.01, 64)
    blocks = np.rint(rng.laplace(scale=spread, size=(6, channels, 64)) * envelope).astype(np.int32)
    coded_bytes(np.clip(blocks, -LARGEST, LARGEST), 3, ReferenceCoefficients(channels, 64))


def test_extremes_are_coded_as_by_the_reference_and_come_back() -> None:
    coded_bytes(np.full((3, 2, 64), LARGEST, np.int32), 0, ReferenceCoefficients(2, 64))
    coded_bytes(np.tile(np.array([0, -LARGEST, 0, 1], np.int32), (3, 1, 16)), 0, ReferenceCoefficients(1, 64))


def test_known_statistics_cost_about_their_entropy() -> None:
    rng = np.random.default_rng(3)
    blocks = (rng.random((60, 1, 512)) < 0.1).astype(np.int32) * rng.choice([-1, 1], (60, 1, 512)).astype(np.int32)
    entropy_bits = blocks.size * (-(0.1 * np.log2(0.1) + 0.9 * np.log2(0.9)) + 0.1)
    assert coded_bytes(blocks) * 8 < 1.06 * entropy_bits


def test_a_steady_spectrum_is_learnt() -> None:
    rng = np.random.default_rng(4)
    envelope = np.zeros(256)
    envelope[[20, 60, 61, 150]] = 30.0
    blocks = np.rint(envelope * rng.choice([-1, 1], (40, 1, 256))).astype(np.int32)
    first = coded_bytes(blocks[:4])
    assert coded_bytes(blocks) - coded_bytes(blocks[:36]) < 0.5 * first


def test_hints_that_are_true_save_bits() -> None:
    rng = np.random.default_rng(5)
    hints = rng.integers(1, HIGHEST_HINT + 1, (30, 1, 32)).repeat(8, axis=2).astype(np.int32)
    blocks = np.rint(rng.laplace(scale=0.5 * 2.0 ** (hints / 4 - 3))).astype(np.int32)
    coder, buffer, bits = make_state(), np.zeros(1 << 14, np.uint8), []
    for known in (hints, np.zeros_like(hints)):
        models, total = make_coefficient_coder(1, 256), 0
        for block, hint in zip(blocks, known, strict=True):
            encoder_init(coder)
            encode_coefficients(coder, buffer, models, block, hint, True)
            total += encoder_finish(coder, buffer)
        bits.append(total)
    assert bits[0] < 0.97 * bits[1]
