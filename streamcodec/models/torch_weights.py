"""Stored weights, into the torch modules that they are named after."""

from __future__ import annotations

import torch
from torch import nn

from streamcodec.models.weights import Weights, floats_of


def load_weights(module: nn.Module, weights: Weights) -> None:
    """Fill ``module`` in float32; what is stored of constants that it computes itself is left out."""
    module.load_state_dict({name: torch.from_numpy(floats_of(weights[name]).copy()) for name in module.state_dict()})
