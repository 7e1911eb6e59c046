"""Checkpoints: one file with all that a run needs to go on, and the older form of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from streamcodec.models.config import NeuralConfig
from streamcodec.training.task import TrainingError

FORMAT = 2
CODEC = "codec"
"""Name of the codec among the players."""

Checkpoint = dict[str, Any]
"""``step``, ``minutes_done``, ``scores``, ``identity``, ``settings``, ``task`` and ``modules``: by name ``weights``,
``average`` (None without a moving average) and ``optimiser``."""


def write_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write; the old file stays whole until the new one is complete."""
    temporary = path.with_suffix(".tmp")
    torch.save({"format": FORMAT, **checkpoint}, temporary)
    temporary.replace(path)


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Read a checkpoint of this form or the older one; raises TrainingError for any other file."""
    stored = torch.load(path, map_location=device, weights_only=True)
    if "training_config" in stored:
        stored = _from_format_1(stored)
    if stored.get("format") != FORMAT:
        raise TrainingError(f"{path} is no checkpoint that this version can read")
    return dict(stored)


def _from_format_1(stored: Checkpoint) -> Checkpoint:
    """Format 1 knew a single codec and nothing else."""
    return {
        "format": FORMAT,
        "step": stored["step"],
        "minutes_done": stored["minutes_done"],
        "scores": [],
        "identity": {"model_config": _with_both_expansions(stored["model_config"])},
        "settings": stored["training_config"],
        "task": {},
        "players": {
            CODEC: {"weights": stored["codec"], "average": stored["ema"], "optimiser": stored["optimiser"]},
        },
    }


def _with_both_expansions(model_config: str) -> str:
    """The oldest checkpoints name one expansion for both sides."""
    fields = json.loads(model_config)
    if "expansion" in fields:
        expansion = fields.pop("expansion")
        fields |= {"encoder_expansion": expansion, "decoder_expansion": expansion}
    return NeuralConfig.from_json(json.dumps(fields)).to_json()
