"""One analysis and one synthesis frame: compiled kernels, FFTW, scipy, torch. Compare within one run.

    pytest bench/native_dsp/bench_stft.py --benchmark-columns=min,median --benchmark-sort=min

Every figure is the time of ``FRAMES`` frames of analysis (window and FFT) followed by synthesis (inverse FFT, window
and overlap-add). FFTW, planned with FFTW_PATIENT, runs all frames in one call, so that Python costs it nothing, once
transforming only and once with the windowing in numpy; torch is called frame by frame, as a stream must.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from native_dsp.transforms.stft import StftState, analyse, make_stft, synthesise
from native_dsp.transforms.windows import dual_window, hann_periodic, low_delay_pair

FRAMES = 16


def codec_stft() -> StftState:
    """The framing of the neural tier: 512 points, hop 240, support 360."""
    return make_stft(512, 240, *low_delay_pair(512, 240, 120), 360)


def hann_stft(fft: int) -> StftState:
    """Hann at a quarter of its length."""
    window = hann_periodic(fft)
    return make_stft(fft, fft // 4, window, dual_window(window, fft // 4), fft)


@numba.njit
def analyse_and_synthesise(
    state: StftState, samples: np.ndarray, re: np.ndarray, im: np.ndarray, out: np.ndarray
) -> None:
    """One compiled loop over all hops."""
    for i in range(len(samples)):
        analyse(state, samples[i], re, im)
        synthesise(state, re, im, out[i])


def run(benchmark: BenchmarkFixture, work: Callable[[], object]) -> None:
    work()
    benchmark.extra_info["frames"] = FRAMES
    benchmark.pedantic(work, rounds=300, iterations=20, warmup_rounds=5)


def compiled(benchmark: BenchmarkFixture, state: StftState) -> None:
    samples = np.random.default_rng(0).standard_normal((FRAMES, state.hop_samples)).astype(np.float32)
    re, im, out = np.empty(state.bins, np.float32), np.empty(state.bins, np.float32), np.empty_like(samples)
    run(benchmark, lambda: analyse_and_synthesise(state, samples, re, im, out))


@pytest.mark.benchmark(group="stft")
def test_compiled_codec_framing(benchmark: BenchmarkFixture) -> None:
    compiled(benchmark, codec_stft())


@pytest.mark.benchmark(group="stft")
@pytest.mark.parametrize("fft", [512, 1024, 2048])
def test_compiled_hann(benchmark: BenchmarkFixture, fft: int) -> None:
    compiled(benchmark, hann_stft(fft))


@pytest.mark.benchmark(group="stft")
@pytest.mark.parametrize("windowing", [False, True], ids=["transforms-only", "with-windowing"])
@pytest.mark.parametrize("fft", [512, 1024, 2048])
def test_fftw(benchmark: BenchmarkFixture, fft: int, windowing: bool) -> None:
    pyfftw = pytest.importorskip("pyfftw")
    frames = pyfftw.zeros_aligned((FRAMES, fft), "float32")
    spectra = pyfftw.zeros_aligned((FRAMES, fft // 2 + 1), "complex64")
    restored = pyfftw.zeros_aligned((FRAMES, fft), "float32")
    options = {"axes": (1,), "flags": ("FFTW_PATIENT", "FFTW_DESTROY_INPUT"), "threads": 1}
    forward = pyfftw.FFTW(frames, spectra, **options)
    inverse = pyfftw.FFTW(spectra, restored, direction="FFTW_BACKWARD", **options)
    source = np.random.default_rng(0).standard_normal((FRAMES, fft)).astype(np.float32)
    window, dual = hann_periodic(fft), dual_window(hann_periodic(fft), fft // 4) / np.float32(fft)
    frames[:] = source

    def transforms() -> None:
        forward.execute()
        inverse.execute()

    def transforms_and_windows() -> None:
        np.multiply(source, window, out=frames)
        forward.execute()
        inverse.execute()
        np.multiply(restored, dual, out=restored)

    run(benchmark, transforms_and_windows if windowing else transforms)


@pytest.mark.benchmark(group="stft")
@pytest.mark.parametrize("fft", [512, 1024, 2048])
def test_scipy_per_frame(benchmark: BenchmarkFixture, fft: int) -> None:
    transforms = pytest.importorskip("scipy.fft")
    window, dual = hann_periodic(fft), dual_window(hann_periodic(fft), fft // 4)
    samples = np.random.default_rng(0).standard_normal(fft).astype(np.float32)
    overlap = np.zeros(fft, np.float32)

    def frame_by_frame() -> None:
        for _ in range(FRAMES):
            spectrum = transforms.rfft(samples * window)
            np.add(overlap, transforms.irfft(spectrum, fft) * dual, out=overlap)
            overlap[: fft // 4] = 0.0

    run(benchmark, frame_by_frame)


@pytest.mark.benchmark(group="stft")
@pytest.mark.parametrize("fft", [512, 1024, 2048])
def test_torch_per_frame(benchmark: BenchmarkFixture, fft: int) -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    # Hamming: istft refuses a single frame of a window that touches zero
    window = torch.hamming_window(fft)
    samples = torch.randn(fft)

    @torch.inference_mode()
    def frame_by_frame() -> None:
        for _ in range(FRAMES):
            spectrum = torch.stft(samples, fft, fft // 4, fft, window, center=False, return_complex=True)
            torch.istft(spectrum, fft, fft // 4, fft, window, center=False)

    run(benchmark, frame_by_frame)
