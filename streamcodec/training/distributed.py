"""The processes that train one network together, each on its own part of every batch (``torchrun``).

Gradients are averaged in one message per step; with one process nothing happens at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch import distributed as dist


@dataclass(frozen=True)
class DistributedGroup:
    """This process's place among ``size`` of them; rank 0 writes the run's files."""

    rank: int = 0
    size: int = 1

    def wait(self) -> None:
        """Return once every process has come here."""
        if self.size > 1:
            dist.barrier()

    def leave(self) -> None:
        """Leave the group; nothing can be exchanged after it."""
        if self.size > 1:
            dist.destroy_process_group()

    def same_for_all(self, tensors: Iterable[Tensor]) -> None:
        """Give every process rank 0's values, in place."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def agree(self, value: float) -> float:
        """Rank 0's value: clocks differ, decisions must not."""
        if self.size == 1:
            return value
        agreed = torch.tensor([value], dtype=torch.float64)
        if dist.get_backend() == "nccl":
            agreed = agreed.cuda()
        dist.broadcast(agreed, 0)
        return float(agreed)

    def average(self, tensor: Tensor) -> None:
        """Replace values by their mean over the processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
            tensor /= self.size

    def average_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes; a missing one counts as zero."""
        if self.size == 1:
            return
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([g.flatten() for g in gradients])
        self.average(flat)
        parts = torch.split(flat, [p.numel() for p in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)


def join_group(device: torch.device) -> DistributedGroup:
    """The group that ``torchrun`` started this process in, or a group of one."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return DistributedGroup()
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return DistributedGroup(dist.get_rank(), dist.get_world_size())
