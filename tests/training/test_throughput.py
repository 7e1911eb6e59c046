"""Measuring speed leaves a task as it was, and a run keeps the precision it was begun with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from streamcodec.training import codec_run
from streamcodec.training.adversarial_task import AdversarialConfig, AdversarialTask
from streamcodec.training.codec_run import CodecRunOptions, choose_device, settings_of, start_run, time_options
from streamcodec.training.codec_task import CodecTask
from streamcodec.training.task import TrainingError
from streamcodec.training.throughput import Option, audio_s_per_s, bfloat16_is_faster
from tests.helpers.adversarial import SMALL
from tests.helpers.tiny_model import SETTINGS, TINY


@pytest.fixture
def asked(cache: Path, tmp_path: Path) -> CodecRunOptions:
    return CodecRunOptions(
        data=[cache.parents[1] / "speech"],
        folder=tmp_path,
        cache=cache.parent,
        model=TINY,
        batch_segments=2,
        device="cpu",
        bfloat16="off",
    )


def test_timing_leaves_the_task_as_it_was(cache: Path) -> None:
    task = AdversarialTask(CodecTask(TINY, SETTINGS, cache), SMALL)
    before = {k: v.clone() for k, v in task.judged.codec.state_dict().items()}
    assert audio_s_per_s(task, steps=1) > 0
    assert task.rounds == 0
    assert task.balancer.norms == {}
    assert all(torch.equal(before[k], v) for k, v in task.judged.codec.state_dict().items())
    assert all(p.grad is None for p in task.judged.codec.parameters())
    assert bfloat16_is_faster(task) is task.judged.bfloat16


def test_a_resumed_run_keeps_its_precision(asked: CodecRunOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    first = start_run(dataclasses.replace(asked, bfloat16="on"))
    first.loop.save()

    def never(task: object) -> bool:
        raise AssertionError("measured again")

    monkeypatch.setattr(codec_run, "bfloat16_is_faster", never)
    assert start_run(dataclasses.replace(asked, bfloat16="auto")).codec_task.bfloat16 is True


def test_an_adversarial_run_wants_something_to_start_on(asked: CodecRunOptions) -> None:
    adversarial = dataclasses.replace(asked, adversarial_from=0.0)
    with pytest.raises(TrainingError, match="--start-from"):
        start_run(adversarial)
    start_run(asked).loop.save()
    joined = start_run(adversarial)
    assert "discriminator" in joined.loop.optimiser_states
    assert settings_of(adversarial).learning_rate < settings_of(asked).learning_rate
    own = settings_of(dataclasses.replace(adversarial, learning_rate=5e-5))
    assert (own.learning_rate, own.final_learning_rate) == (5e-5, pytest.approx(5e-5 / 15))


def test_every_option_can_be_timed(asked: CodecRunOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    options = [Option("cpu", 1, True, 2, False), Option("cpu", 1, False, 3, True)]
    monkeypatch.setattr(codec_run, "options_here", lambda: options)
    monkeypatch.setattr(codec_run, "AdversarialConfig", lambda **options: AdversarialConfig(SMALL.discriminator))
    timed = list(time_options(asked))
    assert [option for option, _ in timed] == options
    assert all(speed > 0 for _, speed in timed)


def test_unknown_devices_are_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == "cpu"
    for name in ("cuda", "toaster"):
        with pytest.raises(TrainingError):
            choose_device(name)
