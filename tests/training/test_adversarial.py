"""The adversarial stage: shares are kept, players stay apart, runs resume exactly."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from streamcodec.models.discriminator import Discriminator, DiscriminatorConfig
from streamcodec.training.adversarial_task import AdversarialConfig, AdversarialTask
from streamcodec.training.codec_task import CodecTask
from streamcodec.training.loop import RunLimits, TrainingLoop
from streamcodec.training.loss_balancer import Balancer
from tests.helpers.adversarial import SMALL
from tests.helpers.tiny_model import SETTINGS, TINY


def adversary(cache: Path, config: AdversarialConfig = SMALL) -> AdversarialTask[CodecTask]:
    return AdversarialTask(CodecTask(TINY, SETTINGS, cache), config)


def test_size_of_the_shipped_discriminator() -> None:
    weights = sum(p.numel() for p in Discriminator(DiscriminatorConfig(), 24_000).parameters())
    assert 50_000 < weights < 500_000


def test_the_discriminator_is_blind_above_the_trusted_band() -> None:
    torch.manual_seed(0)
    judge = Discriminator(DiscriminatorConfig((512,), channels=4, layers=2, top_hz=12_000.0), 24_000)
    low = 0.1 * torch.randn(1, 4_800)
    high = low + 0.1 * torch.sin(2 * torch.pi * 11_000 * torch.arange(4_800) / 24_000)
    narrow, wide = torch.tensor([6_000.0]), torch.tensor([12_000.0])
    assert torch.allclose(judge(low, narrow)[0].score, judge(high, narrow)[0].score, atol=0.02)
    assert not torch.allclose(judge(low, wide)[0].score, judge(high, wide)[0].score, atol=0.02)
    nearby = Discriminator(DiscriminatorConfig((512,), channels=4, layers=2, top_hz=6_000.0), 24_000)
    assert torch.allclose(nearby(low, wide)[0].score, nearby(high, wide)[0].score, atol=0.02)


def test_the_balancer_keeps_shares_whatever_the_scale() -> None:
    torch.manual_seed(0)
    shares = {"adversarial": 0.3, "features": 0.6}
    balancer = Balancer(shares, decay=0.9)
    for step in range(20):
        out = torch.randn(4, 100, requires_grad=True)
        # Each loss pulls at a part of its own of the output, so its part of the gradient can be told apart.
        reference, adversarial, features = out[0].square().sum(), 1e-4 * out[1].sum(), 1e5 * out[2].square().sum()
        others = {"adversarial": adversarial, "features": features}
        (gradient,) = torch.autograd.grad(balancer.combine(reference, others, [out], ramp=1.0), out)
        torch.testing.assert_close(gradient[0], 2 * out[0].detach())
        if step > 5:
            pull = gradient.norm(dim=1) / gradient[0].norm()
            assert float(pull[1]) == pytest.approx(0.3, rel=0.35)
            assert float(pull[2]) == pytest.approx(0.6, rel=0.35)
    out = torch.randn(4, 100, requires_grad=True)
    quiet = balancer.combine(out[0].square().sum(), {"adversarial": out[1].sum()}, [out], ramp=0.0)
    assert not torch.autograd.grad(quiet, out)[0][1].any()


def test_a_stage_resumes_exactly_and_both_players_learn(cache: Path, tmp_path: Path) -> None:
    whole = adversary(cache)
    begin = {k: v.clone() for k, v in whole.discriminator.state_dict().items()}
    TrainingLoop(whole, tmp_path / "whole").run(RunLimits(max_steps=4))
    first = TrainingLoop(adversary(cache), tmp_path / "broken")
    for step in range(2):
        figures = first.train_step(step / 4)
    assert {"loss", "adversarial", "features", "discriminator_loss", "discriminator_right", "mel"} <= figures.keys()
    first.save()
    resumed = adversary(cache)
    TrainingLoop(resumed, tmp_path / "broken").run(RunLimits(max_steps=4))
    assert resumed.rounds == whole.rounds == 4
    pairs = (
        (resumed.discriminator, whole.discriminator),
        (resumed.judged.codec, whole.judged.codec),
    )
    for ours, theirs in pairs:
        for name, value in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[name], value), name
    assert any(not torch.equal(begin[k], v) for k, v in whole.discriminator.state_dict().items())


def test_the_stage_starts_at_its_progress_or_on_a_regression_run(cache: Path, tmp_path: Path) -> None:
    late = dataclasses.replace(SMALL, from_progress=0.5)
    loop = TrainingLoop(adversary(cache, late), tmp_path / "late")
    assert "adversarial" not in loop.train_step(0.4)
    assert "adversarial" in loop.train_step(0.5)
    regression = TrainingLoop(CodecTask(TINY, SETTINGS, cache), tmp_path / "codec")
    regression.train_step(0.0)
    regression.save()
    joined = adversary(cache)
    loop = TrainingLoop(joined, tmp_path / "codec")
    assert (loop.step, joined.rounds) == (1, 0)
    assert "adversarial" in loop.train_step(0.5)


def test_the_discriminator_has_a_head_start(cache: Path, tmp_path: Path) -> None:
    task = adversary(cache, dataclasses.replace(SMALL, head_start_steps=2))
    loop = TrainingLoop(task, tmp_path)
    for step in range(4):
        before = [
            {k: v.clone() for k, v in optimiser_state.module.module.state_dict().items()}
            for optimiser_state in loop.optimiser_states.values()
        ]
        figures = loop.train_step(0.5)
        codec_moved, judge_moved = (
            any(not torch.equal(old[k], v) for k, v in optimiser_state.module.module.state_dict().items())
            for optimiser_state, old in zip(loop.optimiser_states.values(), before, strict=True)
        )
        assert judge_moved
        assert codec_moved == ("loss" in figures) == (step >= 2)


def test_the_log_tells_the_mean_of_the_steps_that_knew_a_figure(cache: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(SMALL, head_start_steps=2)
    TrainingLoop(adversary(cache, config), tmp_path / "logged").run(RunLimits(max_steps=3, log_steps=3))
    logged = json.loads((tmp_path / "logged" / "log.jsonl").read_text().splitlines()[-1])
    twin = TrainingLoop(adversary(cache, config), tmp_path / "twin")
    steps = [twin.train_step(k / 3) for k in range(3)]
    assert ["loss" in figures for figures in steps] == [False, False, True]
    assert logged["loss"] == pytest.approx(float(steps[2]["loss"]), abs=1e-3)  # type: ignore[arg-type]
    judged = [float(figures["discriminator_loss"]) for figures in steps]  # type: ignore[arg-type]
    assert logged["discriminator_loss"] == pytest.approx(sum(judged) / 3, abs=1e-3)


def test_the_discriminator_learns_to_tell() -> None:
    torch.manual_seed(0)
    judge = Discriminator(DiscriminatorConfig((256,), channels=8, layers=2, top_hz=12_000.0), 24_000)
    optimiser = torch.optim.Adam(judge.parameters(), lr=3e-3)
    band, t = torch.full((4,), 12_000.0), torch.arange(4_800) / 24_000
    for _ in range(40):
        noise = 0.1 * torch.randn(4, 4_800)
        tone = 0.1 * torch.sin(2 * torch.pi * (500 + 4_000 * torch.rand(4, 1)) * t)
        real, fake = judge(noise, band)[0].score, judge(tone, band)[0].score
        loss = torch.nn.functional.softplus(fake - real).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.3, "log 2 is what a judge that knows nothing gets"
