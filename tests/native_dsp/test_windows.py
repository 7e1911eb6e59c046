"""Windows: against scipy, and the reconstruction that each promises."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import get_window
from scipy.signal.windows import cosine

from native_dsp.transforms.windows import (
    dual_window,
    flat_power_complementary,
    hann_periodic,
    low_delay_pair,
    power_complementary,
)


def overlap_added(window: np.ndarray, hop_samples: int) -> np.ndarray:
    """What a constant one becomes after windowing and overlap-add, in the steady state."""
    length = -(-len(window) // hop_samples) * hop_samples
    padded = np.pad(window.astype(np.float64), (length - len(window), 0))
    return padded.reshape(-1, hop_samples).sum(axis=0)


@pytest.mark.parametrize("length", [2, 15, 512, 960])
def test_hann_equals_scipy(length: int) -> None:
    np.testing.assert_allclose(hann_periodic(length), get_window("hann", length, fftbins=True), atol=1e-7)


@pytest.mark.parametrize("length", [2, 16, 480])
def test_power_complementary_equals_scipy_and_its_squares_add_to_one(length: int) -> None:
    window = power_complementary(length)
    np.testing.assert_allclose(window, cosine(length), atol=1e-7)
    np.testing.assert_allclose(overlap_added(window**2, length // 2), 1.0, atol=1e-6)


def test_power_complementary_refuses_an_odd_length() -> None:
    with pytest.raises(ValueError, match="even"):
        power_complementary(15)


@pytest.mark.parametrize(
    ("fft", "hop", "overlap"), [(512, 240, 120), (512, 240, 240), (512, 240, 1), (64, 16, 8), (1024, 480, 240)]
)
def test_low_delay_pair_reconstructs_within_its_support(fft: int, hop: int, overlap: int) -> None:
    analysis, synthesis = low_delay_pair(fft, hop, overlap)
    support = hop + overlap
    assert analysis.shape == synthesis.shape == (fft,)
    assert not synthesis[: fft - support].any()
    assert np.isfinite(synthesis).all()
    np.testing.assert_allclose(overlap_added((analysis * synthesis)[fft - support :], hop), 1.0, atol=2e-6)


@pytest.mark.parametrize(("fft", "hop", "overlap"), [(512, 240, 0), (512, 240, 241), (256, 200, 100)])
def test_low_delay_pair_refuses_what_cannot_reconstruct(fft: int, hop: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="overlap_samples"):
        low_delay_pair(fft, hop, overlap)


@pytest.mark.parametrize(("length", "hop"), [(512, 128), (512, 256), (480, 160)])
def test_dual_window_inverts_its_window(length: int, hop: int) -> None:
    window = hann_periodic(length)
    np.testing.assert_allclose(overlap_added(window * dual_window(window, hop), hop), 1.0, atol=1e-6)


def test_dual_of_hann_at_a_quarter_is_hann_over_one_and_a_half() -> None:
    window = hann_periodic(512)
    np.testing.assert_allclose(dual_window(window, 128), window / 1.5, atol=1e-6)


@pytest.mark.parametrize(("length", "hop", "message"), [(512, 100, "multiple"), (512, 512, "gaps")])
def test_dual_window_refuses_what_cannot_be_inverted(length: int, hop: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dual_window(hann_periodic(length), hop)


def test_flat_windows_are_power_complementary_and_the_sine_is_the_longest() -> None:
    for overlap in (2, 64, 128):
        window = flat_power_complementary(256, overlap).astype(np.float64)
        assert np.allclose(window[:128] ** 2 + window[128:] ** 2, 1)
        assert (window[: 64 - overlap // 2] < 1e-7).all()
    assert np.allclose(flat_power_complementary(256, 128), power_complementary(256), atol=1e-7)
    for overlap in (0, 3, 130):
        with pytest.raises(ValueError, match="overlap"):
            flat_power_complementary(256, overlap)
