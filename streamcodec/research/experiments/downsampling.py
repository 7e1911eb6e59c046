"""The baseline every learned codec has to beat: fewer samples, coarser steps, the same range coder."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamcodec.evaluation.alignment import resample
from streamcodec.evaluation.spectral import log_spectral_distance
from streamcodec.evaluation.systems import Coded
from streamcodec.research.models.latent_coder import LatentCoder

Float32Array = NDArray[np.float32]
FACTORS = (1, 2, 4, 8, 16, 32, 64)
STEPS_PER_OCTAVE = 4
COARSEST, FINEST = 1, -15
"""Log2 of the step, full scale 1."""
HEADER_BYTES = 6
"""Number of samples, rate and step."""


class Downsampling:
    """Codes a sound at ``kbps``: of all rates, each with the finest step that fits, the one of least log-spectral
    distance. Tables of the steps' numbers are fitted to training sound.
    """

    def __init__(self, training: Sequence[Float32Array], sample_rate_hz: int) -> None:
        self._training = np.concatenate(list(training))
        self._rate_hz = sample_rate_hz

    @functools.cached_property
    def _lowered(self) -> dict[int, NDArray[np.float64]]:
        return {factor: self._lower(self._training, factor) for factor in FACTORS}

    def _lower(self, samples: Float32Array, factor: int) -> NDArray[np.float64]:
        return resample(samples, self._rate_hz, self._rate_hz // factor)

    @functools.cache  # noqa: B019 - lives as long as the one experiment that made it
    def _coder(self, factor: int, step_index: int) -> LatentCoder:
        return LatentCoder.fit([_quantise(self._lowered[factor], step_index)])

    def _finest(self, low: NDArray[np.float64], factor: int, limit_bytes: int) -> tuple[int, bytes] | None:
        """Index of the finest step within the limit, and the code; None if the coarsest is too dear."""
        first, last = FINEST * STEPS_PER_OCTAVE, COARSEST * STEPS_PER_OCTAVE
        found = None
        while first <= last:
            middle = (first + last) // 2
            coded = self._coder(factor, middle).encode(_quantise(low, middle))
            if len(coded) <= limit_bytes:
                found, last = (middle, coded), middle - 1
            else:
                first = middle + 1
        return found

    def __call__(self, samples: Float32Array, sample_rate_hz: int, kbps: float) -> Coded:
        """Shape: samples ``[T]`` at the rate of the training sound."""
        limit_bytes = math.floor(kbps * 1000 / 8 * samples.size / sample_rate_hz) - HEADER_BYTES
        best: tuple[float, int, Float32Array] | None = None
        for factor in FACTORS:
            low = self._lower(samples, factor)
            found = self._finest(low, factor, limit_bytes)
            if found is None:
                continue
            step_index, coded = found
            indices = self._coder(factor, step_index).decode(coded, low.size)
            wide = resample(indices[0] * _step(step_index), sample_rate_hz // factor, sample_rate_hz)
            decoded = np.pad(wide[: samples.size], (0, max(0, samples.size - wide.size))).astype(np.float32)
            distance = log_spectral_distance(samples.astype(np.float64), decoded.astype(np.float64))
            if best is None or distance < best[0]:
                best = (distance, len(coded), decoded)
        if best is None:
            best = (math.inf, 0, np.zeros_like(samples))
        size = best[1] + HEADER_BYTES
        return Coded(best[2], sample_rate_hz, size, 1, size)


def _step(index: int) -> float:
    return float(2.0 ** (index / STEPS_PER_OCTAVE))


def _quantise(samples: NDArray[np.float64], step_index: int) -> NDArray[np.int32]:
    """Shape: ``[T]`` -> ``[1, T]``."""
    return np.rint(samples / _step(step_index)).astype(np.int32)[None]
