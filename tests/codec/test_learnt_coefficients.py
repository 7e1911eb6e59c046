"""What the near-lossless models know before the first block: stored faithfully, and worth having."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from native_dsp.coding.bit_mixing import Mixer
from native_dsp.coding.coefficient_coder import encode_coefficients, make_coefficient_coder
from native_dsp.coding.range_coder import encoder_finish, encoder_init, make_state
from streamcodec.codec.near_lossless import learnt_coefficients as module
from streamcodec.training.learn_coefficients import learn_clip


def key_block_bytes(learnt: Mixer | None) -> int:
    """Twenty key blocks of noise of a falling spectrum, each coded from the start."""
    rng = np.random.default_rng(2)
    coder, buffer, total = make_state(), np.zeros(4096, np.uint8), 0
    for _ in range(20):
        block = np.rint(rng.laplace(scale=200 / (1 + np.arange(256) * 0.5))).astype(np.int32)[None]
        encoder_init(coder)
        encode_coefficients(coder, buffer, make_coefficient_coder(1, 256, learnt), block, np.zeros_like(block), True)
        total += encoder_finish(coder, buffer)
    return total


def test_key_blocks_are_smaller_for_what_was_learnt() -> None:
    assert key_block_bytes(module.learnt_models().plain) < 0.98 * key_block_bytes(None)


def test_learnt_models_come_back_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = module.fresh_models()
    before = [mixer.weights.copy() for mixer in models]
    noise = np.random.default_rng(1).normal(0, 0.1, 4_000).astype(np.float32)
    learn_clip(models, noise, 8_000, 1)
    assert not any(np.array_equal(mixer.weights, old) for mixer, old in zip(models, before, strict=True))
    module.save_learnt(models, tmp_path / "learnt.npz")
    monkeypatch.setattr(module, "LEARNT_PATH", tmp_path / "learnt.npz")
    for mixer, again in zip(models, module.learnt_models.__wrapped__(), strict=True):
        assert np.array_equal(again.weights, mixer.weights)
        assert np.array_equal(again.counters >> 15, mixer.counters >> 15)
        assert (again.counters & 127).max() == module.MOST_SEEN


def test_using_the_models_leaves_them_as_they_were() -> None:
    before = module.learnt_models().plain.counters.copy()
    key_block_bytes(module.learnt_models().plain)
    assert np.array_equal(module.learnt_models().plain.counters, before)
