"""Lossless kernels against their plain references, value by value."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from native_dsp.coding import bit_mixing
from native_dsp.coding.lossless_block import EAGER_SAMPLES, decode_samples, encode_samples, make_lossless_state
from native_dsp.coding.range_coder import make_state
from native_dsp.filters import nlms
from native_dsp.filters.backward_prediction import INTERVAL, TAPS, backward_predict, backward_refresh, make_backward
from native_dsp.integer_math import bit_length
from native_dsp.state import copy_state
from tests.reference.lossless_reference import ReferenceBackward, ReferenceLossless, ReferenceNlms
from tests.reference.mixing_reference import ReferenceMixer


@numba.njit
def run_nlms(state, inputs, taps, step):
    predictions = np.zeros(len(inputs), np.int64)
    for n in range(len(inputs)):
        predictions[n] = nlms.nlms_predict(state, 0, taps)
        nlms.nlms_update(state, 0, taps, step, inputs[n] - predictions[n], inputs[n])
    return predictions


@numba.njit
def run_backward(state, samples, fraction_bits):
    predictions = np.zeros(samples.shape, np.int64)
    for n in range(len(samples)):
        phase = n % INTERVAL
        for channel in range(samples.shape[1]):
            predictions[n, channel] = backward_predict(state, channel, phase, fraction_bits)
            state.history[channel, TAPS + phase] = samples[n, channel]
        if phase == INTERVAL - 1:
            backward_refresh(state, (n // INTERVAL) % 3 != 2)
    return predictions


@numba.njit
def run_mixer(mixer, inputs, bits):
    probabilities = np.zeros(len(bits), np.int64)
    for n in range(len(bits)):
        for i in range(inputs):
            mixer.chosen[i] = i
        probabilities[n] = bit_mixing.mixed_probability(mixer, inputs, 0)
        bit_mixing.learn_bit(mixer, inputs, 0, probabilities[n], bits[n], 100, 5)
    return probabilities


@numba.njit
def bit_lengths(values):
    return np.array([bit_length(value) for value in values])


def signals(bits: int, length: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(bits)
    top = (1 << (bits - 1)) - 1
    t = np.arange(length)
    return {
        "tone": np.rint(np.sin(0.07 * t) * top).astype(np.int64),
        "noise": rng.integers(-top - 1, top + 1, length),
        "square": np.where((t // 40) % 2, top, -top - 1),
        "quiet": rng.integers(-2, 3, length),
        "silence": np.zeros(length, np.int64),
    }


def test_bit_length_equals_pythons() -> None:
    values = [0, 1, 2, 3, 4, 255, 256, (1 << 62) - 1, 1 << 62]
    assert bit_lengths(np.array(values)).tolist() == [value.bit_length() for value in values]


@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize("name", ["tone", "noise", "square", "quiet", "silence"])
def test_nlms_equals_reference(name: str, bits: int) -> None:
    inputs = signals(bits, 150)[name]
    reference = ReferenceNlms(32, 20)
    expected = []
    for value in inputs.tolist():
        expected.append(reference.predict())
        reference.update(value - expected[-1], value)
    assert run_nlms(nlms.make_nlms(1, 32), inputs, 32, 20).tolist() == expected


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize("name", ["tone", "noise", "square", "quiet", "silence"])
def test_backward_prediction_equals_reference(name: str, bits: int, channels: int) -> None:
    one = signals(bits, 6 * INTERVAL + 5)[name]
    samples = np.stack([one, np.roll(one, 3) // 2][:channels], axis=1)
    reference = ReferenceBackward(channels)
    expected = np.zeros_like(samples)
    for n in range(len(samples)):
        for channel in range(channels):
            expected[n, channel] = reference.predict(channel, 4)
            reference.samples[channel].append(int(samples[n, channel]))
        if n % INTERVAL == INTERVAL - 1:
            reference.refresh((n // INTERVAL) % 3 != 2)
    assert np.array_equal(run_backward(make_backward(channels), samples, 4), expected)


def test_backward_prediction_learns_a_tone() -> None:
    tone = signals(16, 2000)["tone"][:, None]
    error = tone - run_backward(make_backward(1), tone, 0)
    assert np.abs(error[500:]).max() < 40


def test_mixer_equals_reference_and_learns() -> None:
    bits = (np.random.default_rng(5).random(2000) < 0.9).astype(np.int64)
    mixer, reference = bit_mixing.make_mixer(3, 1, 3), ReferenceMixer(3, slowest=100, rate=5)
    found = run_mixer(mixer, 3, bits)
    expected = []
    for bit in bits.tolist():
        expected.append(reference.probability("abc", 0))
        reference.learn("abc", 0, expected[-1], bit)
    assert found.tolist() == expected
    ideal = -(0.9 * np.log2(0.9) + 0.1 * np.log2(0.1))
    spent = -np.log2(np.where(bits == 1, found, 65536 - found) / 65536).mean()
    assert spent < ideal * 1.15


def check_blocks(samples: np.ndarray, bits: int, block_samples: int) -> None:
    """Bytes of every block are the reference's, and the decoding kernel gives the samples back."""
    channels = samples.shape[1]
    ours, theirs, reference = (
        make_lossless_state(channels),
        make_lossless_state(channels),
        ReferenceLossless(channels),
    )
    coder, buffer = make_state(), np.zeros(8 * block_samples * channels, np.uint8)
    for start in range(0, len(samples), block_samples):
        block = samples[start : start + block_samples].astype(np.int32)
        length = encode_samples(coder, buffer, ours, block, bits)
        assert buffer[:length].tobytes() == reference.encode(block.tolist(), bits)
        found = np.zeros_like(block)
        decode_samples(coder, buffer[:length].copy(), theirs, found, bits)
        np.testing.assert_array_equal(found, block)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("bits", [8, 16, 17, 24])
def test_blocks_are_coded_as_by_the_reference(bits: int, channels: int) -> None:
    kinds = list(signals(bits, 45).values())
    one = np.concatenate(kinds)
    check_blocks(np.stack([one, np.roll(one, 7) // 2][:channels], axis=1), bits, 80)


def test_blocks_past_the_eager_start_are_coded_as_by_the_reference() -> None:
    tone = signals(12, EAGER_SAMPLES + 3 * INTERVAL)["tone"]
    check_blocks((tone + np.random.default_rng(1).integers(-40, 41, len(tone)))[:, None], 16, 512)


def test_tables_are_monotonic_and_inverse() -> None:
    assert (np.diff(bit_mixing.SQUASH) >= 0).all()
    assert (np.diff(bit_mixing.STRETCH) >= 0).all()
    logits = np.arange(-1500, 1501, 50)
    again = bit_mixing.STRETCH[bit_mixing.SQUASH[logits + 2048] >> 4]
    assert np.abs(again - logits)[5:-5].max() < 40


def test_split_leaves_room_for_the_bits_to_come() -> None:
    split = bit_mixing.split.py_func
    assert split(1 << 24, 0, 5) == 32
    assert split(1 << 24, 65536, 5) == (1 << 24) - 32
    assert split(64, 1, 5) == 32


def test_copied_state_shares_no_memory() -> None:
    state = make_lossless_state(2)
    twin = copy_state(state)
    twin.backward.weights[:] = 7
    twin.residuals.mixer.counters[:] = 7
    twin.clock[:] = 7
    assert state.clock[0] == 0
    assert not (state.residuals.mixer.counters == 7).any()
    assert not (state.backward.weights == 7).any()
