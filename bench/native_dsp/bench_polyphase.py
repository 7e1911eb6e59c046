"""Resampling of 20 ms, block by block: compiled kernel, soxr's stream, scipy. Compare within one run.

    pytest bench/native_dsp/bench_polyphase.py --benchmark-columns=min,median --benchmark-sort=min

soxr's stream holds back up to 75 ms where the kernel's delay is below one; scipy's ``upfirdn`` is
given the kernel's filter and carries nothing from block to block.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import soxr
from pytest_benchmark.fixture import BenchmarkFixture

from native_dsp.transforms.polyphase import PolyphaseState, make_polyphase, resample_block

RATES_HZ = [(48_000, 24_000), (24_000, 48_000), (44_100, 24_000), (16_000, 24_000)]
HALF_FILTER_PERIODS, ATTENUATION_DB = 20, 50.0

pytestmark = [pytest.mark.benchmark(group="polyphase"), pytest.mark.parametrize(("in_hz", "out_hz"), RATES_HZ)]


def compiled(in_hz: int, out_hz: int) -> PolyphaseState:
    """The kernel, its delay whole samples of the output."""
    delay_s = math.ceil(HALF_FILTER_PERIODS * out_hz / min(in_hz, out_hz)) / out_hz
    return make_polyphase(in_hz, out_hz, in_hz // 50, delay_s, ATTENUATION_DB)


def block_of(rate_hz: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(rate_hz // 50).astype(np.float32)


def test_compiled(benchmark: BenchmarkFixture, in_hz: int, out_hz: int) -> None:
    state, block, out = compiled(in_hz, out_hz), block_of(in_hz), np.empty(out_hz // 50, np.float32)
    resample_block(state, block, out)
    benchmark(resample_block, state, block, out)


def test_soxr(benchmark: BenchmarkFixture, in_hz: int, out_hz: int) -> None:
    block = block_of(in_hz)
    benchmark(soxr.ResampleStream(in_hz, out_hz, 1, dtype="float32").resample_chunk, block)


def test_scipy(benchmark: BenchmarkFixture, in_hz: int, out_hz: int) -> None:
    signal = pytest.importorskip("scipy.signal")
    state = compiled(in_hz, out_hz)
    taps = state.taps[:, ::-1].T.ravel()
    benchmark(signal.upfirdn, taps, block_of(in_hz), len(state.taps), state.down)
