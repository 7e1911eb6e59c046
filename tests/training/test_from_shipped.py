"""Training that goes on from an exported model: nothing is lost on the way back, and packets can stay as they are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from streamcodec.errors import ModelError
from streamcodec.models.shipped import load_model
from streamcodec.models.weights import floats_of
from streamcodec.training.codec_run import CodecRunOptions, make_task, start_run
from streamcodec.training.codec_task import CodecTask
from streamcodec.training.export import entropy_tables, export_model, load_checkpoint, post_filter_of_training
from streamcodec.training.from_shipped import codec_of
from streamcodec.training.loop import TrainingLoop
from streamcodec.training.post_filter import output_gains
from streamcodec.training.schedule import LOW_QUALITY_SHARES, quality_shares
from streamcodec.training.task import TrainingError
from streamcodec.training.throughput import bfloat16_is_faster
from tests.helpers.tiny_model import FACTS, SETTINGS, TINY


def decoder_only(cache: Path, start_from: Path | None) -> CodecTask:
    return CodecTask(TINY, SETTINGS, cache, start_from=start_from, decoder_only=True)


def test_the_shipped_model_comes_back_to_the_last_bit() -> None:
    model = load_model()
    codec = codec_of(model)
    tables = entropy_tables(codec)
    assert tables.keys() == model.entropy.keys()
    for name, values in tables.items():
        np.testing.assert_array_equal(values, model.entropy[name], err_msg=name)
    weights = model.load_weights()
    for name, values in codec.state_dict().items():
        if name in weights:
            np.testing.assert_array_equal(values.numpy(), floats_of(weights[name]), err_msg=name)


def test_gains_of_the_shipped_model() -> None:
    """Noise is lowered at low frequencies and left alone above, beside the sound."""
    parameters = load_model().post_filter
    share = parameters.noise_gains[:, :225] / parameters.band_gains[:, :225]
    np.testing.assert_allclose(share[0, :60], 0.77, atol=1e-3)
    bins_hz = np.arange(225) * 24_000 / 512
    line = np.abs(bins_hz - 8_000.0) <= 100.0
    np.testing.assert_allclose(share[:, (bins_hz > 7_000.0) & ~line], 1.0, atol=1e-3)
    # At 8 kHz, where most training voices end, and at the top the decoder knows constants, which would be tones.
    np.testing.assert_allclose(share[:, line], 2.0, atol=2e-3)
    assert not parameters.band_gains[:, 232:].any()


def test_a_run_starts_where_the_exported_model_stands(cache: Path, exported: Path, tmp_path: Path) -> None:
    task = decoder_only(cache, exported)
    TrainingLoop(task, tmp_path)
    trained = load_checkpoint(exported.parent / "run" / "checkpoint.pt")
    for name, weights in trained.decoder.state_dict().items():
        # As near as the export's 16 bits.
        torch.testing.assert_close(task.codec.decoder.state_dict()[name], weights, atol=2e-3, rtol=2e-3)
    assert torch.equal(task.gains, output_gains(load_model(str(exported)).post_filter))


def test_training_the_decoder_alone_leaves_every_packet_as_it_is(cache: Path, exported: Path, tmp_path: Path) -> None:
    task = decoder_only(cache, exported)
    loop = TrainingLoop(task, tmp_path)
    before = {name: values.clone() for name, values in task.codec.state_dict().items()}
    for _ in range(2):
        loop.train_step(0.1)
    changed = {name for name, values in task.codec.state_dict().items() if not torch.equal(values, before[name])}
    assert changed
    assert all(name.startswith("decoder.") for name in changed)
    loop.save()
    parameters = post_filter_of_training(tmp_path / "checkpoint.pt")
    export_model(load_checkpoint(tmp_path / "checkpoint.pt"), tmp_path / "tiny", FACTS, parameters)
    again, first = load_model(str(tmp_path / "tiny")), load_model(str(exported))
    for mine, theirs in zip(again.post_filter[:3], first.post_filter[:3], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert again.fingerprint == first.fingerprint
    weights = again.load_weights()
    for name, weight in first.load_weights().items():
        if name.startswith("encoder."):
            np.testing.assert_array_equal(floats_of(weights[name]), floats_of(weight), err_msg=name)

    resumed = decoder_only(cache, None)
    TrainingLoop(resumed, tmp_path)
    assert torch.equal(resumed.gains, output_gains(first.post_filter))


def test_output_gains_are_heard_in_training(cache: Path, exported: Path, tmp_path: Path) -> None:
    task = decoder_only(cache, exported)
    TrainingLoop(task, tmp_path)
    task.gains = torch.zeros_like(task.gains)
    assert not task.sound_batch(0, 0.5).draws[0].any()


def test_a_decoder_wants_something_to_start_on(cache: Path, tmp_path: Path) -> None:
    options = CodecRunOptions(data=[tmp_path], folder=tmp_path / "run", cache=cache, model=TINY, decoder_only=True)
    with pytest.raises(TrainingError, match="--start-from"):
        start_run(options)
    named = dataclasses.replace(options, start_from="no-such-model", device="cpu")
    with pytest.raises(ModelError, match="no usable model"):
        TrainingLoop(make_task(named, cache, "cpu"), tmp_path / "run")


@pytest.mark.parametrize("adversarial_from", [None, 0.0])
def test_the_precision_can_be_chosen_for_a_decoder_alone(
    cache: Path, exported: Path, adversarial_from: float | None
) -> None:
    options = CodecRunOptions([exported], exported, model=TINY, start_from=exported, decoder_only=True)
    task = make_task(dataclasses.replace(options, adversarial_from=adversarial_from, batch_segments=2), cache, "cpu")
    assert bfloat16_is_faster(task) in (False, True)


def test_a_decoder_alone_hears_coarse_levels_most() -> None:
    everything, coarse = quality_shares(16), quality_shares(16, LOW_QUALITY_SHARES)
    assert float(coarse.sum()) == pytest.approx(1.0)
    assert coarse[:4].sum() > everything[:4].sum()
