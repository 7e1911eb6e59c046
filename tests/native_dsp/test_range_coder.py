"""Range coder: round trips, the reference's bytes, golden bytes, code length, bounds, and hostile input."""

from __future__ import annotations

import hashlib
from math import log2

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native_dsp.coding.elias_gamma import LONGEST_BITS, decode_gamma, encode_gamma
from native_dsp.coding.range_coder import (
    FAULT,
    LOW,
    RANGE,
    TOP,
    decode_bit,
    decode_bits,
    decode_mark,
    decode_symbol,
    decode_target,
    decode_update,
    decoder_init,
    encode,
    encode_bit,
    encode_bits,
    encode_symbol,
    encoded_length_256,
    encoder_finish,
    encoder_finish_marked,
    encoder_init,
    log2_256,
    make_state,
)
from tests.reference.range_coder_reference import ReferenceDecoder, ReferenceEncoder

BITS = 16

GOLDEN_HEX = "8f0d17fff3d5b46067ff3b93a4d160e18ccd5731567fddcb6f3ac2dfb349de9d7f1223e2c59623"
GOLDEN_LONG = (7148, "19aaa5ed272acf60")


def table(weights: list[float]) -> np.ndarray:
    """Cumulative table of the wanted proportions, no symbol without probability."""
    shares = np.asarray(weights, np.float64) + 1e-12
    frequencies = 1 + np.floor(shares / shares.sum() * ((1 << BITS) - len(weights))).astype(np.int64)
    frequencies[np.argmax(frequencies)] += (1 << BITS) - frequencies.sum()
    return np.concatenate([[0], np.cumsum(frequencies)]).astype(np.int32)


def coded(symbols: list[int], cdf: np.ndarray, room: int = 4096) -> bytes:
    state, buffer = make_state(), np.zeros(room, np.uint8)
    encoder_init(state)
    for symbol in symbols:
        encode_symbol(state, buffer, cdf, symbol, BITS)
    length = encoder_finish(state, buffer)
    assert length >= 0
    return buffer[:length].tobytes()


def decoded(code: bytes, count: int, cdf: np.ndarray) -> list[int]:
    state, buffer = make_state(), np.frombuffer(code, np.uint8).copy()
    decoder_init(state, buffer, len(code))
    symbols = [decode_symbol(state, buffer, cdf, BITS) for _ in range(count)]
    assert not state[FAULT]
    return symbols


TABLES = st.lists(st.floats(0, 1), min_size=1, max_size=40).map(table)


@st.composite
def messages(draw: st.DrawFn) -> tuple[np.ndarray, list[int]]:
    """A table, and symbols of it; improbable ones as often as probable ones."""
    cdf = draw(TABLES)
    return cdf, draw(st.lists(st.integers(0, len(cdf) - 2), max_size=200))


@settings(max_examples=200, deadline=None)
@given(message=messages())
def test_symbols_come_back_and_the_bytes_are_the_references(message: tuple[np.ndarray, list[int]]) -> None:
    cdf, symbols = message
    code = coded(symbols, cdf)
    reference = ReferenceEncoder()
    for symbol in symbols:
        reference.encode(int(cdf[symbol]), int(cdf[symbol + 1] - cdf[symbol]), BITS)
    assert code == reference.finish()
    assert decoded(code, len(symbols), cdf) == symbols
    reference_decoder = ReferenceDecoder(code)
    assert [reference_decoder.decode(cdf.tolist(), BITS) for _ in symbols] == symbols


def marked(symbols: list[int], cdf: np.ndarray, mark: int, bits: int) -> bytes:
    state, buffer = make_state(), np.zeros(4096, np.uint8)
    encoder_init(state)
    for symbol in symbols:
        encode_symbol(state, buffer, cdf, symbol, BITS)
    length = encoder_finish_marked(state, buffer, mark, bits)
    assert length >= 0
    return buffer[:length].tobytes()


