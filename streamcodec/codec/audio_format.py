"""What sound goes in and out: rates, types, shapes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import kernel
from streamcodec.errors import AudioFormatError

Float32Array = NDArray[np.float32]

SAMPLE_RATES_HZ = (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
MAX_CHANNELS = 64
SAMPLE_LIMIT = 8.0
"""Louder samples than this (full scale is 1) are clipped: they are faults, and squares of them must stay finite."""


def check_sample_rate(sample_rate_hz: int) -> int:
    """Return the rate, or raise AudioFormatError."""
    if sample_rate_hz not in SAMPLE_RATES_HZ:
        raise AudioFormatError(
            f"sample_rate_hz must be one of {', '.join(map(str, SAMPLE_RATES_HZ))}, got {sample_rate_hz!r}; "
            "resample the sound first"
        )
    return int(sample_rate_hz)


def as_mono(samples: object) -> Float32Array:
    """Any accepted sound as clean mono float32: channels averaged, NaN to 0, infinities and faults clipped.

    Accepts float32 or float64 (full scale 1.0) and int16, shape ``[n]`` or ``[n, channels]``; anything else
    raises AudioFormatError.

    Shape: output ``[n]``, a new array.
    """
    array = np.asarray(samples)
    if array.dtype == np.int16:
        sound = np.divide(array, np.float32(32768.0), dtype=np.float32, order="C")
    elif array.dtype in (np.float32, np.float64):
        sound = array.astype(np.float32, order="C")
    else:
        raise AudioFormatError(
            f"samples must be float32, float64 (full scale 1.0) or int16, got {array.dtype}; convert them first"
        )
    if sound.ndim == 2:
        if not 1 <= sound.shape[1] <= MAX_CHANNELS:
            raise AudioFormatError(
                f"samples must be [n] or [n, channels] with 1 to {MAX_CHANNELS} channels, got shape "
                f"{array.shape}; transpose channels-first sound"
            )
        sound = sound.mean(axis=1, dtype=np.float32)
    elif sound.ndim != 1:
        raise AudioFormatError(f"samples must be [n] or [n, channels], got shape {array.shape}")
    limited: Float32Array = sound
    _limit(limited)
    return limited


@kernel
def _limit(sound: Float32Array) -> None:
    limit = np.float32(SAMPLE_LIMIT)
    for i in range(len(sound)):
        x = sound[i]
        sound[i] = np.float32(0.0) if np.isnan(x) else min(max(x, -limit), limit)
