"""Real FFT of power-of-two sizes in single precision, callable from compiled code, without allocation.

A real transform of N samples is a complex one of M = N/2 (even samples real, odd samples imaginary) and an
untangling pass (Press et al., "Numerical Recipes", section 12.3). The complex one is Stockham's self-sorting
radix-4 decimation in frequency on split real and imaginary parts (Van Loan, "Computational frameworks for the
fast Fourier transform", 1992, section 1.7), with one radix-2 pass at the end where M is not a power of four.

Three things make the compiler vectorise it, which is worth a factor of ten:

- Every stride is a constant. So the size is part of the *type* of a plan (the length of its ``octaves`` tuple), and
  each size is compiled on its own.
- No inner loop is shorter than 16. The first two passes of Stockham's scheme have strides 1 and 4, so for M >= 256
  they are replaced by the first half of the four-step scheme (Bailey, "FFTs in external or hierarchical memory",
  1990): transforms of length 16 over the columns of a 16 by M/16 matrix, twiddles, and a transposition.
- What runs backwards through memory is copied in a loop of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from native_dsp.jit import INLINED_OPTIONS, inlined, kernel

Float32Array = NDArray[np.float32]

SMALLEST_SAMPLES = 16
LARGEST_SAMPLES = 8192

# From this many complex points on, the first two radix-4 passes run over the columns of a matrix of ROWS rows.
FOUR_STEP_POINTS = 256
ROWS = 16


class FftPlan(NamedTuple):
    """Constants and scratch of one transform size; not to be shared between threads (the scratch is written).

    Shape: ``twiddles``, six rows for each pass, one pass after the other; ``turns [2 * M]``, factors between the
    steps of the four-step scheme; ``untangle [2 * M]``, factors of the untangling pass (both: real parts, then
    imaginary parts); ``work [4 * M]``, two complex buffers; ``scratch [2 * M]``; ``octaves`` has log2(N) entries, 2,
    4, ... N.
    """

    twiddles: Float32Array
    turns: Float32Array
    untangle: Float32Array
    work: Float32Array
    scratch: Float32Array
    octaves: tuple[int, ...]

    @property
    def fft_samples(self) -> int:
        """Transform size N in samples."""
        return self.octaves[-1]

    def copy(self) -> FftPlan:
        """A plan with scratch of its own; the constants are shared."""
        return self._replace(work=self.work.copy(), scratch=self.scratch.copy())


def check_fft_samples(fft_samples: int) -> None:
    """Raise ValueError for what is no power of two from 16 to 8192."""
    if not SMALLEST_SAMPLES <= fft_samples <= LARGEST_SAMPLES or fft_samples & (fft_samples - 1):
        raise ValueError(
            f"fft_samples must be a power of two from {SMALLEST_SAMPLES} to {LARGEST_SAMPLES}, got {fft_samples}"
        )


def make_fft(fft_samples: int) -> FftPlan:
    """Plan a real transform of ``fft_samples``, a power of two from 16 to 8192."""
    check_fft_samples(fft_samples)
    points = fft_samples // 2
    four_step = points >= FOUR_STEP_POINTS
    lengths = [ROWS] if four_step else []
    length = points // ROWS if four_step else points
    while length >= 4:
        lengths.append(length)
        length //= 4
    twiddles = [_turn(np.arange(n // 4) * multiple / n) for n in lengths for multiple in (1, 2, 3)]
    columns = np.arange(points // ROWS)
    return FftPlan(
        twiddles=np.concatenate(twiddles),
        turns=_turn(np.outer(np.arange(ROWS), columns).ravel() / points),
        untangle=_turn(np.arange(points) / fft_samples),
        work=np.zeros(4 * points, np.float32),
        scratch=np.zeros(2 * points, np.float32),
        octaves=tuple(2 << i for i in range(points.bit_length())),
    )


def _turn(turns: NDArray[np.float64]) -> Float32Array:
    factors = np.exp(-2j * np.pi * turns)
    return np.concatenate([factors.real, factors.imag]).astype(np.float32)


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
def _radix4_pass(work: Float32Array, twiddles: Float32Array, points: int, stride: int, first: int, odd: int) -> None:
    """Butterflies of four legs, ``stride`` transforms side by side; its twiddles begin at ``first``."""
    length = points // stride
    quarter = length // 4
    leg = points // 4
    source_re = odd * 2 * points
    source_im = source_re + points
    target_re = 2 * points - source_re
    target_im = target_re + points
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
def _radix2_pass(work: Float32Array, points: int, odd: int) -> None:
    source = odd * 2 * points
    target = 2 * points - source
    half = points // 2
    for part in range(2):
        for q in range(half):
            a = work[source + part * points + q]
            b = work[source + part * points + half + q]
            work[target + part * points + q] = a + b
            work[target + part * points + half + q] = a - b


@inlined
def _turn_and_transpose(work: Float32Array, scratch: Float32Array, turns: Float32Array, points: int) -> None:
    """Twiddles between the steps, and 16 rows to 16 columns: dealing four packs into one, twice."""
    leg = points // 4
    for p in range(leg):
        for k in range(4):
            re = work[k * leg + p]
            im = work[points + k * leg + p]
            turn_re = turns[k * leg + p]
            turn_im = turns[points + k * leg + p]
            scratch[4 * p + k] = re * turn_re - im * turn_im
            scratch[points + 4 * p + k] = re * turn_im + im * turn_re
    for part in range(2):
        for p in range(leg):
            for k in range(4):
                work[part * points + 4 * p + k] = scratch[part * points + k * leg + p]


@cache
def _complex_fft(points: int, stages: int) -> Callable[[FftPlan], None]:
    """The passes of one size, which are all that is compiled: numba leaves out branches on constants of a closure."""

    @inlined
    def complex_fft_constant_size(plan: FftPlan) -> None:
        # Written out, because the stride must be a constant in each pass.
        work, twiddles = plan.work, plan.twiddles
        # Of the passes with strides s, 4 s, 16 s, ... each has 6 * (points / 4 s) twiddles: in all before stride t,
        # 2 * (points / s - points / t).
        if points >= FOUR_STEP_POINTS:
            _radix4_pass(work, twiddles, points, points // ROWS, 0, 0)
            _radix4_pass(work, twiddles, points, points // 4, 0, 1)
            _turn_and_transpose(work, plan.scratch, plan.turns, points)
            base = 6 * (ROWS // 4) + 2 * (points // ROWS)
        else:
            base = 2 * points
            _radix4_pass(work, twiddles, points, 1, 0, 0)
            if stages > 1:
                _radix4_pass(work, twiddles, points, 4, base - 2 * (points // 4), 1)
        if stages > 2:
            _radix4_pass(work, twiddles, points, 16, base - 2 * (points // 16), 0)
        if stages > 3:
            _radix4_pass(work, twiddles, points, 64, base - 2 * (points // 64), 1)
        if stages > 4:
            _radix4_pass(work, twiddles, points, 256, base - 2 * (points // 256), 0)
        if stages > 5:
            _radix4_pass(work, twiddles, points, 1024, base - 2 * (points // 1024), 1)
        if points != 4**stages:
            _radix2_pass(work, points, stages % 2)

    return complex_fft_constant_size


def _sizes(plan: types.NamedUniTuple) -> tuple[int, int, int]:
    """M, the number of radix-4 passes, and where in ``work`` the result of the last pass stands."""
    log2_points = len(plan.types[FftPlan._fields.index("octaves")]) - 1
    points = 1 << log2_points
    passes = (log2_points + 1) // 2
    return points, log2_points // 2, (passes % 2) * 2 * points


def rfft_inline(plan: FftPlan, samples: Float32Array, re: Float32Array, im: Float32Array) -> None:
    """:func:`rfft` as a part of the compiled function that calls it; not to be called from Python.

    Shape: as there.
    """
    raise TypeError("rfft_inline is for compiled code, call rfft instead")


def irfft_inline(plan: FftPlan, re: Float32Array, im: Float32Array, samples: Float32Array) -> None:
    """:func:`irfft` as a part of the compiled function that calls it; not to be called from Python.

    Shape: as there.
    """
    raise TypeError("irfft_inline is for compiled code, call irfft instead")


@overload(rfft_inline, jit_options=INLINED_OPTIONS)
def _rfft_of_size(plan: Any, samples: Any, re: Any, im: Any) -> Callable[..., None]:
    points, stages, result = _sizes(plan)
    complex_fft = _complex_fft(points, stages)
    half = np.float32(0.5)

    def rfft_constant_size(plan: Any, samples: Any, re: Any, im: Any) -> None:
        work, mirror, untangle = plan.work, plan.scratch, plan.untangle
        for i in range(points):
            work[i] = samples[2 * i]
            work[points + i] = samples[2 * i + 1]
        complex_fft(plan)
        z_re = result
        z_im = result + points
        mirror[0] = work[z_re]
        mirror[points] = work[z_im]
        bins = min(len(re), points)
        for k in range(1, bins):
            mirror[k] = work[z_re + points - k]
            mirror[points + k] = work[z_im + points - k]
        for k in range(bins):
            w_re = untangle[k]
            w_im = untangle[points + k]
            even_re = work[z_re + k] + mirror[k]
            even_im = work[z_im + k] - mirror[points + k]
            odd_re = work[z_im + k] + mirror[points + k]
            odd_im = mirror[k] - work[z_re + k]
            re[k] = half * (even_re + (odd_re * w_re - odd_im * w_im))
            im[k] = half * (even_im + (odd_re * w_im + odd_im * w_re))
        if len(re) > points:
            re[points] = work[z_re] - work[z_im]
            im[points] = 0

    return rfft_constant_size


@overload(irfft_inline, jit_options=INLINED_OPTIONS)
def _irfft_of_size(plan: Any, re: Any, im: Any, samples: Any) -> Callable[..., None]:
    points, stages, result = _sizes(plan)
    complex_fft = _complex_fft(points, stages)
    scale = np.float32(0.5 / points)

    def irfft_constant_size(plan: Any, re: Any, im: Any, samples: Any) -> None:
        work, mirror, untangle = plan.work, plan.scratch, plan.untangle
        for k in range(points):
            mirror[k] = re[points - k]
            mirror[points + k] = im[points - k]
        # The inverse transform is the forward one with real and imaginary parts exchanged, going in and coming out.
        for k in range(points):
            w_re = untangle[k]
            w_im = untangle[points + k]
            difference_re = re[k] - mirror[k]
            difference_im = im[k] + mirror[points + k]
            odd_re = difference_re * w_re + difference_im * w_im
            odd_im = difference_im * w_re - difference_re * w_im
            work[points + k] = scale * (re[k] + mirror[k] - odd_im)
            work[k] = scale * (im[k] - mirror[points + k] + odd_re)
        work[points] = scale * (re[0] + re[points])
        work[0] = scale * (re[0] - re[points])
        complex_fft(plan)
        for i in range(points):
            samples[2 * i] = work[result + points + i]
            samples[2 * i + 1] = work[result + i]

    return irfft_constant_size


@kernel
def rfft(plan: FftPlan, samples: Float32Array, re: Float32Array, im: Float32Array) -> None:
    """Spectrum of real samples, ``X[k] = sum_n x[n] exp(-2 pi i k n / N)``, not scaled.

    Of shorter arrays, the lowest bins are written.

    Shape: ``samples [N]`` -> ``re [N / 2 + 1]``, ``im [N / 2 + 1]``, contiguous float32, written in place.
    """
    rfft_inline(plan, samples, re, im)


@kernel
def irfft(plan: FftPlan, re: Float32Array, im: Float32Array, samples: Float32Array) -> None:
    """Inverse of :func:`rfft`, scaled by 1/N; ``im[0]`` and ``im[N / 2]`` count for nothing.

    Shape: ``re [N / 2 + 1]``, ``im [N / 2 + 1]`` -> ``samples [N]``, contiguous float32, written in place.
    """
    irfft_inline(plan, re, im, samples)
