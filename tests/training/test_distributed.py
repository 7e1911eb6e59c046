"""Several processes train one network: the same weights everywhere, the gradient of the whole batch."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from streamcodec.training.codec_task import CodecTask
from streamcodec.training.distributed import DistributedGroup, join_group
from streamcodec.training.function_task import FunctionTask
from streamcodec.training.learning_rate import Constant
from streamcodec.training.loop import RunLimits, TrainingLoop
from streamcodec.training.task import Figures
from tests.helpers.tiny_model import SETTINGS, TINY

SIZE = 2


def in_a_group(work: Callable[[DistributedGroup], None]) -> None:
    """Run ``work`` in two processes as ``torchrun`` would start them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def member(rank: int) -> None:
        os.environ.update(
            RANK=str(rank), WORLD_SIZE=str(SIZE), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK=str(rank)
        )
        distributed = join_group(torch.device("cpu"))
        work(distributed)
        distributed.leave()

    members = [multiprocessing.get_context("fork").Process(target=member, args=(rank,)) for rank in range(SIZE)]
    for process in members:
        process.start()
    for process in members:
        process.join(60)
        assert process.exitcode == 0


def line_task(rank: int, size: int) -> FunctionTask:
    """A line fitted to points, each member to its own part of them; members start apart."""
    torch.manual_seed(rank)
    module = nn.Linear(3, 1)

    def loss(x: Tensor) -> tuple[Tensor, Figures]:
        return ((module(x) - x.sum(1, keepdim=True)) ** 2).mean(), {}

    def batches(step: int) -> Tensor:
        return torch.randn(8, 3, generator=torch.Generator().manual_seed(step))[rank::size]

    return FunctionTask(module, loss, batches, Constant(0.05), sound_s_per_step=1.0)


def test_a_team_takes_the_step_of_the_whole_batch(tmp_path: Path) -> None:
    alone = line_task(0, 1)
    TrainingLoop(alone, tmp_path / "alone").run(RunLimits(max_steps=5))

    def work(distributed: DistributedGroup) -> None:
        task = line_task(distributed.rank, distributed.size)
        TrainingLoop(task, tmp_path / "team", distributed=distributed).run(RunLimits(max_steps=5))
        torch.save(task.modules["model"].module.state_dict(), tmp_path / f"{distributed.rank}.pt")

    in_a_group(work)
    weights = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(SIZE)]
    for name, value in alone.modules["model"].module.state_dict().items():
        assert torch.equal(weights[0][name], weights[1][name])
        torch.testing.assert_close(weights[0][name], value)


def test_a_team_trains_the_codec_and_resumes_exactly(cache: Path, tmp_path: Path) -> None:
    def work(distributed: DistributedGroup) -> None:
        for folder, stops in (("whole", (2,)), ("broken", (1, 2))):
            for stop in stops:
                task = CodecTask(TINY, SETTINGS, cache, distributed=distributed)
                loop = TrainingLoop(task, tmp_path / folder, distributed=distributed)
                while loop.step < stop:
                    loop.train_step(loop.step / 2)
                loop.save()
                distributed.wait()
            torch.save(task.codec.state_dict(), tmp_path / f"{folder}{distributed.rank}.pt")

    in_a_group(work)
    first, *others = (
        torch.load(tmp_path / f"{folder}{rank}.pt", weights_only=True)
        for folder in ("whole", "broken")
        for rank in range(SIZE)
    )
    for other in others:
        assert all(torch.equal(first[name], other[name]) for name in first)
    rows = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0]
