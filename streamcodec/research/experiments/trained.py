"""Training runs of an experiment: each in a folder of its own, resumed where it broke off, kept when done."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from streamcodec.research.experiments.experiment import Context
from streamcodec.research.experiments.run_notes import note_run
from streamcodec.research.experiments.sounds import held_back
from streamcodec.research.models.base import ResearchModel
from streamcodec.research.models.codec import ResearchCodec
from streamcodec.research.models.registry import WEIGHTS_FILE, build_model, load_model, save_model
from streamcodec.research.training.losses import ResearchTraining
from streamcodec.research.training.task import research_task
from streamcodec.training.checkpoint import read_checkpoint
from streamcodec.training.learning_rate import validations_since_best
from streamcodec.training.loop import BEST, CHECKPOINT, LOG, RunLimits, TrainingLoop

Float32Array = NDArray[np.float32]
LOG_LINES = 40
PATIENCE = 5
"""Validations without gain after which a network has settled."""
LEVEL = 0.01
"""Share gained in the last tenth of a run of given length below which it counts as settled."""
TABLE_S = 60.0
"""Seconds of training sound that entropy tables are fitted to."""


def settings_for(context: Context, **changes: object) -> ResearchTraining:
    """Training settings of the run's scale and seed, with changes."""
    scale = context.scale
    standard: dict[str, object] = {
        "batch_segments": scale.batch_segments,
        "segment_s": scale.segment_s,
        "max_steps": scale.steps,
        "seed": context.seed,
    }
    settings = ResearchTraining(**{**standard, **changes})  # type: ignore[arg-type]
    if scale.most_epochs is None:
        return settings
    # Steps of another size: the same epochs.
    shorter = scale.batch_segments * scale.segment_s / (settings.batch_segments * settings.segment_s)
    return dataclasses.replace(settings, max_steps=math.ceil(scale.steps * shorter))


def trained(
    context: Context,
    key: str,
    name: str,
    config: object,
    sounds: Sequence[Float32Array],
    settings: ResearchTraining,
    validation: Sequence[Float32Array] = (),
    validation_steps: int | None = None,
) -> ResearchCodec:
    """Train a research model in ``runs/key``, or take the finished one that lies there, and fit its tables.

    With ``validation`` the weights of the best validation are kept, and training stops after five without gain. Where
    the scale asks for epochs instead, every tenth sound is held back for a curve, one point an epoch, and all epochs
    are run: the learning rate falls along a cosine that ends there.
    """
    epochs = None if validation else context.scale.most_epochs
    if epochs is not None:
        sounds, validation = held_back(sounds)
        validation_steps = max(1, settings.max_steps // epochs)
    folder = context.folder / "runs" / key
    if not (folder / WEIGHTS_FILE).is_file():
        torch.manual_seed(context.seed)
        model = build_model(name, config, context.scale.rate_hz)
        task = research_task(model, sounds, settings, validation, context.scale.device)
        loop = TrainingLoop(task, folder, context.seed)
        limits = RunLimits(
            max_steps=settings.max_steps,
            checkpoint_minutes=2.0,
            log_steps=max(1, settings.max_steps // LOG_LINES),
            validation_steps=validation_steps if validation else None,
            patience=PATIENCE if validation and epochs is None else None,
        )
        with context.bar(f"training {key}") as update:
            loop.run(limits, lambda row: update(_number(row["progress"]), _rate_of(row)))
        if (folder / BEST).is_file() and epochs is None:
            next(iter(loop.optimiser_states.values())).module.module.load_state_dict(
                next(iter(read_checkpoint(folder / BEST)["players"].values()))["weights"]
            )
        save_model(name, model, folder)
        epoch_s = sum(sound.size for sound in sounds) / model.sample_rate_hz
        stopped = validations_since_best(loop.scores) >= PATIENCE if epochs is None else levelled(loop.scores)
        settled = stopped if loop.scores else None
        note_run(folder, loop.step, loop.step * task.sound_s_per_step / epoch_s, loop.minutes_done, settled)
        for file in (CHECKPOINT, BEST):
            (folder / file).unlink(missing_ok=True)
    return ResearchCodec.fit(load_model(folder), some_sound(sounds, load_model(folder)))


def levelled(scores: Sequence[float]) -> bool:
    """Whether the last tenth of the validations is no better than the tenth before it by one per cent."""
    tenth = max(1, len(scores) // 10)
    last, before = float(np.mean(scores[-tenth:])), float(np.mean(scores[-2 * tenth : -tenth] or [math.inf]))
    return last > (1.0 - LEVEL) * before


def some_sound(sounds: Sequence[Float32Array], model: ResearchModel) -> list[Float32Array]:
    """Beginnings of the sounds, a minute together."""
    each = max(model.sample_rate_hz // 2, round(TABLE_S * model.sample_rate_hz / len(sounds)))
    return [sound[:each] for sound in sounds]


def loss_curve(folder: Path, figure: str = "distortion") -> tuple[list[int], list[float]]:
    """Steps and distortion (or another figure) from a run's log."""
    rows = [json.loads(line) for line in (folder / LOG).read_text(encoding="utf-8").splitlines()]
    kept = [row for row in rows if math.isfinite(row.get(figure, math.nan))]
    return [row["step"] for row in kept], [row[figure] for row in kept]


def _rate_of(row: Mapping[str, object]) -> str:
    """The rate that a row of the log tells; none while a discriminator moves alone."""
    return f"{_number(row['kbps']):.1f} kbps" if "kbps" in row else ""


def _number(value: object) -> float:
    return float(str(value))
