"""Waveform accuracy as the autoencoder literature reports it: SNR, MSE, mean absolute error, PSNR."""

from __future__ import annotations

import numpy as np

from streamcodec.evaluation.alignment import Samples
from streamcodec.evaluation.errors import UnscorableError


def _error(reference: Samples, decoded: Samples) -> Samples:
    if not np.any(reference):
        raise UnscorableError("Waveform accuracy has no value: the reference is silent or empty.")
    return decoded - reference


def mean_squared_error(reference: Samples, decoded: Samples) -> float:
    """Mean squared difference, full scale 1.

    Shape: inputs ``[samples]``, aligned, as all here.
    """
    return float(np.mean(_error(reference, decoded) ** 2))


def mean_absolute_error(reference: Samples, decoded: Samples) -> float:
    """Mean absolute difference, full scale 1."""
    return float(np.mean(np.abs(_error(reference, decoded))))


def snr_db(reference: Samples, decoded: Samples) -> float:
    """Energy of the reference over that of the difference, in dB; an exact copy gives infinity."""
    with np.errstate(divide="ignore"):
        error = np.float64(np.sum(_error(reference, decoded) ** 2))
        return float(10.0 * np.log10(np.sum(reference**2) / error))


def psnr_db(reference: Samples, decoded: Samples) -> float:
    """Squared peak of the reference over the mean squared difference, in dB."""
    with np.errstate(divide="ignore"):
        error = np.float64(mean_squared_error(reference, decoded))
        return float(10.0 * np.log10(np.max(np.abs(reference)) ** 2 / error))
