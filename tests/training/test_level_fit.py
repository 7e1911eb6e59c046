"""Fitting of the spectral-envelope post-filter, and whether the shipped one does what it was fitted for."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from native_dsp.filters.envelope_network import (
    BINS,
    BLOCKS,
    COLUMNS,
    INPUTS,
    LEAK,
    PACKET_INPUTS,
    PAST_BLOCKS,
    REACH,
    EnvelopeWeights,
)
from streamcodec.codec.neural.model import load_runtime
from streamcodec.errors import ModelError
from streamcodec.models.shipped import DEFAULT_MODEL, ENVELOPE_WEIGHTS_FILE, load_model
from streamcodec.training.level_fit import EnvelopeExamples, examples_of, fit


def left_over(examples: EnvelopeExamples, weights: EnvelopeWeights | None) -> float:
    """Mean square of what is wanted, less what the network gives."""
    wanted = np.clip(examples.wanted.astype(np.float64), -2.0, 2.0)
    if weights is not None:
        inputs = examples.inputs(np.arange(len(examples.levels))).astype(np.float64)
        hidden = inputs @ weights.hidden + weights.hidden_bias
        wanted = wanted - (np.maximum(hidden, LEAK * hidden) @ weights.out.T + weights.out_bias)
        hidden = examples.packet_inputs.astype(np.float64) @ weights.packet_hidden + weights.packet_hidden_bias
        wanted = wanted - (np.maximum(hidden, LEAK * hidden) @ weights.packet_out).reshape(wanted.shape)
    return float(np.average((wanted**2).mean(1), weights=examples.weight.astype(np.float64)))


@pytest.mark.parametrize(("level", "share"), [(2, 0.85), (6, 0.95)])
def test_the_shipped_filter_knows_levels_better_than_the_decoder(
    speech: NDArray[np.float32], level: int, share: float
) -> None:
    runtime = load_runtime(DEFAULT_MODEL)
    assert runtime.envelope_weights.hidden_bias.size > 0
    examples = examples_of(runtime, speech[None], np.array([level]))
    assert len(examples.levels) > 20
    assert left_over(examples, runtime.envelope_weights) < share * left_over(examples, None)


def test_examples_are_of_voiced_packets_only(speech: NDArray[np.float32]) -> None:
    runtime = load_runtime(DEFAULT_MODEL)
    examples = examples_of(runtime, speech[None, :24_000], np.array([3]))
    packets = len(examples.levels)
    assert packets > 0
    assert examples.inputs(np.arange(packets)).shape == (packets, BINS, INPUTS)
    assert examples.packet_inputs.shape == (packets, PACKET_INPUTS)
    assert examples.wanted.shape == (packets, BINS, BLOCKS)
    assert examples.weight.shape == (packets, BLOCKS)
    assert examples.weight.max(axis=1).min() > 0.0
    silence = examples_of(runtime, np.zeros((1, 9_600), np.float32), np.array([3]))
    assert silence.inputs(np.arange(0)).shape == (0, BINS, INPUTS)
    assert silence.wanted.shape == (0, BINS, BLOCKS)


def test_fit_finds_what_inputs_tell() -> None:
    random, packets = np.random.default_rng(0), 600
    levels = random.standard_normal((packets, PAST_BLOCKS + BLOCKS, COLUMNS))
    packet_inputs = random.standard_normal((packets, PACKET_INPUTS))
    own = levels[:, :, REACH:-REACH]
    wanted = 0.3 * (own[:, PAST_BLOCKS - 1] - own[:, PAST_BLOCKS:].mean(axis=1)) + 0.4 * packet_inputs[:, :BINS]
    examples = EnvelopeExamples(
        levels.astype(np.float16),
        np.ones((packets, BLOCKS), np.float32),
        np.full((packets, BLOCKS), 150),
        np.zeros(packets, np.float32),
        packet_inputs.astype(np.float16),
        np.repeat(wanted[..., None], BLOCKS, axis=2).astype(np.float16),
    )
    weights, after, before = fit(examples, 24_000, steps=300)
    assert before == pytest.approx(left_over(examples, None), rel=0.1)
    assert after < before
    assert left_over(examples, weights) < 0.3 * before


def test_an_envelope_filter_of_another_shape_is_refused(tmp_path: Path) -> None:
    model = load_model(DEFAULT_MODEL)
    shutil.copytree(model.encoder_path.parent, tmp_path / "other")
    wrong = model.envelope_weights._replace(
        out=np.zeros((BLOCKS + 1, model.envelope_weights.hidden_bias.size), np.float32)
    )
    save_file(wrong._asdict(), tmp_path / "other" / ENVELOPE_WEIGHTS_FILE)
    with pytest.raises(ModelError, match="another version"):
        _ = load_model(str(tmp_path / "other")).envelope_weights
    (tmp_path / "other" / ENVELOPE_WEIGHTS_FILE).write_bytes(b"no such thing")
    with pytest.raises(ModelError, match="no spectral-envelope post-filter"):
        load_runtime(str(tmp_path / "other"))
