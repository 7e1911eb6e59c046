"""Real FFT of power-of-two sizes in single precision, callable from compiled code, without allocation.

A real transform of N samples is a complex one of M = N/2 (even samples real, odd samples imaginary) and an
untangling pass (Press et al., "Numerical Recipes", section 12.3). The complex one is Stockham's self-sorting
radix-4 decimation in frequency on split real and imaginary parts (Van Loan, "Computational frameworks for the
fast Fourier transform", 1992, section 1.7), with one radix-2 pass at the end where M is not a power of four.

The compiler vectorises the passes only when every stride is a constant. So the size is part of the *type* of a plan
(the length of its ``octaves`` tuple), and each size is compiled on its own with M as a constant: run-time strides
were three to five times slower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from native_dsp.jit import OPTIONS, inlined, kernel

Float32Array = NDArray[np.float32]

SMALLEST_SAMPLES = 16
LARGEST_SAMPLES = 8192


class FftPlan(NamedTuple):
    """Constants and scratch of one transform size; not to be shared between threads (the scratch is written).

    Shape: ``twiddles [2 * (M - 1) or more]``, stage after stage; ``untangle [2, M / 2 + 1]``, cosines and sines;
    ``work [4 * M]``, two complex buffers; ``octaves`` has log2(N) entries, 2, 4, ... N.
    """

    twiddles: Float32Array
    untangle: Float32Array
    work: Float32Array
    octaves: tuple[int, ...]

    @property
    def fft_samples(self) -> int:
        """Transform size N in samples."""
        return self.octaves[-1]

    def copy(self) -> FftPlan:
        """A plan with scratch of its own; the constants are shared."""
        return self._replace(work=self.work.copy())


def make_fft(fft_samples: int) -> FftPlan:
    """Plan a real transform of ``fft_samples``, a power of two from 16 to 8192."""
    if not SMALLEST_SAMPLES <= fft_samples <= LARGEST_SAMPLES or fft_samples & (fft_samples - 1):
        raise ValueError(
            f"fft_samples must be a power of two from {SMALLEST_SAMPLES} to {LARGEST_SAMPLES}, got {fft_samples}"
        )
    points = fft_samples // 2
    stages = []
    length = points
    while length >= 4:
        position = np.arange(length // 4)
        for multiple in (1, 2, 3):
            turn = -2j * np.pi * position * multiple / length
            stages += [np.exp(turn).real, np.exp(turn).imag]
        length //= 4
    turn = -2j * np.pi * np.arange(points // 2 + 1) / fft_samples
    return FftPlan(
        twiddles=np.concatenate(stages).astype(np.float32),
        untangle=np.stack([np.exp(turn).real, np.exp(turn).imag]).astype(np.float32),
        work=np.zeros(4 * points, np.float32),
        octaves=tuple(2 << i for i in range(points.bit_length())),
    )


def rfft_reference(samples: NDArray[Any]) -> NDArray[np.complex128]:
    """The definition, in double precision: ``X[k] = sum_n x[n] exp(-2 pi i k n / N)``.

    Shape: ``[N]`` -> complex ``[N / 2 + 1]``.
    """
    size = len(samples)
    angles = -2j * np.pi * np.outer(np.arange(size // 2 + 1), np.arange(size)) / size
    spectrum: NDArray[np.complex128] = np.exp(angles) @ np.asarray(samples, np.float64)
    return spectrum


def irfft_reference(spectrum: NDArray[Any]) -> NDArray[np.float64]:
    """Inverse of :func:`rfft_reference`, by definition; imaginary parts of the two end bins count for nothing.

    Shape: complex ``[N / 2 + 1]`` -> ``[N]``.
    """
    size = 2 * (len(spectrum) - 1)
    weights = np.full(len(spectrum), 2.0)
    weights[[0, -1]] = 1.0
    angles = 2j * np.pi * np.outer(np.arange(size), np.arange(size // 2 + 1)) / size
    samples: NDArray[np.float64] = (np.exp(angles) @ (weights * spectrum)).real / size
    return samples


@inlined
def _radix4_pass(work: Float32Array, twiddles: Float32Array, points: int, stage: int) -> None:
    stride = 4**stage
    length = points // stride
    quarter = length // 4
    leg = points // 4
    source_re = (stage % 2) * 2 * points
    source_im = source_re + points
    target_re = 2 * points - source_re
    target_im = target_re + points
    # 6 * (points / 4 + points / 16 + ...) twiddle values belong to the stages before this one
    first = 2 * (points - length)
    for p in range(quarter):
        w1_re = twiddles[first + p]
        w1_im = twiddles[first + quarter + p]
        w2_re = twiddles[first + 2 * quarter + p]
        w2_im = twiddles[first + 3 * quarter + p]
        w3_re = twiddles[first + 4 * quarter + p]
        w3_im = twiddles[first + 5 * quarter + p]
        for q in range(stride):
            i = q + stride * p
            a_re = work[source_re + i]
            a_im = work[source_im + i]
            b_re = work[source_re + leg + i]
            b_im = work[source_im + leg + i]
            c_re = work[source_re + 2 * leg + i]
            c_im = work[source_im + 2 * leg + i]
            d_re = work[source_re + 3 * leg + i]
            d_im = work[source_im + 3 * leg + i]
            ac_re = a_re + c_re
            ac_im = a_im + c_im
            bd_re = b_re + d_re
            bd_im = b_im + d_im
            a_c_re = a_re - c_re
            a_c_im = a_im - c_im
            b_d_re = b_re - d_re
            b_d_im = b_im - d_im
            y1_re = a_c_re + b_d_im
            y1_im = a_c_im - b_d_re
            y2_re = ac_re - bd_re
            y2_im = ac_im - bd_im
            y3_re = a_c_re - b_d_im
            y3_im = a_c_im + b_d_re
            o = q + 4 * stride * p
            work[target_re + o] = ac_re + bd_re
            work[target_im + o] = ac_im + bd_im
            if length == 4:
                work[target_re + o + stride] = y1_re
                work[target_im + o + stride] = y1_im
                work[target_re + o + 2 * stride] = y2_re
                work[target_im + o + 2 * stride] = y2_im
                work[target_re + o + 3 * stride] = y3_re
                work[target_im + o + 3 * stride] = y3_im
            else:
                work[target_re + o + stride] = y1_re * w1_re - y1_im * w1_im
                work[target_im + o + stride] = y1_re * w1_im + y1_im * w1_re
                work[target_re + o + 2 * stride] = y2_re * w2_re - y2_im * w2_im
                work[target_im + o + 2 * stride] = y2_re * w2_im + y2_im * w2_re
                work[target_re + o + 3 * stride] = y3_re * w3_re - y3_im * w3_im
                work[target_im + o + 3 * stride] = y3_re * w3_im + y3_im * w3_re


@inlined
def _radix2_pass(work: Float32Array, points: int, stage: int) -> None:
    source = (stage % 2) * 2 * points
    target = 2 * points - source
    half = points // 2
    for part in range(2):
        for q in range(half):
            a = work[source + part * points + q]
            b = work[source + part * points + half + q]
            work[target + part * points + q] = a + b
            work[target + part * points + half + q] = a - b


@inlined
def _complex_fft(work: Float32Array, twiddles: Float32Array, points: int, stages: int) -> None:
    # Written out, because the stage must be a constant in each pass; the tests fall away in compilation.
    _radix4_pass(work, twiddles, points, 0)
    if stages > 1:
        _radix4_pass(work, twiddles, points, 1)
    if stages > 2:
        _radix4_pass(work, twiddles, points, 2)
    if stages > 3:
        _radix4_pass(work, twiddles, points, 3)
    if stages > 4:
        _radix4_pass(work, twiddles, points, 4)
    if stages > 5:
        _radix4_pass(work, twiddles, points, 5)
    if points != 4**stages:
        _radix2_pass(work, points, stages)


def _sizes(plan: types.NamedUniTuple) -> tuple[int, int, int]:
    """M, the number of radix-4 passes, and where in ``work`` the result of the last pass stands."""
    log2_points = len(plan.types[FftPlan._fields.index("octaves")]) - 1
    points = 1 << log2_points
    passes = (log2_points + 1) // 2
    return points, log2_points // 2, (passes % 2) * 2 * points


def _rfft(plan: FftPlan, samples: Float32Array, re: Float32Array, im: Float32Array) -> None:
    raise NotImplementedError("compiled code only")


def _irfft(plan: FftPlan, re: Float32Array, im: Float32Array, samples: Float32Array) -> None:
    raise NotImplementedError("compiled code only")


@overload(_rfft, jit_options=OPTIONS)
def _rfft_of_size(plan: Any, samples: Any, re: Any, im: Any) -> Callable[..., None]:
    points, stages, result = _sizes(plan)
    half = np.float32(0.5)

    def rfft_constant_size(plan: Any, samples: Any, re: Any, im: Any) -> None:
        work, untangle = plan.work, plan.untangle
        for i in range(points):
            work[i] = samples[2 * i]
            work[points + i] = samples[2 * i + 1]
        _complex_fft(work, plan.twiddles, points, stages)
        z_re = result
        z_im = result + points
        re[0] = work[z_re] + work[z_im]
        im[0] = 0
        re[points] = work[z_re] - work[z_im]
        im[points] = 0
        for k in range(1, points // 2):
            w_re = untangle[0, k]
            w_im = untangle[1, k]
            a_re = work[z_re + k]
            a_im = work[z_im + k]
            b_re = work[z_re + points - k]
            b_im = work[z_im + points - k]
            even_re = half * (a_re + b_re)
            even_im = half * (a_im - b_im)
            odd_re = half * (a_im + b_im)
            odd_im = half * (b_re - a_re)
            turned_re = odd_re * w_re - odd_im * w_im
            turned_im = odd_re * w_im + odd_im * w_re
            re[k] = even_re + turned_re
            im[k] = even_im + turned_im
            re[points - k] = even_re - turned_re
            im[points - k] = turned_im - even_im
        re[points // 2] = work[z_re + points // 2]
        im[points // 2] = -work[z_im + points // 2]

    return rfft_constant_size


@overload(_irfft, jit_options=OPTIONS)
def _irfft_of_size(plan: Any, re: Any, im: Any, samples: Any) -> Callable[..., None]:
    points, stages, result = _sizes(plan)
    scale = np.float32(0.5 / points)
    double_scale = np.float32(1.0 / points)

    def irfft_constant_size(plan: Any, re: Any, im: Any, samples: Any) -> None:
        work, untangle = plan.work, plan.untangle
        # The inverse transform is the forward one with real and imaginary parts exchanged, going in and coming out.
        work[points] = scale * (re[0] + re[points])
        work[0] = scale * (re[0] - re[points])
        for k in range(1, points // 2):
            w_re = untangle[0, k]
            w_im = untangle[1, k]
            a_re = scale * re[k]
            a_im = scale * im[k]
            b_re = scale * re[points - k]
            b_im = scale * im[points - k]
            even_re = a_re + b_re
            even_im = a_im - b_im
            difference_re = a_re - b_re
            difference_im = a_im + b_im
            odd_re = difference_re * w_re + difference_im * w_im
            odd_im = difference_im * w_re - difference_re * w_im
            work[points + k] = even_re - odd_im
            work[k] = even_im + odd_re
            work[2 * points - k] = even_re + odd_im
            work[points - k] = odd_re - even_im
        work[points + points // 2] = double_scale * re[points // 2]
        work[points // 2] = -double_scale * im[points // 2]
        _complex_fft(work, plan.twiddles, points, stages)
        for i in range(points):
            samples[2 * i] = work[result + points + i]
            samples[2 * i + 1] = work[result + i]

    return irfft_constant_size


@kernel
def rfft(plan: FftPlan, samples: Float32Array, re: Float32Array, im: Float32Array) -> None:
    """Spectrum of real samples, ``X[k] = sum_n x[n] exp(-2 pi i k n / N)``, not scaled.

    Shape: ``samples [N]`` -> ``re [N / 2 + 1]``, ``im [N / 2 + 1]``, contiguous float32, written in place.
    """
    _rfft(plan, samples, re, im)


@kernel
def irfft(plan: FftPlan, re: Float32Array, im: Float32Array, samples: Float32Array) -> None:
    """Inverse of :func:`rfft`, scaled by 1/N; ``im[0]`` and ``im[N / 2]`` count for nothing.

    Shape: ``re [N / 2 + 1]``, ``im [N / 2 + 1]`` -> ``samples [N]``, contiguous float32, written in place.
    """
    _irfft(plan, re, im, samples)
