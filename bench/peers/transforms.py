"""One frame of analysis and one of synthesis: 512 points, a hop of 240 samples (10 ms), called frame by frame."""

from __future__ import annotations

import numba
import numpy as np

from bench.peers.peer import Peer, PeerUnavailable
from native_dsp.transforms.stft import StftState, analyse, make_stft, synthesise
from native_dsp.transforms.windows import low_delay_pair

FFT, HOP, OVERLAP = 512, 240, 120
FRAME_MS = 10.0
CALLS = 100


@numba.njit
def there_and_back(state: StftState, samples: np.ndarray, re: np.ndarray, im: np.ndarray, out: np.ndarray) -> None:
    """One hop through analysis and synthesis."""
    analyse(state, samples, re, im)
    synthesise(state, re, im, out)


def frame() -> np.ndarray:
    """A frame of noise."""
    return np.random.default_rng(0).standard_normal(FFT).astype(np.float32)


def own() -> Peer:
    """The kernels of ``native_dsp``, with the memory that streaming needs."""
    state = make_stft(FFT, HOP, *low_delay_pair(FFT, HOP, OVERLAP), HOP + OVERLAP)
    samples, out = frame()[:HOP].copy(), np.zeros(HOP, np.float32)
    re, im = np.zeros(state.bins, np.float32), np.zeros(state.bins, np.float32)
    return Peer(
        "native_dsp",
        "numba, carries its overlap",
        FRAME_MS,
        CALLS,
        lambda: there_and_back(state, samples, re, im, out),
    )


def fftw() -> Peer:
    """FFTW through pyfftw, planned with FFTW_PATIENT, windows by numpy."""
    try:
        import pyfftw
    except ImportError as error:
        raise PeerUnavailable("FFTW: pip install pyfftw") from error
    inside, restored = pyfftw.zeros_aligned(FFT, "float32"), pyfftw.zeros_aligned(FFT, "float32")
    spectrum = pyfftw.zeros_aligned(FFT // 2 + 1, "complex64")
    options = {"flags": ("FFTW_PATIENT", "FFTW_DESTROY_INPUT"), "threads": 1}
    forward = pyfftw.FFTW(inside, spectrum, **options)
    inverse = pyfftw.FFTW(spectrum, restored, direction="FFTW_BACKWARD", **options)
    samples, (window, dual) = frame(), low_delay_pair(FFT, HOP, OVERLAP)
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

    return Peer("FFTW", f"pyfftw {pyfftw.__version__}, windows by numpy", FRAME_MS, CALLS, step)


def scipy() -> Peer:
    """scipy.fft, windows by numpy."""
    try:
        import scipy.fft as transforms
        from scipy import __version__ as version
    except ImportError as error:
        raise PeerUnavailable("scipy: pip install scipy") from error
    samples, (window, dual) = frame(), low_delay_pair(FFT, HOP, OVERLAP)
    overlap = np.zeros(FFT, np.float32)

    def step() -> None:
        spectrum = transforms.rfft(samples * window)
        np.add(overlap, transforms.irfft(spectrum, FFT) * dual, out=overlap)
        overlap[:-HOP] = overlap[HOP:]
        overlap[-HOP:] = 0.0

    return Peer("scipy.fft", f"scipy {version}, windows by numpy", FRAME_MS, CALLS, step)


def torch() -> Peer:
    """torch.stft and torch.istft of one frame."""
    try:
        import torch
    except ImportError as error:
        raise PeerUnavailable("torch: pip install torch") from error
    torch.set_num_threads(1)
    # Hamming: istft refuses a single frame of a window that touches zero.
    window, samples = torch.hamming_window(FFT), torch.from_numpy(frame())

    @torch.inference_mode()
    def step() -> None:
        spectrum = torch.stft(samples, FFT, HOP, FFT, window, center=False, return_complex=True)
        torch.istft(spectrum, FFT, HOP, FFT, window, center=False)

    return Peer("torch.stft, torch.istft", f"torch {torch.__version__}, no overlap carried", FRAME_MS, CALLS, step)
