"""Companding of one 257-bin spectrum: compiled kernel and numpy. Compare within one run.

    pytest bench/native_dsp/bench_companding.py --benchmark-columns=min,median --benchmark-sort=min

Every figure is the time of ``SPECTRA`` spectra there and back.
"""

from __future__ import annotations

import numba
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from native_dsp.transforms.companding import MAGNITUDE_FLOOR, compand, expand

SPECTRA, BINS = 100, 257


@numba.njit
def there_and_back(re: np.ndarray, im: np.ndarray, companded: np.ndarray) -> None:
    """One compiled loop over all spectra."""
    for i in range(len(re)):
        compand(re[i], im[i], companded)
        expand(companded, re[i], im[i])


def spectra() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.standard_normal((2, SPECTRA, BINS)) * 10.0 ** rng.uniform(-4, 1, (2, SPECTRA, BINS))).astype(
        np.float32
    )


@pytest.mark.benchmark(group="companding")
def test_compiled(benchmark: BenchmarkFixture) -> None:
    re, im = spectra()
    companded = np.zeros(2 * BINS, np.float32)
    there_and_back(re, im, companded)
    benchmark(there_and_back, re, im, companded)


@pytest.mark.benchmark(group="companding")
def test_numpy(benchmark: BenchmarkFixture) -> None:
    spectrum = spectra()[0] + 1j * spectra()[1]
    floor = np.float32(MAGNITUDE_FLOOR)

    def per_spectrum() -> None:
        for x in spectrum:
            y = x / np.sqrt(np.sqrt(x.real**2 + x.imag**2 + floor**2))
            y *= np.sqrt(y.real**2 + y.imag**2 + floor)

    benchmark(per_spectrum)
