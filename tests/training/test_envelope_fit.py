"""Fitting of the spectral-envelope filter, and whether the shipped one does what it was fitted for."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from native_dsp.filters.envelope_network import (
    BIN_FEATURES,
    BINS,
    COLUMNS,
    FRAME_FEATURES,
    LEAK,
    PAST_SUBFRAMES,
    REACH,
    SUBFRAMES,
    EnvelopeWeights,
)
from streamcodec.codec.neural.model import load_runtime
from streamcodec.models.shipped import DEFAULT_MODEL
from streamcodec.training.envelope_fit import EnvelopeExamples, examples_of, fit


def left_over(examples: EnvelopeExamples, weights: EnvelopeWeights | None) -> float:
    """Mean square of what is wanted, less what the network gives."""
    wanted = np.clip(examples.wanted.astype(np.float64), -2.0, 2.0)
    if weights is not None:
        inputs = examples.inputs(np.arange(len(examples.band_energy))).astype(np.float64)
        hidden = inputs @ weights.bin_hidden + weights.bin_hidden_bias
        wanted = wanted - (np.maximum(hidden, LEAK * hidden) @ weights.bin_out.T + weights.bin_out_bias)
        hidden = examples.frame_inputs.astype(np.float64) @ weights.frame_hidden + weights.frame_hidden_bias
        wanted = wanted - (np.maximum(hidden, LEAK * hidden) @ weights.frame_out).reshape(wanted.shape)
    return float(np.average((wanted**2).mean(1), weights=examples.weight.astype(np.float64)))


@pytest.mark.parametrize(("level", "share"), [(2, 0.85), (6, 0.95)])
def test_the_shipped_filter_knows_band_energies_better_than_the_decoder(
    speech: NDArray[np.float32], level: int, share: float
) -> None:
    runtime = load_runtime(DEFAULT_MODEL)
    assert runtime.model.post_filter.envelope.bin_hidden_bias.size > 0
    examples = examples_of(runtime, speech[None], np.array([level]))
    assert len(examples.band_energy) > 20
    assert left_over(examples, runtime.model.post_filter.envelope) < share * left_over(examples, None)


def test_examples_are_of_voiced_packets_only(speech: NDArray[np.float32]) -> None:
    runtime = load_runtime(DEFAULT_MODEL)
    examples = examples_of(runtime, speech[None, :24_000], np.array([3]))
    packets = len(examples.band_energy)
    assert packets > 0
    assert examples.inputs(np.arange(packets)).shape == (packets, BINS, BIN_FEATURES)
    assert examples.frame_inputs.shape == (packets, FRAME_FEATURES)
    assert examples.wanted.shape == (packets, BINS, SUBFRAMES)
    assert examples.weight.shape == (packets, SUBFRAMES)
    assert examples.weight.max(axis=1).min() > 0.0
    silence = examples_of(runtime, np.zeros((1, 9_600), np.float32), np.array([3]))
    assert silence.inputs(np.arange(0)).shape == (0, BINS, BIN_FEATURES)
    assert silence.wanted.shape == (0, BINS, SUBFRAMES)


def test_fit_finds_what_inputs_tell() -> None:
    random, packets = np.random.default_rng(0), 600
    energy = random.standard_normal((packets, PAST_SUBFRAMES + SUBFRAMES, COLUMNS))
    frame_inputs = random.standard_normal((packets, FRAME_FEATURES))
    own = energy[:, :, REACH:-REACH]
    wanted = 0.3 * (own[:, PAST_SUBFRAMES - 1] - own[:, PAST_SUBFRAMES:].mean(axis=1)) + 0.4 * frame_inputs[:, :BINS]
    examples = EnvelopeExamples(
        energy.astype(np.float16),
        np.ones((packets, SUBFRAMES), np.float32),
        np.full((packets, SUBFRAMES), 150),
        np.zeros(packets, np.float32),
        frame_inputs.astype(np.float16),
        np.repeat(wanted[..., None], SUBFRAMES, axis=2).astype(np.float16),
    )
    weights, after, before = fit(examples, 24_000, steps=300)
    assert before == pytest.approx(left_over(examples, None), rel=0.1)
    assert after < before
    assert left_over(examples, weights) < 0.3 * before
