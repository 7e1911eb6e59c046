"""The one training loop: any task, resumable to the bit, bounded by steps or minutes, with a log of its own."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from streamcodec.codec.files.output_file import write_whole
from streamcodec.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from streamcodec.training.distributed import DistributedGroup
from streamcodec.training.learning_rate import validations_since_best
from streamcodec.training.task import Counted, Figures, OptimiserStep, TrainedModule, TrainingError, TrainingTask

Report = Callable[[dict[str, object]], None]
CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
LOG = "log.jsonl"


@dataclass(frozen=True)
class RunLimits:
    """How long a run lasts (whichever bound is met first) and how often it writes.

    ``patience`` stops a run after that many validations without a better score; the best weights are in ``best.pt``.
    ``until_progress`` stops it early, where it stands on its way to those bounds: another call goes on.
    """

    minutes: float = math.inf
    max_steps: int | None = None
    until_progress: float = 1.0
    checkpoint_minutes: float = 3.0
    checkpoint_steps: int | None = None
    validation_steps: int | None = None
    patience: int | None = None
    log_steps: int = 25


class _OptimiserState:
    """A trained module with its optimiser and averaged weights."""

    def __init__(self, module: TrainedModule) -> None:
        self.module = module
        self.optimiser = module.make_optimiser()
        self.parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        self.average: dict[str, Tensor] | None = None
        self.start_average()

    def start_average(self) -> None:
        """Begin the moving average at the present weights."""
        if self.module.average_decay is not None:
            self.average = {k: v.detach().clone() for k, v in self.module.module.state_dict().items()}

    def move(self, loss: Tensor, rate: float, distributed: DistributedGroup) -> Tensor:
        """One optimiser step, none if the gradient is not finite; returns the gradient's norm."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["scale"] * rate
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward(inputs=self.parameters)  # type: ignore[no-untyped-call]
        distributed.average_gradients(self.parameters)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.module.optimiser.gradient_clip)
        if torch.isfinite(norm):
            self.optimiser.step()
        return norm

    def update_average(self, steps_done: int) -> None:
        """Let the averaged weights follow; early on faster, so that they forget the start."""
        if self.average is None or self.module.average_decay is None:
            return
        decay = min(self.module.average_decay, (1 + steps_done) / (10 + steps_done))
        names = [k for k, v in self.average.items() if v.dtype.is_floating_point]
        current = self.module.module.state_dict()
        torch._foreach_lerp_([self.average[k] for k in names], [current[k] for k in names], 1 - decay)

    def state(self) -> dict[str, Any]:
        """For the checkpoint."""
        weights = self.module.module.state_dict()
        return {"weights": weights, "average": self.average, "optimiser": self.optimiser.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state` gave."""
        self.module.module.load_state_dict(state["weights"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average = state["average"] or {k: v.clone() for k, v in state["weights"].items()}


@dataclass
class _Window:
    """Figures of the steps since the last line of the log, summed where they lie so that no step waits for them."""

    sums: dict[str, float | Tensor] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    """Steps that knew the figure: not every module is trained in every one."""
    by_case: dict[str, Counted] = field(default_factory=dict)
    steps: int = 0

    def add(self, figures: Figures) -> None:
        self.steps += 1
        for name, value in figures.items():
            if not isinstance(value, Counted):
                value = value.detach() if isinstance(value, Tensor) else value
                self.sums[name] = self.sums[name] + value if name in self.sums else value
                self.counts[name] += 1
            elif name in self.by_case:
                self.by_case[name].total += value.total
                self.by_case[name].count += value.count
            else:
                self.by_case[name] = Counted(value.total.clone(), value.count.clone())

    def means(self) -> dict[str, object]:
        means: dict[str, object] = {k: round(float(v) / self.counts[k], 4) for k, v in self.sums.items()}
        for name, value in self.by_case.items():
            means[name] = [round(float(v), 2) for v in value.total / value.count.clamp_min(1)]
        return means


class TrainingLoop:
    """State of one run; it goes on from wherever the run's folder says it stands.

    A module that the folder's checkpoint does not know starts afresh, so a second stage can join a finished first.
    Raises TrainingError if the folder holds a run of other networks.
    """

    def __init__(
        self, task: TrainingTask, run_folder: Path, seed: int = 1, distributed: DistributedGroup | None = None
    ) -> None:
        self.task = task
        self.folder = run_folder
        self.seed = seed
        self.distributed = distributed or DistributedGroup()
        self.optimiser_states = {name: _OptimiserState(module) for name, module in task.modules.items()}
        self.step = 0
        self.minutes_done = 0.0
        self.scores: list[float] = []
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / CHECKPOINT).is_file():
            self._restore(read_checkpoint(self.folder / CHECKPOINT, _device_of(task)))
        else:
            found = task.prepare()
            for optimiser_state in self.optimiser_states.values():
                self.distributed.same_for_all(optimiser_state.module.module.state_dict().values())
                optimiser_state.start_average()
            if found:
                self._append({"step": 0, **found})

    def save(self) -> None:
        """Write the run's checkpoint."""
        self._write(CHECKPOINT)

    def train_step(self, progress: float) -> Figures:
        """One step of every trained module; returns the figures of the step."""
        # Seeded step by step, a run needs no generator's state to go on exactly where it stood.
        self._seed((self.seed * 1_000_003 + self.step) * 1_009 + self.distributed.rank)
        figures: dict[str, float | Tensor | Counted] = {}
        moved = []
        for optimiser_step in self.task.optimiser_steps(self.step, progress):
            optimiser_state = self.optimiser_states[optimiser_step.module]
            rate = optimiser_state.module.schedule.rate(self.step, progress, self.scores)
            norm = optimiser_state.move(optimiser_step.loss, rate, self.distributed)
            moved.append(optimiser_state)
            figures.update(self._named(optimiser_step, norm))
        self.step += 1
        for optimiser_state in moved:
            optimiser_state.update_average(self.step)
        return figures

    def _seed(self, seed: int) -> None:
        """Seed what the task's device draws from; ``torch.manual_seed`` for all takes a tenth of a small step."""
        if _device_of(self.task).type == "cpu":
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)

    def _named(self, optimiser_step: OptimiserStep, norm: Tensor) -> Figures:
        """The figures of an optimiser step; the first module's plain, the others' under their name."""
        prefix = "" if optimiser_step.module == next(iter(self.optimiser_states)) else f"{optimiser_step.module}_"
        figures = {"loss": optimiser_step.loss.detach(), "grad_norm": norm, **optimiser_step.figures}
        return {prefix + name: value for name, value in figures.items()}

    def run(self, limits: RunLimits, report: Report | None = None) -> None:
        """Train until a limit is met, writing checkpoints and ``log.jsonl`` on the way."""
        began = last_save = last_log = time.monotonic()
        before = self.minutes_done
        window = _Window()
        while True:
            self.minutes_done = before + (time.monotonic() - began) / 60.0
            progress = self.minutes_done / limits.minutes
            if limits.max_steps is not None:
                progress = max(progress, self.step / limits.max_steps)
            progress = self.distributed.agree(progress)
            if progress >= min(limits.until_progress, 1.0):
                break
            window.add(self.train_step(progress))
            if window.steps == limits.log_steps:
                now = time.monotonic()
                self._log(progress, window, now - last_log, report)
                window, last_log = _Window(), now
            if limits.validation_steps is not None and self.step % limits.validation_steps == 0:
                self.validate()
                if limits.patience is not None and validations_since_best(self.scores) >= limits.patience:
                    break
            due = limits.checkpoint_steps is not None and self.step % limits.checkpoint_steps == 0
            if due or time.monotonic() - last_save > 60.0 * limits.checkpoint_minutes:
                self.save()
                last_save = time.monotonic()
        if window.steps:
            self._log(progress, window, time.monotonic() - last_log, report)
        self.save()

    def validate(self) -> float | None:
        """Score the averaged weights, keep them in ``best.pt`` if none were better; None if the task has no score."""
        self._seed(self.seed)
        with self.averaged(), torch.no_grad():
            score = self.task.validate()
        if score is None:
            return None
        score = self.distributed.agree(score)
        best = score < min(self.scores, default=math.inf)
        self.scores.append(score)
        self._append({"step": self.step, "validation": score})
        if best:
            self._write(BEST)
        return score

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within, every module that keeps averaged weights has them in place and is in evaluation mode."""
        optimiser_states = list(self.optimiser_states.values())
        current = [
            {k: v.clone() for k, v in optimiser_state.module.module.state_dict().items()}
            for optimiser_state in optimiser_states
        ]
        modes = [optimiser_state.module.module.training for optimiser_state in optimiser_states]
        for optimiser_state in optimiser_states:
            optimiser_state.module.module.eval()
            if optimiser_state.average is not None:
                optimiser_state.module.module.load_state_dict(optimiser_state.average)
        try:
            yield
        finally:
            for optimiser_state, weights, mode in zip(optimiser_states, current, modes, strict=True):
                optimiser_state.module.module.load_state_dict(weights)
                optimiser_state.module.module.train(mode)

    def _log(self, progress: float, window: _Window, seconds: float, report: Report | None) -> None:
        """Append the means of the steps in ``window`` to the log."""
        entry: dict[str, object] = {
            "step": self.step,
            "minutes": round(self.minutes_done, 2),
            "progress": round(progress, 4),
            **window.means(),
        }
        sound_s = window.steps * self.task.sound_s_per_step * self.distributed.size
        if sound_s:
            entry["audio_s_per_s"] = round(sound_s / seconds, 2)
        self._append(entry)
        if report is not None and self.distributed.rank == 0:
            report(entry)

    def _append(self, row: dict[str, object]) -> None:
        if self.distributed.rank == 0:
            with (self.folder / LOG).open("a") as handle:
                handle.write(json.dumps(row) + "\n")

    def _write(self, name: str) -> None:
        if self.distributed.rank != 0:
            return
        checkpoint: Checkpoint = {
            "step": self.step,
            "minutes_done": self.minutes_done,
            "scores": self.scores,
            "identity": dict(self.task.identity),
            "settings": self.task.settings(),
            "task": self.task.state(),
            "players": {name: optimiser_state.state() for name, optimiser_state in self.optimiser_states.items()},
        }
        write_checkpoint(checkpoint, self.folder / name)

    def _restore(self, stored: Checkpoint) -> None:
        if stored["identity"] != dict(self.task.identity):
            raise TrainingError(f"{self.folder} holds a run of another model configuration; choose another --output")
        for name, optimiser_state in self.optimiser_states.items():
            if name in stored["players"]:
                optimiser_state.load_state(stored["players"][name])
            self.distributed.same_for_all(optimiser_state.module.module.state_dict().values())
        self.step = stored["step"]
        self.minutes_done = stored["minutes_done"]
        self.scores = list(stored["scores"])
        self.task.load_state(stored["task"])
        if self.distributed.rank == 0:
            self._forget_later_rows()

    def _forget_later_rows(self) -> None:
        """Drop what a killed run logged after its last checkpoint: those steps are about to be run again."""
        log = self.folder / LOG
        lines = log.read_text().splitlines() if log.is_file() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= self.step]
        if len(kept) < len(lines):
            write_whole(log, "".join(f"{line}\n" for line in kept))


def _device_of(task: TrainingTask) -> torch.device:
    return next(next(iter(task.modules.values())).module.parameters()).device
