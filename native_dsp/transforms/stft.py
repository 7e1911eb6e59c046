"""Streaming short-time Fourier transform and its inverse: one hop in, one spectrum out, and back.

The analysis window ends at the newest sample, so analysis looks at the past only. Synthesis keeps the newest
``support_samples`` of each inverse transform, weights them and adds them to what earlier frames left over. A sample
is complete once the last frame that covers it has come: the output lags the input by ``support - hop`` samples.

Everything a stream remembers, and every scratch array, stands in :class:`StftState`; the kernels allocate nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import kernel
from native_dsp.transforms.fft import FftPlan, irfft_inline, make_fft, rfft_inline

Float32Array = NDArray[np.float32]

# Smaller inputs (-360 dB) count as silence: their products would be denormal numbers, slow on many processors.
SILENCE = np.float32(1e-18)


class StftState(NamedTuple):
    """Memory, windows and scratch of one stream; not to be shared between streams or threads.

    Shape: ``analysis_window``, ``analysis_memory`` and ``frame`` ``[fft_samples]``; ``synthesis_window`` and
    ``overlap`` ``[support_samples]`` (the last ``hop_samples`` of ``overlap`` stay zero).
    """

    plan: FftPlan
    hop_samples: int
    analysis_window: Float32Array
    synthesis_window: Float32Array
    analysis_memory: Float32Array
    overlap: Float32Array
    frame: Float32Array

    @property
    def fft_samples(self) -> int:
        """Length of one analysis frame."""
        return len(self.frame)

    @property
    def bins(self) -> int:
        """Frequency bins of one spectrum."""
        return len(self.frame) // 2 + 1

    @property
    def delay_samples(self) -> int:
        """By how much the output of synthesis lags the input of analysis, beyond collecting one hop."""
        return len(self.overlap) - self.hop_samples

    def copy(self) -> StftState:
        """An independent stream that continues from here; only constants are shared."""
        return self._replace(
            plan=self.plan.copy(),
            analysis_memory=self.analysis_memory.copy(),
            overlap=self.overlap.copy(),
            frame=self.frame.copy(),
        )

    def reset(self) -> None:
        """Forget the past: as if only silence had been heard."""
        self.analysis_memory.fill(0)
        self.overlap.fill(0)


def make_stft(
    fft_samples: int,
    hop_samples: int,
    analysis_window: Float32Array,
    synthesis_window: Float32Array,
    synthesis_support_samples: int,
) -> StftState:
    """State of a new stream.

    Both windows span a whole frame; only the newest ``synthesis_support_samples`` of the synthesis window count. The
    round trip is exact where the product of the windows, shifted by every multiple of the hop, adds up to one.

    Shape: windows ``[fft_samples]``; ``fft_samples`` a power of two, hop <= support <= ``fft_samples``.
    """
    for name, window in (("analysis", analysis_window), ("synthesis", synthesis_window)):
        if window.shape != (fft_samples,):
            raise ValueError(f"the {name} window must have shape ({fft_samples},), got {window.shape}")
    if not 0 < hop_samples <= synthesis_support_samples <= fft_samples:
        raise ValueError(
            f"need 0 < hop_samples <= synthesis_support_samples <= fft_samples, got "
            f"{hop_samples}, {synthesis_support_samples}, {fft_samples}"
        )
    newest = synthesis_window[fft_samples - synthesis_support_samples :]
    return StftState(
        plan=make_fft(fft_samples),
        hop_samples=hop_samples,
        analysis_window=np.array(analysis_window, np.float32),
        synthesis_window=np.array(newest, np.float32),
        analysis_memory=np.zeros(fft_samples, np.float32),
        overlap=np.zeros(synthesis_support_samples, np.float32),
        frame=np.zeros(fft_samples, np.float32),
    )


@kernel
def analyse(state: StftState, hop: Float32Array, re: Float32Array, im: Float32Array) -> None:
    """Take in one hop of samples and write the spectrum of the newest frame.

    Shape: ``hop [hop_samples]`` -> ``re [bins]``, ``im [bins]``, contiguous float32.
    """
    memory, frame, window = state.analysis_memory, state.frame, state.analysis_window
    hop_samples = state.hop_samples
    if len(hop) != hop_samples or len(re) != len(im) or len(re) != len(frame) // 2 + 1:
        raise ValueError("analyse needs hop [hop_samples], re [bins] and im [bins]")
    kept = len(memory) - hop_samples
    older = memory[hop_samples:]
    for i in range(kept):
        frame[i] = older[i]
    newest = frame[kept:]
    for i in range(hop_samples):
        x = hop[i]
        newest[i] = x if not abs(x) < SILENCE else np.float32(0)
    for i in range(len(memory)):
        x = frame[i]
        memory[i] = x
        frame[i] = x * window[i]
    rfft_inline(state.plan, frame, re, im)


@kernel
def synthesise(state: StftState, re: Float32Array, im: Float32Array, out: Float32Array) -> None:
    """Take in one spectrum and write the next hop of samples, ``support - hop`` samples behind the input.

    Shape: ``re [bins]``, ``im [bins]`` -> ``out [hop_samples]``, contiguous float32.
    """
    overlap, frame, window = state.overlap, state.frame, state.synthesis_window
    hop_samples = state.hop_samples
    if len(out) != hop_samples or len(re) != len(im) or len(re) != len(frame) // 2 + 1:
        raise ValueError("synthesise needs re [bins], im [bins] and out [hop_samples]")
    irfft_inline(state.plan, re, im, frame)
    support = len(overlap)
    newest = frame[len(frame) - support :]
    for i in range(support):
        newest[i] = overlap[i] + newest[i] * window[i]
    for i in range(hop_samples):
        out[i] = newest[i]
    unfinished = newest[hop_samples:]
    for i in range(support - hop_samples):
        overlap[i] = unfinished[i]


@kernel
def analyse_frames(state: StftState, samples: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Spectra of every whole hop of ``samples``; the state goes on, so a signal may come in several calls.

    Shape: ``[hops * hop_samples]`` -> two arrays ``[hops, bins]``; any other length is an error.
    """
    hop_samples = state.hop_samples
    hops = len(samples) // hop_samples
    if hops * hop_samples != len(samples):
        raise ValueError("analyse_frames needs a whole number of hops")
    bins = len(state.frame) // 2 + 1
    re = np.empty((hops, bins), np.float32)
    im = np.empty((hops, bins), np.float32)
    # rows of a matrix: a slice of a vector in the loop would cost as much as the transform
    rows = samples.reshape(hops, hop_samples)
    for i in range(hops):
        analyse(state, rows[i], re[i], im[i])
    return re, im


@kernel
def synthesise_frames(state: StftState, re: Float32Array, im: Float32Array) -> Float32Array:
    """Samples of many spectra; the state goes on.

    Shape: two arrays ``[hops, bins]`` -> ``[hops * hop_samples]``.
    """
    hop_samples = state.hop_samples
    hops = len(re)
    if len(im) != hops:
        raise ValueError("synthesise_frames needs re and im of the same shape [hops, bins]")
    samples = np.empty((hops, hop_samples), np.float32)
    for i in range(hops):
        synthesise(state, re[i], im[i], samples[i])
    return samples.reshape(hops * hop_samples)
