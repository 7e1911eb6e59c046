"""MDCT against its definition, perfect reconstruction, orthonormality."""

from __future__ import annotations

import numpy as np
import pytest

from native_dsp.mdct import make_mdct, mdct_backward, mdct_forward, mdct_reference


@pytest.mark.parametrize("size", [64, 512, 2048])
def test_forward_equals_the_definition_and_backward_returns_the_samples(size: int) -> None:
    blocks = np.random.default_rng(size).normal(size=(4, size)).astype(np.float32)
    forward, backward = make_mdct(size), make_mdct(size)
    spectrum, output = np.zeros(size, np.float32), np.zeros(size, np.float32)
    last = np.zeros(size, np.float32)
    for block in blocks:
        mdct_forward(forward, block, spectrum)
        expected = mdct_reference(np.concatenate([last, block]).astype(np.float64))
        assert np.abs(spectrum - expected).max() < 3e-6
        mdct_backward(backward, spectrum, output)
        assert np.abs(output - last).max() < 3e-6
        last = block


def test_energy_is_kept() -> None:
    size = 256
    state = make_mdct(size)
    blocks = np.random.default_rng(1).normal(size=(40, size)).astype(np.float32)
    blocks[-1] = 0
    spectra = np.zeros_like(blocks)
    for block, spectrum in zip(blocks, spectra, strict=True):
        mdct_forward(state, block, spectrum)
    assert np.sum(spectra**2) == pytest.approx(np.sum(blocks**2), rel=1e-4)
