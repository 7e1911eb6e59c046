"""Training of research models: it learns, keeps to a rate, and follows from the seed alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from streamcodec.models.research.base import ResearchModel
from streamcodec.models.research.frequency_conv import FrequencyConvConfig
from streamcodec.models.research.registry import build_model
from streamcodec.models.research.representations import RepresentationConfig
from streamcodec.training.data import DatasetError
from streamcodec.training.loop import RunLimits, TrainingLoop
from streamcodec.training.research import LOSSES, CropSource, Distortion, PricedModel, ResearchTraining, research_task

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
    priced = task.players["model"].module
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
            _, figures = priced.eval().loss(batch)
        rates.append(float(figures["kbps"]))  # type: ignore[arg-type]
    assert rates[0] < 0.5 * rates[1]


def test_the_same_seed_gives_the_same_weights_resumed_or_not(tmp_path: Path) -> None:
    settings = ResearchTraining(max_steps=8, segment_s=0.2, target_kbps=1.0)
    whole, _ = train(tmp_path / "whole", settings)
    train(tmp_path / "broken", settings, stop=3)
    resumed, _ = train(tmp_path / "broken", settings)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


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
