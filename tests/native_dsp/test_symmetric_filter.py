"""Symmetric filters: what a plain convolution makes of the same sound, for any number of samples."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from native_dsp.filters.pitch_filter import correlation_at, squared_correlations
from native_dsp.filters.symmetric_filter import make_symmetric_filter, whole_blocks
from native_dsp.jit import kernel

Float32Array = NDArray[np.float32]
_one, _five = make_symmetric_filter(1), make_symmetric_filter(5)


@kernel
def filter_one(sound: Float32Array, middle: int, taps: Float32Array, out: Float32Array, samples: int) -> None:
    _one(sound, middle, taps, taps.shape[1] - 1, out, 0, 0, samples)


@kernel
def filter_five(sound: Float32Array, middle: int, taps: Float32Array, out: Float32Array, samples: int) -> None:
    _five(sound, middle, taps, taps.shape[1] - 1, out, 0, out.shape[1], samples)


@pytest.mark.parametrize("filters", [1, 5])
@pytest.mark.parametrize(("half", "samples"), [(1, 1), (24, 480), (120, 60)])
def test_equals_convolution(filters: int, half: int, samples: int) -> None:
    random = np.random.default_rng(half)
    taps = random.standard_normal((filters, half + 1)).astype(np.float32)
    sound = random.standard_normal(2 * half + whole_blocks(samples) + 7).astype(np.float32)
    out = np.full((filters, whole_blocks(samples)), np.nan, np.float32)
    (filter_one if filters == 1 else filter_five)(sound, half + 3, taps, out, samples)
    for f in range(filters):
        whole = np.concatenate([taps[f, :0:-1], taps[f]]).astype(np.float64)
        expected = np.convolve(sound.astype(np.float64), whole, "valid")[3 : 3 + samples]
        np.testing.assert_allclose(out[f, :samples], expected, rtol=1e-4, atol=1e-4)


def test_lags_side_by_side_are_lags_one_by_one() -> None:
    sound = np.random.default_rng(1).standard_normal(400).astype(np.float32)
    sound[150:400] += 2 * sound[80:330]
    start, end, longest = 237, 400, 137
    squares = np.zeros((2, 118), np.float32)
    squared_correlations(sound, start, end, longest, squares)
    each = [max(correlation_at(sound, start, end, longest - r), 0.0) ** 2 for r in range(118)]
    np.testing.assert_allclose(squares[0], each, rtol=1e-4, atol=1e-6)
