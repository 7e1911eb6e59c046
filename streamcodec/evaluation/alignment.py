"""Bring a decoded sound to a metric's rate and remove its delay."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamcodec.evaluation.errors import require

Samples = NDArray[np.float64]

MAX_DELAY_MS = 250.0


def resample(samples: NDArray[np.floating[Any]], from_hz: int, to_hz: int) -> Samples:
    """Offline resampling of mono sound by soxr at its "HQ" setting (zero delay).

    Shape: input ``[samples]``, output ``[about samples * to_hz / from_hz]``.
    """
    exact: Samples = np.asarray(samples, dtype=np.float64)
    if from_hz == to_hz:
        return exact
    soxr = require("soxr", "Resampling for evaluation")
    return np.asarray(soxr.resample(exact, from_hz, to_hz, quality="HQ"), dtype=np.float64)


def delay_samples(reference: Samples, decoded: Samples, max_delay_samples: int) -> int:
    """Delay of ``decoded`` behind ``reference``: the lag with the highest cross-correlation, negative if ahead.

    Shape: inputs ``[samples]``, lengths may differ; lags within +-``max_delay_samples`` are tried.
    """
    correlate = require("scipy.signal", "Delay removal").correlate
    correlation = correlate(decoded, reference, mode="full", method="fft")
    zero = len(reference) - 1
    first = max(0, zero - max_delay_samples)
    window = correlation[first : zero + max_delay_samples + 1]
    best = int(np.argmax(window))
    tolerance = 1e-9 * float(np.abs(correlation).max())
    if tolerance == 0.0 or window[zero - first] >= window[best] - tolerance:
        return 0
    return first + best - zero


def align(reference: Samples, decoded: Samples, max_delay_samples: int) -> tuple[Samples, Samples]:
    """Shift by the cross-correlation delay and cut both to what they share.

    Shape: outputs ``[samples]`` of one length.
    """
    delay = delay_samples(reference, decoded, max_delay_samples)
    late, early = max(delay, 0), max(-delay, 0)
    length = max(0, min(len(reference) - early, len(decoded) - late))
    return reference[early : early + length], decoded[late : late + length]


class AlignedPair:
    """Reference and decoded sound, resampled and aligned once per rate that is asked for."""

    def __init__(
        self,
        reference: NDArray[np.floating[Any]],
        reference_hz: int,
        decoded: NDArray[np.floating[Any]],
        decoded_hz: int,
    ) -> None:
        self.reference_hz = reference_hz
        self._reference = (reference, reference_hz)
        self._decoded = (decoded, decoded_hz)
        self._at: dict[int, tuple[Samples, Samples]] = {}

    def at(self, sample_rate_hz: int) -> tuple[Samples, Samples]:
        """Both sounds at ``sample_rate_hz``, aligned to a sample, of one length."""
        if sample_rate_hz not in self._at:
            self._at[sample_rate_hz] = align(
                resample(*self._reference, sample_rate_hz),
                resample(*self._decoded, sample_rate_hz),
                round(MAX_DELAY_MS * sample_rate_hz / 1000),
            )
        return self._at[sample_rate_hz]
