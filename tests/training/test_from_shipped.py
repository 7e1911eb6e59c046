"""Training that goes on from an exported model: nothing is lost on the way back, and packets can stay as they are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from streamcodec.errors import ModelError
from streamcodec.models.shipped import load_model
from streamcodec.training.codec_run import CodecRunOptions, make_task, start_run
from streamcodec.training.codec_task import CodecTask
from streamcodec.training.export import entropy_tables, export_model, gains_of_training, load_checkpoint
from streamcodec.training.from_shipped import codec_of
from streamcodec.training.loop import TrainingLoop
from streamcodec.training.schedule import LOW_QUALITY_SHARES, quality_shares
from streamcodec.training.task import TrainingError
from streamcodec.training.throughput import bfloat16_is_faster
from tests.helpers.tiny_model import FACTS, SETTINGS, TINY


@pytest.fixture(scope="module")
def exported(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("from_shipped")
    loop = TrainingLoop(CodecTask(TINY, SETTINGS, cache), folder / "run")
    for _ in range(3):
        loop.train_step(0.1)
    loop.save()
    export_model(load_checkpoint(folder / "run" / "checkpoint.pt"), folder / "tiny", FACTS)
    return folder / "tiny"


def decoder_only(cache: Path, start_from: Path | None) -> CodecTask:
    return CodecTask(TINY, SETTINGS, cache, start_from=start_from, decoder_only=True)


def test_the_shipped_model_comes_back_to_the_last_bit() -> None:
    model = load_model()
    codec, gains = codec_of(model)
    tables = entropy_tables(codec)
    assert tables.keys() == model.entropy.keys()
    for name, values in tables.items():
        np.testing.assert_array_equal(values, model.entropy[name], err_msg=name)
    assert gains.shape == (model.config.qualities + 1, 3 * model.config.bins)
    # Noise is lowered at low frequencies and left alone above, beside the sound.
    sound, _, noise = gains[0].chunk(3)
    lowered = torch.full((60,), model.facts["low_noise_gains"][0][1])
    assert lowered[0] < 0.9
    torch.testing.assert_close(noise[:60] / sound[:60], lowered, atol=1e-3, rtol=0)
    torch.testing.assert_close(noise[-100:], sound[-100:], atol=1e-3, rtol=0)


def test_a_run_starts_where_the_exported_model_stands(cache: Path, exported: Path, tmp_path: Path) -> None:
    task = decoder_only(cache, exported)
    TrainingLoop(task, tmp_path)
    trained = load_checkpoint(exported.parent / "run" / "checkpoint.pt")
    for name, weights in trained.decoder.state_dict().items():
        # As near as the export's 16 bits.
        torch.testing.assert_close(task.codec.decoder.state_dict()[name], weights, atol=2e-3, rtol=2e-3)
    assert task.gains is not None


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
    gains = gains_of_training(tmp_path / "checkpoint.pt")
    export_model(load_checkpoint(tmp_path / "checkpoint.pt"), tmp_path / "tiny", FACTS, gains=gains)
    assert gains is not None
    assert torch.equal(codec_of(load_model(str(tmp_path / "tiny")))[1], gains)
    assert load_model(str(tmp_path / "tiny")).fingerprint == load_model(str(exported)).fingerprint
    assert (tmp_path / "tiny" / "encoder.onnx").read_bytes() == (exported / "encoder.onnx").read_bytes()

    resumed = decoder_only(cache, None)
    TrainingLoop(resumed, tmp_path)
    assert resumed.gains is not None
    assert torch.equal(resumed.gains, codec_of(load_model(str(exported)))[1])


def test_output_gains_are_heard_in_training(cache: Path, exported: Path, tmp_path: Path) -> None:
    task = decoder_only(cache, exported)
    TrainingLoop(task, tmp_path)
    assert task.gains is not None
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
