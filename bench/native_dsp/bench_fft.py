"""The real FFT alone, forward, by size: compiled kernel, planned FFTW, scipy. Compare within one run.

    pytest bench/native_dsp/bench_fft.py --benchmark-columns=min,median --benchmark-sort=min

Every figure is the time of ``FRAMES`` transforms; FFTW (FFTW_PATIENT) and scipy take them in one call.
"""

from __future__ import annotations

import numba
import numpy as np
import pytest
import scipy.fft
from pytest_benchmark.fixture import BenchmarkFixture

from native_dsp.transforms.fft import FftPlan, make_fft, rfft

FRAMES = 16
SIZES = pytest.mark.parametrize("size", [128, 256, 512, 1024, 2048, 4096])


@numba.njit
def transform_all(plan: FftPlan, frames: np.ndarray, re: np.ndarray, im: np.ndarray) -> None:
    """One compiled loop over all frames."""
    for i in range(len(frames)):
        rfft(plan, frames[i], re[i], im[i])


def noise(size: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((FRAMES, size)).astype(np.float32)


@pytest.mark.benchmark(group="rfft")
@SIZES
def test_compiled(benchmark: BenchmarkFixture, size: int) -> None:
    re, im = np.zeros((2, FRAMES, size // 2 + 1), np.float32)
    plan, frames = make_fft(size), noise(size)
    transform_all(plan, frames, re, im)
    benchmark(transform_all, plan, frames, re, im)


@pytest.mark.benchmark(group="rfft")
@SIZES
def test_fftw(benchmark: BenchmarkFixture, size: int) -> None:
    pyfftw = pytest.importorskip("pyfftw")
    frames = pyfftw.zeros_aligned((FRAMES, size), "float32")
    spectra = pyfftw.zeros_aligned((FRAMES, size // 2 + 1), "complex64")
    forward = pyfftw.FFTW(frames, spectra, axes=(1,), flags=("FFTW_PATIENT",), threads=1)
    frames[:] = noise(size)
    benchmark(forward.execute)


@pytest.mark.benchmark(group="rfft")
@SIZES
def test_scipy(benchmark: BenchmarkFixture, size: int) -> None:
    frames = noise(size)
    benchmark(scipy.fft.rfft, frames, axis=1)