@settings(max_examples=200, deadline=None)
@given(message=messages(), bits=st.integers(1, 7))
def test_a_number_in_the_ending_comes_back_and_hides_no_symbol(
    message: tuple[np.ndarray, list[int]], bits: int
) -> None:
    cdf, symbols = message
    assert marked(symbols, cdf, 0, bits) == coded(symbols, cdf)
    for mark in {0, 1, 2, (1 << bits) - 1} & set(range(1 << bits)):
        code = marked(symbols, cdf, mark, bits)
        state, buffer = make_state(), np.frombuffer(code, np.uint8).copy()
        decoder_init(state, buffer, len(code))
        assert [decode_symbol(state, buffer, cdf, BITS) for _ in symbols] == symbols
        assert not state[FAULT]
        assert decode_mark(state, buffer, bits) == mark


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_number_in_the_ending_takes_hardly_more_than_its_bits(bits: int) -> None:
    rng, cdf = np.random.default_rng(bits), table([3, 1, 1, 7, 2])
    more = [
        len(marked(symbols, cdf, int(rng.integers(1, 1 << bits)), bits)) - len(coded(symbols, cdf))
        for symbols in (rng.integers(0, 5, rng.integers(20, 60)).tolist() for _ in range(600))
    ]
    # The plain ending is a byte shorter now and then.
    assert max(more) <= 3
    assert 8 * np.mean(more) < bits + 1.8


@settings(max_examples=100, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(1, 65535), st.integers(0, 1)), max_size=400))
def test_bits_come_back_and_the_bytes_are_the_references(steps: list[tuple[int, int]]) -> None:
    state, buffer, reference = make_state(), np.zeros(1024, np.uint8), ReferenceEncoder()
    encoder_init(state)
    for probability, bit in steps:
        encode_bit(state, buffer, probability, bit)
        reference.encode_bit(probability, bit)
    length = encoder_finish(state, buffer)
    assert buffer[:length].tobytes() == reference.finish()
    decoder_init(state, buffer, length)
    reference_decoder = ReferenceDecoder(buffer[:length].tobytes())
    for probability, bit in steps:
        assert decode_bit(state, buffer, probability) == bit
        assert reference_decoder.decode_bit(probability) == bit
    assert not state[FAULT]


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.integers(0, 62).flatmap(lambda n: st.tuples(st.integers(0, (1 << n) - 1), st.just(n)))),
    bits=st.integers(1, 24),
)
def test_raw_bits_and_targets_of_any_total_come_back(values: list[tuple[int, int]], bits: int) -> None:
    state, buffer, reference = make_state(), np.zeros(4096, np.uint8), ReferenceEncoder()
    encoder_init(state)
    for value, count in values:
        encode_bits(state, buffer, value, count)
        encode(state, buffer, value % (1 << bits), 1, bits)
        reference.encode_bits(value, count)
        reference.encode(value % (1 << bits), 1, bits)
    length = encoder_finish(state, buffer)
    assert buffer[:length].tobytes() == reference.finish()
    decoder_init(state, buffer, length)
    for value, count in values:
        assert decode_bits(state, buffer, count) == value
        target = decode_target(state, bits)
        assert target == value % (1 << bits)
        decode_update(state, buffer, target, 1, bits)
    assert not state[FAULT]


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.one_of(st.integers(0, 40), st.integers(0, (1 << (LONGEST_BITS - 1)) - 2)), max_size=40))
def test_gamma_codes_come_back_and_the_bytes_are_the_references(values: list[int]) -> None:
    state, buffer, reference = make_state(), np.zeros(1024, np.uint8), ReferenceEncoder()
    encoder_init(state)
    for value in values:
        encode_gamma(state, buffer, value)
        reference.encode_gamma(value)
    length = encoder_finish(state, buffer)
    assert buffer[:length].tobytes() == reference.finish()
    decoder_init(state, buffer, length)
    assert [decode_gamma(state, buffer) for _ in values] == values


