"""Training of research models: it learns, keeps to a rate, and follows from the seed alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamcodec.models.discriminator import DiscriminatorConfig
from streamcodec.research.models.base import ResearchModel
from streamcodec.research.models.frequency_conv import FrequencyConvConfig
from streamcodec.research.models.registry import build_model
from streamcodec.research.models.representations import RepresentationConfig
from streamcodec.research.training.losses import LOSSES, CropSource, Distortion, PricedModel, ResearchTraining
from streamcodec.research.training.task import ResearchTask, research_task
from streamcodec.training.adversarial_task import AdversarialConfig, AdversarialTask
from streamcodec.training.data import DatasetError
from streamcodec.training.loop import RunLimits, TrainingLoop
from streamcodec.training.task import TrainingTask

SMALL = FrequencyConvConfig(RepresentationConfig(fft_samples=256, hop_samples=128), (4, 8), 2, 16)


def material() -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(1)
    time = np.arange(16_000) / 16_000
    return [
        np.asarray(
            np.sin(2 * np.pi * (150 * k + 300 * time) * time) * 0.4 + 0.02 * rng.standard_normal(16_000), np.float32
        )
        for k in range(1, 5)
    ]


def train(folder: Path, settings: ResearchTraining, stop: int | None = None) -> tuple[ResearchModel, PricedModel]:
    torch.manual_seed(0)
    model = build_model("frequency-conv", SMALL)
    task = research_task(model, material(), settings)
    TrainingLoop(task, folder, settings.seed).run(RunLimits(max_steps=stop or settings.max_steps))
    priced = task.modules["model"].module
    assert isinstance(priced, PricedModel)
    return model, priced


def test_distortion_falls(tmp_path: Path) -> None:
    settings = ResearchTraining(max_steps=80, segment_s=0.2, first_price=0.0, learning_rate=5e-3)
    batch = CropSource(material(), 3200, seed=9).batch(0, 8)
    torch.manual_seed(0)
    fresh = build_model("frequency-conv", SMALL)
    fresh.calibrate(CropSource(material(), 3200, settings.seed).batch(2**31, 32))
    model, _ = train(tmp_path, settings)
    distortion = Distortion("l1", 16_000)
    with torch.no_grad():
        before, after = (float(distortion(m, m.eval()(batch))) for m in (fresh, model))
    assert after < 0.85 * before


def test_the_price_steers_the_rate(tmp_path: Path) -> None:
    rates = []
    for target in (0.25, 1.5):
        settings = ResearchTraining(max_steps=60, segment_s=0.2, target_kbps=target, first_price=1e-3)
        _, priced = train(tmp_path / str(target), settings)
        batch = CropSource(material(), 3200, seed=9).batch(0, 8)
        with torch.no_grad():
            figures = priced.eval().code(batch).figures
        rates.append(float(figures["kbps"]))  # type: ignore[arg-type]
    assert rates[0] < 0.5 * rates[1]


def test_the_same_seed_gives_the_same_weights_resumed_or_not(tmp_path: Path) -> None:
    settings = ResearchTraining(max_steps=8, segment_s=0.2, target_kbps=1.0)
    whole, _ = train(tmp_path / "whole", settings)
    train(tmp_path / "broken", settings, stop=3)
    resumed, _ = train(tmp_path / "broken", settings)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


JUDGED = ResearchTraining(
    max_steps=6,
    segment_s=0.2,
    target_kbps=1.0,
    adversarial=AdversarialConfig(
        DiscriminatorConfig((512, 256), channels=4, layers=2),
        from_progress=0.3,
        head_start_steps=0,
        ramp_steps=2,
        crop_samples=2_400,
    ),
)


def run_to(folder: Path, settings: ResearchTraining, stop: int = 6) -> ResearchTask | AdversarialTask[ResearchTask]:
    torch.manual_seed(0)
    task = research_task(build_model("frequency-conv", SMALL), material(), settings)
    loop = TrainingLoop(task, folder, settings.seed)
    while loop.step < stop:
        loop.train_step(loop.step / settings.max_steps)
    loop.save()
    return task


def judged_to(folder: Path, stop: int = 6) -> AdversarialTask[ResearchTask]:
    task = run_to(folder, JUDGED, stop)
    assert isinstance(task, AdversarialTask)
    return task


def weights_of(task: TrainingTask) -> dict[str, Tensor]:
    modules = {name: module.module for name, module in task.modules.items()}
    return {f"{name}.{k}": v.clone() for name, m in modules.items() for k, v in m.state_dict().items()}


def test_a_judged_model_and_its_judge_both_move_and_resume_exactly(tmp_path: Path) -> None:
    early = judged_to(tmp_path / "broken", stop=2)
    before = weights_of(early)
    assert early.rounds == 0
    assert judged_to(tmp_path / "broken", stop=4).rounds == 2
    resumed, whole = judged_to(tmp_path / "broken"), judged_to(tmp_path / "whole")
    assert (resumed.rounds, resumed.balancer.norms) == (whole.rounds, whole.balancer.norms)
    after = weights_of(whole)
    for name, value in weights_of(resumed).items():
        assert torch.equal(value, after[name]), name
    for part in ("model.model.down", "model.model.up", "discriminator"):
        assert any(not torch.equal(before[k], v) for k, v in after.items() if k.startswith(part)), part


def test_a_judge_pulls_at_the_model_by_its_shares_alone(tmp_path: Path) -> None:
    assert JUDGED.adversarial is not None
    mute = dataclasses.replace(JUDGED.adversarial, adversarial_share=0.0, features_share=0.0)
    alone, unheard, heard = (
        weights_of(run_to(tmp_path / str(k), dataclasses.replace(JUDGED, adversarial=judge)))
        for k, judge in enumerate((None, mute, JUDGED.adversarial))
    )
    for name, value in alone.items():
        torch.testing.assert_close(unheard[name], value, msg=name)
    assert any(not torch.allclose(heard[name], value) for name, value in alone.items())


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_has_a_gradient_and_is_least_for_an_exact_copy(name: str) -> None:
    torch.manual_seed(0)
    model = build_model("frequency-conv", SMALL)
    batch = CropSource(material(), 4000, seed=1).batch(0, 2)
    model.calibrate(batch)
    distortion = Distortion(name, 16_000)
    found = model(batch)
    loss = distortion(model, found)
    loss.backward()
    assert model.to_latent.weight.grad is not None  # type: ignore[union-attr]
    found.features = found.target
    assert float(distortion(model, found)) < 0.05 * float(loss.detach())


def test_what_cannot_be_trained_on_is_one_sentence() -> None:
    with pytest.raises(DatasetError, match="longer than a crop"):
        CropSource(material(), 20_000, seed=1)
    with pytest.raises(DatasetError, match="choose from l1"):
        Distortion("hope", 16_000)
