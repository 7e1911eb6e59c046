"""Companding: against its reference and the torch form, and inverse of each other."""

from __future__ import annotations

import numpy as np
import pytest

from native_dsp.transforms.companding import compand, compand_reference, expand, expand_reference

BINS = 257


def spectrum(seed: int = 0) -> np.ndarray:
    """Bins from far below the floor to loud."""
    rng = np.random.default_rng(seed)
    magnitudes = 10.0 ** rng.uniform(-12, 3, BINS)
    return (magnitudes * np.exp(2j * np.pi * rng.random(BINS))).astype(np.complex64)


def companded(values: np.ndarray) -> np.ndarray:
    out = np.full(2 * BINS, np.nan, np.float32)
    compand(values.real.copy(), values.imag.copy(), out)
    return out


def expanded(values: np.ndarray) -> np.ndarray:
    re, im = np.full((2, BINS), np.nan, np.float32)
    expand(values, re, im)
    return re + 1j * im


def test_equal_to_the_reference() -> None:
    values = spectrum()
    np.testing.assert_allclose(companded(values), compand_reference(values), rtol=1e-6, atol=1e-12)
    coded = companded(values)
    np.testing.assert_allclose(expanded(coded), expand_reference(coded), rtol=1e-6, atol=1e-12)


def test_equal_to_the_torch_forms() -> None:
    torch = pytest.importorskip("torch")
    from streamcodec.models.config import NeuralConfig
    from streamcodec.models.spectrum import Spectrum

    torch_form = Spectrum(NeuralConfig())
    values = spectrum(1)
    coded = torch_form.compand(torch.from_numpy(values)[None, None])
    np.testing.assert_allclose(companded(values), coded[0, 0].numpy(), rtol=2e-6, atol=1e-12)
    expected = torch_form.expand(coded)[0, 0].numpy()
    np.testing.assert_allclose(expanded(coded[0, 0].numpy()), expected, rtol=2e-6, atol=1e-12)


def test_expanding_restores_what_is_well_above_the_floor() -> None:
    values = spectrum(2)
    loud = np.abs(values) > 1.0
    np.testing.assert_allclose(expanded(companded(values))[loud], values[loud], rtol=2e-5)


@pytest.mark.parametrize("value", [0.0, 1e-40, -1e-30])
def test_silence_and_denormals_become_zero(value: float) -> None:
    assert not companded(np.full(BINS, value, np.complex64)).any()
    assert not expanded(np.full(2 * BINS, value, np.float32)).any()


def test_wrong_lengths_are_refused() -> None:
    re, im = np.zeros((2, BINS), np.float32)
    with pytest.raises(ValueError, match="bins"):
        compand(re, im, np.zeros(2 * BINS - 1, np.float32))
    with pytest.raises(ValueError, match="bins"):
        expand(np.zeros(2 * BINS, np.float32), re, im[1:])
