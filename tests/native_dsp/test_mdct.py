"""MDCT against its definition, perfect reconstruction, orthonormality."""

from __future__ import annotations

import numpy as np
import pytest

from native_dsp.transforms.dct4 import dct4, dct4_reference, make_dct4
from native_dsp.transforms.mdct import make_mdct, mdct_backward, mdct_forward, mdct_reference
from native_dsp.transforms.windows import flat_power_complementary


@pytest.mark.parametrize(("size", "overlap"), [(64, 0), (512, 0), (512, 128), (2048, 2)])
def test_forward_equals_the_definition_and_backward_returns_the_samples(size: int, overlap: int) -> None:
    blocks = np.random.default_rng(size).normal(size=(4, size)).astype(np.float32)
    forward, backward = make_mdct(size, overlap), make_mdct(size, overlap)
    spectrum, output = np.zeros(size, np.float32), np.zeros(size, np.float32)
    last = np.zeros(size, np.float32)
    window = flat_power_complementary(2 * size, overlap or size).astype(np.float64)
    for block in blocks:
        mdct_forward(forward, block, spectrum)
        expected = mdct_reference(np.concatenate([last, block]).astype(np.float64), window)
        assert np.abs(spectrum - expected).max() < 3e-6
        mdct_backward(backward, spectrum, output)
        assert np.abs(output - last).max() < 3e-6
        last = block


@pytest.mark.parametrize("size", [32, 128, 1024])
def test_dct4_equals_its_definition_and_inverts_itself(size: int) -> None:
    values = np.random.default_rng(size).normal(size=size).astype(np.float32)
    state, output, again = make_dct4(size), np.zeros(size, np.float32), np.zeros(size, np.float32)
    dct4(state, values, output)
    assert np.abs(output - dct4_reference(values.astype(np.float64))).max() < 3e-6
    dct4(state, output, again)
    assert np.abs(again - values).max() < 3e-6


def test_energy_is_kept() -> None:
    size = 256
    state = make_mdct(size)
    blocks = np.random.default_rng(1).normal(size=(40, size)).astype(np.float32)
    blocks[-1] = 0
    spectra = np.zeros_like(blocks)
    for block, spectrum in zip(blocks, spectra, strict=True):
        mdct_forward(state, block, spectrum)
    assert np.sum(spectra**2) == pytest.approx(np.sum(blocks**2), rel=1e-4)
