"""How fast this machine trains: seconds of sound per second, of a task as it is or of the options there are."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch

from streamcodec.training.adversarial_task import AdversarialTask
from streamcodec.training.codec_task import CodecTask
from streamcodec.training.task import TrainingTask

TIMED_STEPS = 3


@dataclass(frozen=True)
class Option:
    """One way of training that this machine allows."""

    device: str
    threads: int
    bfloat16: bool
    batch_segments: int
    adversarial: bool


def audio_s_per_s(task: TrainingTask, steps: int = TIMED_STEPS) -> float:
    """Seconds of sound that ``task`` passes forward and backward in a second; leaves the task as it was.

    Counts the fastest step: a step is held up by other programs, never sped up by them.
    """
    kept = copy.deepcopy(task.state())
    if isinstance(task, AdversarialTask):
        task.end_head_start()
    parameters = {
        name: [p for p in module.module.parameters() if p.requires_grad] for name, module in task.modules.items()
    }
    on_gpu = next(iter(parameters.values()))[0].is_cuda
    fastest_s = float("inf")
    # The first step allocates and tunes, the others count.
    for step in range(1 + steps):
        began = time.perf_counter()
        for optimiser_step in task.optimiser_steps(step, progress=1.0):
            optimiser_step.loss.backward(inputs=parameters[optimiser_step.module])  # type: ignore[no-untyped-call]
        for parameter in (p for of_module in parameters.values() for p in of_module):
            parameter.grad = None
        if on_gpu:
            torch.cuda.synchronize()
        if step:
            fastest_s = min(fastest_s, time.perf_counter() - began)
    task.load_state(kept)
    return task.sound_s_per_step / fastest_s


def codec_task_of(task: CodecTask | AdversarialTask[CodecTask]) -> CodecTask:
    """The codec's part of either stage."""
    return task.judged if isinstance(task, AdversarialTask) else task


def bfloat16_is_faster(task: CodecTask | AdversarialTask[CodecTask]) -> bool:
    """Try a few steps each way; leaves the faster one set and says which."""
    codec_task = codec_task_of(task)
    speed = {}
    for bfloat16 in (False, True):
        codec_task.bfloat16 = bfloat16
        speed[bfloat16] = audio_s_per_s(task)
    codec_task.bfloat16 = speed[True] > speed[False]
    return codec_task.bfloat16


def options_here(gpu_batches: Iterable[int] = (16, 64, 256)) -> Iterator[Option]:
    """Every option worth timing on this machine; batches matter on a GPU alone."""
    threads = torch.get_num_threads()
    for adversarial in (False, True):
        for bfloat16 in (False, True):
            for count in sorted({1, threads}):
                yield Option("cpu", count, bfloat16, 8, adversarial)
            if torch.cuda.is_available():
                for batch in gpu_batches:
                    yield Option("cuda", threads, bfloat16, batch, adversarial)


def benchmark(
    make_task: Callable[[Option], TrainingTask], options: Iterable[Option]
) -> Iterator[tuple[Option, float]]:
    """Time each option; yields it with its seconds of sound per second."""
    threads = torch.get_num_threads()
    try:
        for option in options:
            torch.set_num_threads(option.threads)
            yield option, audio_s_per_s(make_task(option))
    finally:
        torch.set_num_threads(threads)
