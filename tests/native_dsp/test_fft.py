"""The generated-by-size FFT against its definition and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft

from native_dsp.transforms.fft import irfft, irfft_reference, make_fft, rfft, rfft_reference

SIZES = [16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192]


def spectrum_of(samples: np.ndarray) -> np.ndarray:
    re = np.full(len(samples) // 2 + 1, np.nan, np.float32)
    im = np.full(len(samples) // 2 + 1, np.nan, np.float32)
    rfft(make_fft(len(samples)), samples, re, im)
    return re + 1j * im


@pytest.mark.parametrize("size", [16, 64, 512])
def test_reference_equals_scipy(size: int) -> None:
    samples = np.random.default_rng(size).standard_normal(size)
    spectrum = rfft_reference(samples)
    np.testing.assert_allclose(spectrum, scipy.fft.rfft(samples), atol=1e-10)
    np.testing.assert_allclose(irfft_reference(spectrum), samples, atol=1e-10)


@pytest.mark.parametrize("size", SIZES)
def test_forward_equals_reference_and_scipy(size: int) -> None:
    samples = np.random.default_rng(size).standard_normal(size).astype(np.float32)
    spectrum = spectrum_of(samples)
    expected = scipy.fft.rfft(samples.astype(np.float64))
    # measured: 2e-7 of the largest bin
    np.testing.assert_allclose(spectrum, expected, atol=1e-6 * np.abs(expected).max())
    if size <= 512:
        np.testing.assert_allclose(spectrum, rfft_reference(samples), atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("size", SIZES)
def test_inverse_equals_scipy_and_ignores_imaginary_ends(size: int) -> None:
    rng = np.random.default_rng(size)
    re, im = rng.standard_normal((2, size // 2 + 1)).astype(np.float32)
    samples = np.full(size, np.nan, np.float32)
    irfft(make_fft(size), re, im, samples)
    im[[0, -1]] = 0
    expected = scipy.fft.irfft((re + 1j * im).astype(np.complex128))
    np.testing.assert_allclose(samples, expected, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("size", [16, 128, 512, 1024])
def test_every_sinusoid_lands_in_its_bin(size: int) -> None:
    for k in {0, 1, size // 4, size // 2 - 1, size // 2}:
        expected = np.zeros(size // 2 + 1)
        expected[k] = size if k in (0, size // 2) else size / 2
        samples = np.cos(2 * np.pi * k * np.arange(size) / size).astype(np.float32)
        np.testing.assert_allclose(spectrum_of(samples), expected, atol=1e-5 * size)


def test_a_copied_plan_shares_constants_but_not_scratch() -> None:
    plan = make_fft(64)
    copied = plan.copy()
    assert copied.fft_samples == 64
    assert np.shares_memory(plan.twiddles, copied.twiddles)
    assert not np.shares_memory(plan.work, copied.work)


@pytest.mark.parametrize("size", [0, -8, 8, 500, 16384])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        make_fft(size)
