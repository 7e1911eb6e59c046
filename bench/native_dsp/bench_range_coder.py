"""Range coder: symbols by table and adaptive bits, compiled and in the pure Python reference. Compare within one run.

    pytest bench/native_dsp/bench_range_coder.py --benchmark-columns=min,median --benchmark-sort=min

Every figure is the time of ``SYMBOLS`` symbols or bits.
"""

from __future__ import annotations

import numba
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from native_dsp.coding.adaptive_bits import decode_adaptive_bit, encode_adaptive_bit, make_models
from native_dsp.coding.range_coder import (
    decode_symbol,
    decoder_init,
    encode_symbol,
    encoder_finish,
    encoder_init,
    make_state,
)
from tests.reference.range_coder_reference import ReferenceEncoder

SYMBOLS = 10_000
BUFFER_BYTES = 40_000


@numba.njit
def encode_all(state: np.ndarray, buffer: np.ndarray, cdf: np.ndarray, symbols: np.ndarray) -> int:
    """A whole message by one table."""
    encoder_init(state)
    for i in range(len(symbols)):
        encode_symbol(state, buffer, cdf, symbols[i], 16)
    return encoder_finish(state, buffer)


@numba.njit
def decode_all(state: np.ndarray, buffer: np.ndarray, length: int, cdf: np.ndarray, symbols: np.ndarray) -> None:
    """Inverse of ``encode_all``."""
    decoder_init(state, buffer, length)
    for i in range(len(symbols)):
        symbols[i] = decode_symbol(state, buffer, cdf, 16)


@numba.njit
def encode_all_bits(state: np.ndarray, buffer: np.ndarray, models: np.ndarray, bits: np.ndarray) -> int:
    """A whole message of adaptive bits, models in turn."""
    encoder_init(state)
    for i in range(len(bits)):
        encode_adaptive_bit(state, buffer, models, i % len(models), bits[i])
    return encoder_finish(state, buffer)


@numba.njit
def decode_all_bits(state: np.ndarray, buffer: np.ndarray, length: int, models: np.ndarray, bits: np.ndarray) -> None:
    """Inverse of ``encode_all_bits``."""
    decoder_init(state, buffer, length)
    for i in range(len(bits)):
        bits[i] = decode_adaptive_bit(state, buffer, models, i % len(models))


def message() -> tuple[np.ndarray, np.ndarray]:
    """A peaked table of 33 symbols, like quantised latents, and symbols of that distribution."""
    weights = np.exp(-np.abs(np.arange(-16, 17)) / 2.0)
    frequencies = 1 + np.floor(weights / weights.sum() * (65536 - 33)).astype(np.int64)
    frequencies[16] += 65536 - frequencies.sum()
    cdf = np.concatenate([[0], np.cumsum(frequencies)]).astype(np.int32)
    return cdf, np.random.default_rng(0).choice(33, SYMBOLS, p=frequencies / 65536)


@pytest.mark.benchmark(group="range coder")
def test_encode_symbols(benchmark: BenchmarkFixture) -> None:
    cdf, symbols = message()
    state, buffer = make_state(), np.zeros(BUFFER_BYTES, np.uint8)
    assert encode_all(state, buffer, cdf, symbols) > 0
    benchmark(encode_all, state, buffer, cdf, symbols)


@pytest.mark.benchmark(group="range coder")
def test_decode_symbols(benchmark: BenchmarkFixture) -> None:
    cdf, symbols = message()
    state, buffer = make_state(), np.zeros(BUFFER_BYTES, np.uint8)
    length = encode_all(state, buffer, cdf, symbols)
    restored = np.zeros_like(symbols)
    decode_all(state, buffer, length, cdf, restored)
    np.testing.assert_array_equal(restored, symbols)
    benchmark(decode_all, state, buffer, length, cdf, restored)


@pytest.mark.benchmark(group="range coder")
def test_encode_adaptive_bits(benchmark: BenchmarkFixture) -> None:
    bits = (np.random.default_rng(0).random(SYMBOLS) < 0.2).astype(np.int64)
    state, buffer, models = make_state(), np.zeros(BUFFER_BYTES, np.uint8), make_models(16)
    assert encode_all_bits(state, buffer, models, bits) > 0
    benchmark(encode_all_bits, state, buffer, models, bits)


@pytest.mark.benchmark(group="range coder")
def test_decode_adaptive_bits(benchmark: BenchmarkFixture) -> None:
    bits = (np.random.default_rng(0).random(SYMBOLS) < 0.2).astype(np.int64)
    state, buffer = make_state(), np.zeros(BUFFER_BYTES, np.uint8)
    length = encode_all_bits(state, buffer, make_models(16), bits)
    restored = np.zeros_like(bits)
    decode_all_bits(state, buffer, length, make_models(16), restored)
    np.testing.assert_array_equal(restored, bits)
    models = make_models(16)
    benchmark(decode_all_bits, state, buffer, length, models, restored)


@pytest.mark.benchmark(group="range coder")
def test_encode_symbols_reference(benchmark: BenchmarkFixture) -> None:
    cdf, symbols = message()

    def reference() -> bytes:
        encoder = ReferenceEncoder()
        for symbol in symbols[:1000].tolist():
            encoder.encode(int(cdf[symbol]), int(cdf[symbol + 1] - cdf[symbol]), 16)
        return encoder.finish()

    benchmark.extra_info["symbols"] = 1000
    benchmark(reference)
