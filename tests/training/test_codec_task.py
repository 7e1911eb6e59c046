"""Training of the codec: it learns, resumes exactly, and begins where another run stood."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from streamcodec.models.config import NeuralConfig
from streamcodec.training.codec_task import CodecTask
from streamcodec.training.loop import RunLimits, TrainingLoop
from streamcodec.training.schedule import draw_conditions
from streamcodec.training.task import Figures
from tests.helpers.tiny_model import SETTINGS, TINY


def loss_of(figures: Figures) -> float:
    loss = figures["loss"]
    assert isinstance(loss, torch.Tensor)
    return float(loss)


def start(cache: Path, folder: Path) -> tuple[TrainingLoop, CodecTask]:
    task = CodecTask(TINY, SETTINGS, cache)
    return TrainingLoop(task, folder), task


def test_a_resumed_run_equals_an_unbroken_one(cache: Path, tmp_path: Path) -> None:
    whole, unbroken = start(cache, tmp_path / "whole")
    whole.run(RunLimits(max_steps=4))
    first, _ = start(cache, tmp_path / "broken")
    for step in range(2):
        first.train_step(step / 4)
    first.save()
    second, resumed = start(cache, tmp_path / "broken")
    assert second.step == 2
    second.run(RunLimits(max_steps=4))
    for name, value in unbroken.codec.state_dict().items():
        assert torch.equal(resumed.codec.state_dict()[name], value), name


def test_training_lowers_the_loss_and_writes_its_log(cache: Path, tmp_path: Path) -> None:
    from streamcodec.training.pictures import draw_curves, draw_samples

    loop, task = start(cache, tmp_path)
    rows: list[dict[str, object]] = []
    loop.run(RunLimits(minutes=10, max_steps=34, log_steps=10), rows.append)
    assert float(str(rows[-1]["mel"])) < 0.8 * float(str(rows[0]["mel"])), [r["mel"] for r in rows]
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert logged[-1]["step"] == 34
    assert {"loss", "kbps", "audio_s_per_s"} <= logged[-1].keys()
    draw_curves(tmp_path)
    draw_samples(task, tmp_path / "samples.png", segments=1)
    assert (tmp_path / "curves.png").stat().st_size > 5_000
    assert (tmp_path / "samples.png").stat().st_size > 5_000


def test_a_run_started_from_another_begins_with_its_averaged_weights(cache: Path, tmp_path: Path) -> None:
    first, _ = start(cache, tmp_path / "first")
    for _ in range(3):
        first.train_step(0.1)
    first.save()
    task = CodecTask(TINY, SETTINGS, cache, start_from=tmp_path / "first" / "checkpoint.pt")
    second = TrainingLoop(task, tmp_path / "second")
    assert second.step == 0
    average = first.optimiser_states["codec"].average
    assert average is not None
    assert all(torch.equal(task.codec.state_dict()[name], value) for name, value in average.items())


def test_a_bfloat16_step_is_close_to_a_float32_one(cache: Path, tmp_path: Path) -> None:
    losses = []
    for bfloat16 in (False, True):
        task = CodecTask(TINY, SETTINGS, cache, bfloat16=bfloat16)
        loop = TrainingLoop(task, tmp_path / str(bfloat16))
        losses.append(loss_of(loop.train_step(0.1)))
        assert all(p.dtype == torch.float32 for p in task.codec.parameters())
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_drawn_conditions_are_possible_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = draw_conditions(NeuralConfig(), 64, 40, generator)
    assert not drawn.available[:, 0].any()
    assert not drawn.available[:, 1, 1].any()
    # The packet before the last is only ever used beside the last one.
    assert not (drawn.available[..., 1] & ~drawn.available[..., 0]).any()
    assert 0 < drawn.lost.float().mean() < 0.1
