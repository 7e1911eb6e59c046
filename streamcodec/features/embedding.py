"""One vector for the latents of a whole sound, and what makes vectors of many sounds comparable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
FLOOR = 0.01
"""Added to spreads before their logarithm."""
SHRINKAGE = 1.0
"""What whitening adds to every variance, in mean variances of the directions that can vary among so many sounds."""
FEWEST = 3
"""Sounds that whitening is learnt from at least."""


def embedding(features: Float32Array, described: int) -> Float32Array:
    """What a sound is like as a whole.

    Means of the first ``described`` dimensions, and the logarithms of every dimension's standard deviation and mean
    step from frame to frame. Of latents, ``described`` are those of the spectral envelope: the others follow the
    waveform, whose sign makes their means worthless.

    Shape: ``[frames, dims]``, a frame at least -> ``[described + 2 * dims]``.
    """
    values = features.astype(np.float64)
    steps = np.abs(np.diff(values, axis=0, prepend=values[:1])).mean(0)
    spread = np.log(np.concatenate([values.std(0), steps]) + FLOOR)
    return np.concatenate([values.mean(0)[:described], spread]).astype(np.float32)


@dataclass(frozen=True)
class Whitening:
    """Turns embeddings so that among the sounds it was learnt from no direction drowns the others.

    Shape: centre ``[dims]``, matrix ``[dims, dims]``.
    """

    centre: Float64Array
    matrix: Float64Array

    @classmethod
    def learn(cls, vectors: Float32Array) -> Whitening:
        """From the embeddings of a collection; of fewer than three sounds nothing is learnt.

        Shape: ``[sounds, dims]``.
        """
        dims = vectors.shape[1]
        if len(vectors) < FEWEST:
            return cls(np.zeros(dims), np.eye(dims))
        centre, spread = vectors.mean(0, dtype=np.float64), vectors.std(0, dtype=np.float64)
        scale = 1.0 / np.where(spread > 0.0, spread, 1.0)
        standard = (vectors - centre) * scale
        variances, directions = np.linalg.eigh(standard.T @ standard / len(vectors))
        mean = float(variances.sum()) / min(dims, len(vectors) - 1)
        gain = 1.0 / np.sqrt(np.maximum(variances, 0.0) + SHRINKAGE * max(mean, 1e-9))
        return cls(centre, scale[:, None] * directions * gain)

    def apply(self, vectors: Float32Array) -> Float64Array:
        """Shape: ``[sounds, dims]`` -> the same."""
        return np.asarray((vectors - self.centre) @ self.matrix)
