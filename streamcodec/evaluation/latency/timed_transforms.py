"""Short-time transforms against the clock: 512 points there and back, one hop (240 samples, 10 ms) a call."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import kernel
from native_dsp.transforms.stft import StftState, analyse, make_stft, synthesise
from native_dsp.transforms.windows import low_delay_pair
from streamcodec.evaluation.latency.timed import TimedPeer, peer_module

Float32Array = NDArray[np.float32]
FFT, HOP, OVERLAP = 512, 240, 120
HOP_MS = 10.0
CALLS = 100


@kernel
def there_and_back(
    state: StftState, samples: Float32Array, re: Float32Array, im: Float32Array, out: Float32Array
) -> None:
    """One hop through analysis and synthesis."""
    analyse(state, samples, re, im)
    synthesise(state, re, im, out)


def noise() -> Float32Array:
    """One window of noise.

    Shape: output ``[FFT]``.
    """
    return np.random.default_rng(0).standard_normal(FFT).astype(np.float32)


def own() -> TimedPeer:
    """The kernels of ``native_dsp``, with the memory that streaming needs."""
    state = make_stft(FFT, HOP, *low_delay_pair(FFT, HOP, OVERLAP), HOP + OVERLAP)
    samples, out = noise()[:HOP].copy(), np.zeros(HOP, np.float32)
    re, im = np.zeros(state.bins, np.float32), np.zeros(state.bins, np.float32)
    return TimedPeer(
        "native_dsp",
        "numba, carries its overlap",
        HOP_MS,
        CALLS,
        lambda: there_and_back(state, samples, re, im, out),
    )


def fftw() -> TimedPeer:
    """FFTW through pyfftw, planned with FFTW_PATIENT, windows by numpy."""
    pyfftw = peer_module("pyfftw", "FFTW", "pyfftw")
    inside, restored = pyfftw.zeros_aligned(FFT, "float32"), pyfftw.zeros_aligned(FFT, "float32")
    spectrum = pyfftw.zeros_aligned(FFT // 2 + 1, "complex64")
    options = {"flags": ("FFTW_PATIENT", "FFTW_DESTROY_INPUT"), "threads": 1}
    forward = pyfftw.FFTW(inside, spectrum, **options)
    inverse = pyfftw.FFTW(spectrum, restored, direction="FFTW_BACKWARD", **options)
    samples, (window, dual) = noise(), low_delay_pair(FFT, HOP, OVERLAP)
    dual = (dual / np.float32(FFT)).astype(np.float32)
    overlap = np.zeros(FFT, np.float32)

    def step() -> None:
        np.multiply(samples, window, out=inside)
        forward.execute()
        inverse.execute()
        np.multiply(restored, dual, out=restored)
        np.add(overlap, restored, out=overlap)
        overlap[:-HOP] = overlap[HOP:]
        overlap[-HOP:] = 0.0

    return TimedPeer("FFTW", f"pyfftw {pyfftw.__version__}, windows by numpy", HOP_MS, CALLS, step)


def scipy() -> TimedPeer:
    """scipy.fft, windows by numpy."""
    transforms = peer_module("scipy.fft", "scipy", "scipy")
    version = peer_module("scipy", "scipy", "scipy").__version__
    samples, (window, dual) = noise(), low_delay_pair(FFT, HOP, OVERLAP)
    overlap = np.zeros(FFT, np.float32)

    def step() -> None:
        spectrum = transforms.rfft(samples * window)
        np.add(overlap, transforms.irfft(spectrum, FFT) * dual, out=overlap)
        overlap[:-HOP] = overlap[HOP:]
        overlap[-HOP:] = 0.0

    return TimedPeer("scipy.fft", f"scipy {version}, windows by numpy", HOP_MS, CALLS, step)


def torch_stft() -> TimedPeer:
    """torch.stft and torch.istft of one frame."""
    torch = peer_module("torch", "torch", "torch")
    torch.set_num_threads(1)
    # Hamming: istft refuses a single frame of a window that touches zero.
    window, samples = torch.hamming_window(FFT), torch.from_numpy(noise())

    @torch.inference_mode()  # type: ignore[untyped-decorator,unused-ignore]
    def step() -> None:
        spectrum = torch.stft(samples, FFT, HOP, FFT, window, center=False, return_complex=True)
        torch.istft(spectrum, FFT, HOP, FFT, window, center=False)

    return TimedPeer("torch.stft, torch.istft", f"torch {torch.__version__}, no overlap carried", HOP_MS, CALLS, step)