def test_golden_bytes() -> None:
    """The format: these bytes must never change, on any machine."""
    cdf = np.array([0, 40000, 60000, 65000, 65535, 65536], np.int32)
    symbols = [(i * i + i // 7) % 5 for i in range(60)]
    code = coded(symbols, cdf)
    assert code.hex() == GOLDEN_HEX
    assert decoded(bytes.fromhex(GOLDEN_HEX), 60, cdf) == symbols


def test_golden_long_message() -> None:
    state, buffer = make_state(), np.zeros(20000, np.uint8)
    encoder_init(state)
    lcg = 1
    for _ in range(5000):
        lcg = (lcg * 1103515245 + 12345) % (1 << 31)
        encode_bit(state, buffer, 1 + (lcg >> 8) % 65535, (lcg >> 28) & 1)
        encode_bits(state, buffer, (lcg >> 4) & 0x3FF, 10)
    length = encoder_finish(state, buffer)
    assert (length, hashlib.sha256(buffer[:length].tobytes()).hexdigest()[:16]) == GOLDEN_LONG


@pytest.mark.parametrize("ending", ["carry", "carry at the end", "no carry"])
def test_a_carry_runs_through_any_number_of_bytes(ending: str) -> None:
    """Symbols are chosen so that a byte boundary stays inside the interval: only 255s leave, until it tips."""
    state, buffer, reference = make_state(), np.zeros(1024, np.uint8), ReferenceEncoder()
    encoder_init(state)
    chosen = []

    def put(start: int, frequency: int) -> None:
        encode(state, buffer, start, frequency, BITS)
        reference.encode(start, frequency, BITS)
        chosen.append((start, frequency))

    put(100, 200)
    for _ in range(300):
        put(int(TOP - state[LOW]) // int(state[RANGE] >> BITS), 1)
    assert bytes(buffer[1:500]) == b"\xff" * 499
    if ending == "carry":
        put(65000, 500)
        assert bytes(buffer[:500]) == b"\x01" + bytes(499)
    elif ending == "no carry":
        put(0, 1)
        put(0, 1)
    length = encoder_finish(state, buffer)
    assert buffer[:length].tobytes() == reference.finish()
    assert (length > 500) == (ending != "carry at the end")

    decoder_init(state, buffer, length)
    for start, frequency in chosen:
        assert start <= decode_target(state, BITS) < start + frequency
        decode_update(state, buffer, start, frequency, BITS)
    assert not state[FAULT]


@pytest.mark.parametrize("concentration", [0.05, 0.3, 3.0])
def test_length_is_ideal_within_a_thousandth_and_a_byte(concentration: float) -> None:
    rng = np.random.default_rng(5)
    cdf = table(rng.dirichlet(np.full(30, concentration)).tolist())
    frequencies = np.diff(cdf)
    symbols = rng.choice(30, size=20000, p=frequencies / 65536)
    ideal_bits = -np.log2(frequencies[symbols] / 65536).sum()
    length = len(coded(symbols.tolist(), cdf, room=20000))
    assert ideal_bits / 8 - 1 <= length <= 1.0001 * ideal_bits / 8 + 1


def test_short_messages_cost_no_more_than_a_byte_over_the_ideal() -> None:
    rng = np.random.default_rng(6)
    cdf = table([0.9, 0.05, 0.03, 0.02])
    cost_bits = -np.log2(np.diff(cdf) / 65536)
    for count in range(40):
        symbols = rng.integers(0, 4, count)
        assert len(coded(symbols.tolist(), cdf)) <= cost_bits[symbols].sum() / 8 + 1
    assert coded([], cdf) == b""
    assert coded([0] * 50, cdf) == b""


def test_cost_meter_follows_the_ideal_length() -> None:
    rng = np.random.default_rng(7)
    cdf = table(rng.dirichlet(np.ones(12)).tolist())
    cost_bits = -np.log2(np.diff(cdf) / 65536)
    state, buffer = make_state(), np.zeros(64, np.uint8)
    encoder_init(state)
    ideal_bits = 0.0
    assert encoded_length_256(state) == 0
    for symbol in rng.integers(0, 12, 600).tolist():
        encode_symbol(state, buffer, cdf, symbol, BITS)
        ideal_bits += cost_bits[symbol]
        # the meter goes on past the end of the buffer
        assert abs(encoded_length_256(state) / 256 - ideal_bits) < 0.02
    assert encoder_finish(state, buffer) == -1


@given(value=st.integers(1, (1 << 62) - 1))
def test_integer_logarithm(value: int) -> None:
    assert -1.01 <= log2_256(value) - 256 * log2(value) <= 1e-9


def test_a_full_buffer_is_reported_and_never_overrun() -> None:
    cdf = table([1.0] * 16)
    symbols = [(7 * i) % 16 for i in range(40)]
    needed = len(coded(symbols, cdf))
    for room in range(needed + 2):
        memory = np.full(needed + 64, 171, np.uint8)
        state = make_state()
        encoder_init(state)
        buffer = memory[:room]
        for symbol in symbols:
            encode_symbol(state, buffer, cdf, symbol, BITS)
        assert encoder_finish(state, buffer) == (needed if room >= needed else -1)
        assert (memory[room:] == 171).all()


@pytest.mark.parametrize("symbol", [-1, 3, 1 << 40])
def test_a_symbol_outside_the_table_is_a_fault(symbol: int) -> None:
    state, buffer = make_state(), np.zeros(64, np.uint8)
    encoder_init(state)
    encode_symbol(state, buffer, table([1, 2, 3]), symbol, BITS)
    assert encoder_finish(state, buffer) == -1


def test_a_symbol_of_no_frequency_is_a_fault_and_does_not_hang() -> None:
    state, buffer = make_state(), np.zeros(64, np.uint8)
    encoder_init(state)
    encode(state, buffer, 100, 0, BITS)
    assert encoder_finish(state, buffer) == -1
    decoder_init(state, buffer, 64)
    decode_update(state, buffer, 100, 0, BITS)
    assert state[FAULT]


def test_any_bytes_decode_to_symbols_of_the_table() -> None:
    """100,000 random, truncated and constant inputs in one compiled loop: never an error, a hang or a wild symbol."""

    @numba.njit
    def fuzz(cases: int, cdf: np.ndarray, state: np.ndarray, seed: int) -> int:
        np.random.seed(seed)  # noqa: NPY002 - the generator that compiled code has
        wild = 0
        buffer = np.zeros(40, np.uint8)
        for case in range(cases):
            length = np.random.randint(0, 41)  # noqa: NPY002
            for i in range(length):
                buffer[i] = 255 * (case % 2) if case % 5 == 0 else np.random.randint(0, 256)  # noqa: NPY002
            decoder_init(state, buffer, length)
            for _ in range(60):
                symbol = decode_symbol(state, buffer, cdf, 16)
                wild += symbol < 0 or symbol >= len(cdf) - 1
            value = decode_bits(state, buffer, 7)
            wild += value < 0 or value > 127
            wild += decode_bit(state, buffer, 3000) > 1
        return wild

    assert fuzz(100_000, table([0.9, 0.05, 0.001, 0, 0, 0.04]), make_state(), 1) == 0


@pytest.mark.parametrize("length", [-5, 0, 3, 1 << 40])
def test_a_wrong_length_never_reads_outside_the_buffer(length: int) -> None:
    state, buffer = make_state(), np.full(2, 200, np.uint8)
    decoder_init(state, buffer, length)
    expected = 200 if length > 0 else 0
    assert decode_bits(state, buffer, 8) == expected
    assert decode_bits(state, buffer, 8) == expected
    assert decode_bits(state, buffer, 48) == 0


def test_state_and_buffer_copied_midway_go_on_alone() -> None:
    cdf = table([5, 3, 2])
    state, buffer = make_state(), np.zeros(256, np.uint8)
    encoder_init(state)
    for symbol in [0, 1, 2, 2, 1] * 9:
        encode_symbol(state, buffer, cdf, symbol, BITS)
    trial_state, trial_buffer = state.copy(), buffer.copy()
    for symbol in [2] * 20:
        encode_symbol(trial_state, trial_buffer, cdf, symbol, BITS)
    length = encoder_finish(state, buffer)
    assert buffer[:length].tobytes() == coded([0, 1, 2, 2, 1] * 9, cdf)
    trial_length = encoder_finish(trial_state, trial_buffer)
    assert trial_buffer[:trial_length].tobytes() == coded([0, 1, 2, 2, 1] * 9 + [2] * 20, cdf)
