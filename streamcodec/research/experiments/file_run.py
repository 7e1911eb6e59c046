"""A network trained on one file: stopped after so many epochs, then taken on until it gains no more."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from streamcodec.research.experiments.experiment import Context
from streamcodec.research.experiments.run_notes import note_run, read_note
from streamcodec.research.experiments.sounds import Float32Array
from streamcodec.research.models.registry import WEIGHTS_FILE, build_model, load_model, save_model
from streamcodec.research.models.unit_model import UnitModel
from streamcodec.research.training.file_task import FileTraining, file_task
from streamcodec.training.checkpoint import read_checkpoint
from streamcodec.training.function_task import MODEL
from streamcodec.training.learning_rate import validations_since_best
from streamcodec.training.loop import BEST, CHECKPOINT, LOG, RunLimits, TrainingLoop

LAST = "in the end"


@dataclass(frozen=True)
class Trained:
    """A network as it was at one point of its run."""

    name: str
    model: UnitModel
    epochs: int
    steps: int
    minutes: float
    """Clock time until then."""
    settled: bool | None = None
    """Of the last one: whether it had stopped improving, or was stopped."""


def train_on_file(
    context: Context,
    key: str,
    name: str,
    config: object,
    channels: Float32Array,
    settings: FileTraining,
    stops: Sequence[int],
    most_epochs: int | None,
) -> list[Trained]:
    """One run in ``runs/key``: the network after each number of epochs in ``stops``, and the best one in the end.

    Without ``most_epochs`` the last of ``stops`` is the end. Else the end is :attr:`FileTraining.patience` epochs
    without gain, or ``most_epochs``. What is there already is taken from the folder, and a run that was broken off,
    or ended at fewer epochs before it had settled, goes on.

    Shape: ``[channels, T]``.
    """
    folder = context.folder / "runs" / key
    names = [f"{stop} epochs" for stop in stops]
    ends = list(stops)
    if most_epochs is not None:
        names.append(LAST)
        ends.append(most_epochs)
    if not all(_ended(folder / each, epochs) for each, epochs in zip(names, ends, strict=True)):
        torch.manual_seed(context.seed)
        model = build_model(name, config)
        assert isinstance(model, UnitModel)
        sound = torch.from_numpy(channels)
        model.calibrate(sound)
        units = model.units(sound)
        loop = TrainingLoop(file_task(model, units, settings), folder, context.seed)
        steps = settings.steps(len(units))
        settled: bool | None = None
        with context.bar(f"training {key}") as update:
            for each, epochs in zip(names, ends, strict=True):
                if _ended(folder / each, epochs):
                    continue
                last = each == LAST
                if not last or validations_since_best(loop.scores) < settings.patience:
                    limits = RunLimits(
                        max_steps=epochs * steps,
                        checkpoint_minutes=0.5,
                        log_steps=steps,
                        validation_steps=steps,
                        patience=settings.patience if last else None,
                    )
                    loop.run(limits, lambda row: update(float(str(row["progress"])), f"epoch {loop.step // steps}"))
                settled = validations_since_best(loop.scores) >= settings.patience if last else None
                if last:
                    best = read_checkpoint(folder / BEST)
                    model.load_state_dict(best["players"][MODEL]["weights"])
                save_model(name, model, folder / each)
                note_run(folder / each, loop.step, loop.step // steps, loop.minutes_done, settled)
        if settled:
            for file in (CHECKPOINT, BEST):
                (folder / file).unlink(missing_ok=True)
    return [_read(folder / each) for each in names]


def _ended(folder: Path, epochs: int) -> bool:
    """Whether a network is final: so many epochs old, settled before, or all that was kept of its run."""
    if not (folder / WEIGHTS_FILE).is_file():
        return False
    done = read_note(folder)
    return done["epochs"] >= epochs or bool(done.get("settled")) or not (folder.parent / CHECKPOINT).is_file()


def _read(folder: Path) -> Trained:
    model = load_model(folder)
    assert isinstance(model, UnitModel)
    note = read_note(folder)
    settled = bool(note["settled"]) if "settled" in note else None
    return Trained(folder.name, model, int(note["epochs"]), int(note["steps"]), note["minutes"], settled)


def epoch_curve(context: Context, key: str) -> tuple[list[float], list[float]]:
    """Epochs, and the loss on the whole file after each."""
    lines = (context.folder / "runs" / key / LOG).read_text(encoding="utf-8").splitlines()
    losses = [row["validation"] for row in map(json.loads, lines) if "validation" in row]
    return [float(epoch) for epoch in range(1, len(losses) + 1)], losses


def epoch_errors(context: Context, key: str) -> tuple[list[float], list[float]]:
    """Epochs, and the root of each one's mean distortion: errors over the spread of the features, latents drawn."""
    lines = (context.folder / "runs" / key / LOG).read_text(encoding="utf-8").splitlines()
    errors = [math.sqrt(row["distortion"]) for row in map(json.loads, lines) if "distortion" in row]
    return [float(epoch) for epoch in range(1, len(errors) + 1)], errors


@torch.no_grad()
def without_rounding(model: UnitModel, channels: Float32Array) -> Float32Array:
    """Sound from latents as they are.

    Shape: ``[channels, T]`` -> the same.
    """
    sound = torch.from_numpy(channels)
    return _sound(model, model.unquantised(model.units(sound)), sound)


def linear_bound(model: UnitModel, channels: Float32Array) -> Float32Array:
    """Sound from as many principal components of this file's units as the model has latents.

    No linear network can do better with latents that are not rounded.

    Shape: ``[channels, T]`` -> the same.
    """
    return next(linear_bounds(model, channels, [sum(model.rows())]))


@torch.no_grad()
def linear_bounds(model: UnitModel, channels: Float32Array, counts: Sequence[int]) -> Iterator[Float32Array]:
    """:func:`linear_bound` for other numbers of latents than the model's own, one after the other.

    Shape: ``[channels, T]`` -> each the same.
    """
    sound = torch.from_numpy(channels)
    units = model.units(sound)
    flat = units.flatten(1).double()
    mean = flat.mean(0)
    _, directions = torch.linalg.eigh((flat - mean).T @ (flat - mean))
    for count in counts:
        strongest = directions.flip(1)[:, :count]
        kept = mean + (flat - mean) @ strongest @ strongest.T
        yield _sound(model, kept.float().reshape(units.shape), sound)


def _sound(model: UnitModel, units: Tensor, sound: Tensor) -> Float32Array:
    columns = model.representation.columns(sound.shape[1])
    features = model.joined(units, len(sound))[..., :columns]
    return np.asarray(model.invert(features, sound.shape[1]).numpy(), np.float32)
