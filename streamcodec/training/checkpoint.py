"""Checkpoints: one file with all that a run needs to go on."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from streamcodec.codec.files.output_file import write_whole
from streamcodec.training.task import TrainingError

FORMAT = 2
CODEC = "codec"
"""Name of the codec among the trained modules."""

Checkpoint = dict[str, Any]
"""``step``, ``minutes_done``, ``scores``, ``identity``, ``settings``, ``task`` and ``modules``: by name ``weights``,
``average`` (None without a moving average) and ``optimiser``."""


def write_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write; the old file stays whole until the new one is complete. Raises FileFormatError."""
    packed = io.BytesIO()
    torch.save({"format": FORMAT, **checkpoint}, packed)
    write_whole(path, packed.getbuffer())


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Read a checkpoint; raises TrainingError for any other file."""
    if not path.is_file():
        raise TrainingError(f"there is no checkpoint {path}")
    try:
        stored = torch.load(path, map_location=device, weights_only=True)
    # The unpickler takes bytes of any other file for its instructions, and stops at whatever these cannot do.
    except Exception as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise TrainingError(f"{path} cannot be read as a checkpoint ({why})") from error
    if not isinstance(stored, dict) or stored.get("format") != FORMAT:
        raise TrainingError(f"{path} is no checkpoint that this version can read")
    return dict(stored)
