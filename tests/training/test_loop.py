"""The training loop by itself, on tasks of a few weights."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from streamcodec.training.function_task import FunctionTask
from streamcodec.training.learning_rate import Constant, Plateau, WarmupCosine, validations_since_best
from streamcodec.training.loop import RunLimits, TrainingLoop
from streamcodec.training.task import (
    Figures,
    OptimiserConfig,
    OptimiserStep,
    TrainedModule,
    TrainingError,
    TrainingTask,
)


def line_task(validation: list[float] | None = None, kind: str = "adamw", kill_at: int | None = None) -> FunctionTask:
    """A line fitted to noisy points; may kill its own process in the middle of a step."""
    torch.manual_seed(0)
    module = nn.Linear(3, 1)
    scores = iter(validation or [])

    def batches(step: int) -> Tensor:
        if step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.randn(8, 3, generator=torch.Generator().manual_seed(step))

    def loss(x: Tensor) -> tuple[Tensor, Figures]:
        # The second source of chance is torch's own generator.
        target = x.sum(1, keepdim=True) + 0.1 * torch.randn(8, 1)
        error = ((module(x) - target) ** 2).mean()
        return error, {"error": error}

    return FunctionTask(
        module,
        loss,
        batches,
        WarmupCosine(0.05, 0.001, 3),
        optimiser=OptimiserConfig("adam" if kind == "adam" else "adamw"),
        average_decay=0.9,
        validation=(lambda: next(scores)) if validation else None,
        sound_s_per_step=2.0,
    )


def weights_of(task: FunctionTask) -> Tensor:
    return torch.cat([p.detach().flatten() for p in task.modules["model"].module.parameters()])


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_a_killed_run_goes_on_bit_by_bit(tmp_path: Path, kind: str) -> None:
    limits = RunLimits(max_steps=12, checkpoint_steps=4, log_steps=2)
    whole = line_task(kind=kind)
    TrainingLoop(whole, tmp_path / "whole").run(limits)

    def doomed() -> None:
        TrainingLoop(line_task(kind=kind, kill_at=7), tmp_path / "killed").run(limits)

    process = multiprocessing.get_context("fork").Process(target=doomed)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    resumed = line_task(kind=kind)
    loop = TrainingLoop(resumed, tmp_path / "killed")
    assert loop.step == 4
    loop.run(limits)
    assert torch.equal(weights_of(resumed), weights_of(whole))
    ends = [torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "killed")]
    averages = [end["players"]["model"]["average"] for end in ends]
    assert all(torch.equal(averages[0][name], averages[1][name]) for name in averages[0])
    # What the killed run logged of steps that were lost is not logged twice.
    steps = [json.loads(line)["step"] for line in (tmp_path / "killed" / "log.jsonl").read_text().splitlines()]
    assert steps == [2, 4, 6, 8, 10, 12]


def test_the_log_holds_means_and_throughput(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = []
    TrainingLoop(line_task(), tmp_path).run(RunLimits(max_steps=60, log_steps=20), rows.append)
    assert rows == [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [20, 40, 60]
    assert float(str(rows[-1]["error"])) < 0.5 * float(str(rows[0]["error"]))
    assert float(str(rows[0]["audio_s_per_s"])) > 0


def test_patience_ends_a_run_and_the_best_weights_are_kept(tmp_path: Path) -> None:
    scores = [3.0, 2.0, 2.5, 2.2, 2.1, 1.0]
    loop = TrainingLoop(line_task(scores), tmp_path)
    loop.run(RunLimits(max_steps=100, validation_steps=2, patience=3))
    assert loop.scores == scores[:5]
    assert loop.step == 10
    best = torch.load(tmp_path / "best.pt", weights_only=True)
    assert best["step"] == 4
    assert TrainingLoop(line_task(scores), tmp_path).scores == scores[:5]


def test_validation_leaves_the_run_as_it_was(tmp_path: Path) -> None:
    plain, validated = line_task(), line_task([1.0] * 4)
    TrainingLoop(plain, tmp_path / "plain").run(RunLimits(max_steps=8))
    TrainingLoop(validated, tmp_path / "validated").run(RunLimits(max_steps=8, validation_steps=2))
    assert torch.equal(weights_of(plain), weights_of(validated))


def test_a_run_of_other_networks_is_not_resumed(tmp_path: Path) -> None:
    TrainingLoop(line_task(), tmp_path).save()
    other = FunctionTask(nn.Linear(4, 1), lambda x: (x.sum(), {}), torch.ones, Constant(0.1))
    with pytest.raises(TrainingError, match="another model configuration"):
        TrainingLoop(other, tmp_path)


def test_a_step_with_no_finite_gradient_moves_nothing(tmp_path: Path) -> None:
    module = nn.Linear(2, 1)
    before = module.weight.detach().clone()
    task = FunctionTask(
        module, lambda x: (module(x).sum() * torch.inf, {}), lambda step: torch.ones(1, 2), Constant(1)
    )
    TrainingLoop(task, tmp_path).run(RunLimits(max_steps=3))
    assert torch.equal(module.weight, before)


class Duel(TrainingTask):
    """Two weights with opposite wishes for their product; each turn sees what the turn before has done."""

    def __init__(self) -> None:
        self.linears = {name: nn.Linear(1, 1, bias=False) for name in ("maker", "judge")}
        for linear in self.linears.values():
            nn.init.ones_(linear.weight)
        optimiser = OptimiserConfig(weight_decay=0.0, gradient_clip=10.0)
        self.modules = {
            name: TrainedModule(linear, Constant(0.1), optimiser) for name, linear in self.linears.items()
        }
        self.identity = {"shape": "duel"}
        self.seen: list[tuple[float, ...]] = []

    def optimiser_steps(self, step: int, progress: float) -> Iterator[OptimiserStep]:
        maker, judge = (linear.weight.sum() for linear in self.linears.values())
        yield OptimiserStep("maker", -maker * judge, {})
        self.seen.append(tuple(float(linear.weight.detach()) for linear in self.linears.values()))
        maker, judge = (linear.weight.sum() for linear in self.linears.values())
        if step % 2 == 0:
            yield OptimiserStep("judge", maker * judge, {"product": maker * judge})


def test_modules_take_turns_and_touch_their_own_weights_only(tmp_path: Path) -> None:
    task = Duel()
    loop = TrainingLoop(task, tmp_path)
    figures = loop.train_step(0.0)
    assert task.seen == [(pytest.approx(1.1), 1.0)]
    assert float(task.linears["judge"].weight.detach()) == pytest.approx(0.9)
    assert {"loss", "grad_norm", "judge_loss", "judge_product"} <= figures.keys()
    loop.train_step(0.1)
    assert float(task.linears["judge"].weight.detach()) == pytest.approx(0.9)
    loop.save()
    again = Duel()
    TrainingLoop(again, tmp_path).train_step(0.2)
    loop.train_step(0.2)
    assert all(torch.equal(again.linears[k].weight, task.linears[k].weight) for k in task.linears)


def test_schedules() -> None:
    cosine = WarmupCosine(1.0, 0.1, 4)
    assert [cosine.rate(step, 0.0, ()) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert cosine.rate(10, 0.5, ()) == pytest.approx(0.55)
    assert cosine.rate(10, 1.0, ()) == pytest.approx(0.1)
    plateau = Plateau(1.0)
    assert plateau.rate(0, 0.0, [3, 2, 2.5, 2.5]) == 1.0
    assert plateau.rate(0, 0.0, [3, 2, 2.5, 2.5, 2.5]) == pytest.approx(0.2)
    assert plateau.rate(0, 0.0, [3, 2, 2.5, 2.5, 2.5, 1, 1, 1, 1]) == pytest.approx(0.04)
    assert Plateau(1.0, least=0.1).rate(0, 0.0, [1.0] * 20) == 0.1
    assert (validations_since_best([]), validations_since_best([2, 1, 3, 1])) == (0, 2)
