"""One vector for a sound of any length, and what scikit-learn is asked for."""

from __future__ import annotations

import importlib.util

import numpy as np
from numpy.typing import NDArray

from streamcodec.errors import StreamcodecError
from streamcodec.extras import command_for

Float32Array = NDArray[np.float32]


def pooled(features: Float32Array) -> Float32Array:
    """Mean and standard deviation over time.

    Shape: ``[..., frames, dims]`` -> ``[..., 2 * dims]``.
    """
    return np.concatenate([features.mean(-2), features.std(-2)], axis=-1).astype(np.float32)


def need_sklearn(purpose: str) -> None:
    """Raise StreamcodecError where scikit-learn is not installed."""
    if importlib.util.find_spec("sklearn") is None:
        raise StreamcodecError(f"{purpose} needs scikit-learn: run '{command_for('search')}' and try again")
