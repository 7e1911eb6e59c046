"""The temporal-envelope filter is fitted to a model and written into it, and its packets stay what they were."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from native_dsp.filters.temporal_envelope import BANDS, INPUTS, UNITS
from streamcodec.models.shipped import DEFAULT_MODEL, load_model, read_model
from streamcodec.training.temporal_fit import TemporalExamples, fit, main


def test_a_network_learns_what_inputs_tell() -> None:
    random = np.random.default_rng(0)
    inputs = random.standard_normal((4_000, INPUTS)).astype(np.float32)
    # Differences, which are the same at every level.
    wanted = 0.6 * (inputs[:, :BANDS] - inputs[:, BANDS : 2 * BANDS])
    wanted += 0.1 * random.standard_normal(wanted.shape).astype(np.float32)
    examples = TemporalExamples(inputs, np.full(len(inputs), 0.5, np.float32), wanted)
    weights, errors = fit(examples, 600, strength=1.0)
    assert errors["mean_square_after"] < 0.35 * errors["mean_square_before"]
    stronger, _ = fit(examples, 600, strength=2.0)
    np.testing.assert_allclose(stronger.out, 2.0 * weights.out, rtol=1e-6)
    np.testing.assert_array_equal(stronger.hidden, weights.hidden)


def test_a_model_is_fitted_in_place(tmp_path: Path, speech_file: Path) -> None:
    folder, data = tmp_path / "model", tmp_path / "data"
    shutil.copytree(load_model(DEFAULT_MODEL).folder, folder)
    data.mkdir()
    shutil.copy(speech_file, data)
    before = read_model(folder)
    assert main([str(folder), "--data", str(data), "--steps", "20", "--strength", "1.5"]) == 0
    after = read_model(folder)
    assert after.fingerprint == before.fingerprint
    assert after.post_filter.temporal.hidden.shape == (INPUTS, UNITS)
    np.testing.assert_array_equal(after.post_filter.envelope.bin_hidden, before.post_filter.envelope.bin_hidden)
    facts = json.loads((folder / "model.json").read_text())["temporal_fit"]
    assert facts["strength"] == 1.5
    assert facts["blocks"] > 50


def test_what_cannot_be_fitted_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none"), "--data", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
