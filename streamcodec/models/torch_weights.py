"""Weights out of a shipped ONNX step graph, into the torch module that it was exported from."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from streamcodec.models.onnx_weights import IntegerMatrix, read_weights


def load_weights(module: nn.Module, path: Path) -> None:
    """Fill ``module`` with what stands in the graph, in float32; raises ModelError where something is missing."""
    wanted = {name: tuple(values.shape) for name, values in module.state_dict().items()}
    found = read_weights(path, wanted)
    arrays = {n: found_n.floats() if isinstance(found_n, IntegerMatrix) else found_n for n, found_n in found.items()}
    module.load_state_dict({name: torch.from_numpy(values) for name, values in arrays.items()})
