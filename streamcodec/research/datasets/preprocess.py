"""From a file to the arrays that the published models take: mono, one rate, peak 1, crops, overlapping frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy import signal

from streamcodec.training.data import DatasetError

Samples = NDArray[np.float32]
CHEBYSHEV_ORDER = 8
CHEBYSHEV_RIPPLE_DB = 0.05
CHEBYSHEV_EDGE = 0.8
"""Edge of the pass band as a share of the new Nyquist frequency (the settings of ``scipy.signal.decimate``)."""
SILENCE = 1e-6


@dataclass(frozen=True)
class Preprocessing:
    """How recordings become crops."""

    sample_rate_hz: int = 22_050
    anti_alias: Literal["linear-phase", "chebyshev"] = "linear-phase"
    """Filter before the rate is lowered: soxr's, or Chebyshev type I of order 8 run both ways."""
    peak_normalise: bool = True
    crop_s: float = 2.0

    def __post_init__(self) -> None:
        if not 1.0 <= self.crop_s <= 3.0:
            raise DatasetError(f"crop_s must be 1 to 3 seconds, got {self.crop_s:g}")
        if self.anti_alias not in ("linear-phase", "chebyshev"):
            raise DatasetError(f"anti_alias must be 'linear-phase' or 'chebyshev', got {self.anti_alias!r}")

    @property
    def crop_samples(self) -> int:
        """Length of a crop."""
        return round(self.crop_s * self.sample_rate_hz)

    def load(self, path: Path) -> Samples:
        """A whole recording, mono, at the rate, normalised; raises DatasetError for what cannot be read.

        Shape: output ``[samples]``.
        """
        try:
            samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
        except (OSError, RuntimeError) as error:
            raise DatasetError(f"cannot read {path} as sound: {error}") from error
        if not len(samples):
            raise DatasetError(f"{path} holds no samples; remove it")
        mono = lower_rate(samples.mean(axis=1), int(rate_hz), self.sample_rate_hz, self.anti_alias)
        return normalise_peak(mono) if self.peak_normalise else mono

    def crops(self, samples: Samples) -> Iterator[Samples]:
        """Crops side by side; what is left over is dropped, a sound shorter than one crop is zero-padded.

        Shape: ``[samples]`` -> each ``[crop_samples]``.
        """
        length = self.crop_samples
        if len(samples) < length:
            yield np.pad(samples, (0, length - len(samples)))
        for start in range(0, len(samples) - length + 1, length):
            yield samples[start : start + length]


def lower_rate(samples: Samples, from_hz: int, to_hz: int, anti_alias: str) -> Samples:
    """Resample; ``chebyshev`` puts its own filter first where the rate goes down.

    Shape: ``[samples]`` -> ``[about samples * to_hz / from_hz]``.
    """
    if from_hz == to_hz:
        return samples
    if anti_alias == "chebyshev" and to_hz < from_hz:
        edge = CHEBYSHEV_EDGE * to_hz / from_hz
        sections = signal.cheby1(CHEBYSHEV_ORDER, CHEBYSHEV_RIPPLE_DB, edge, output="sos")
        longest_padding = max(0, len(samples) - 1)
        samples = signal.sosfiltfilt(sections, samples, padlen=min(3 * (2 * len(sections) + 1), longest_padding))
        if from_hz % to_hz == 0:
            return np.ascontiguousarray(samples[:: from_hz // to_hz], dtype=np.float32)
    return np.asarray(soxr.resample(samples, from_hz, to_hz, quality="HQ"), dtype=np.float32)


def normalise_peak(samples: Samples) -> Samples:
    """Largest magnitude 1; silence stays as it is.

    Shape: ``[samples]`` -> ``[samples]``.
    """
    peak = float(np.abs(samples).max(initial=0.0))
    return samples if peak < SILENCE else np.asarray(samples / np.float32(peak), dtype=np.float32)


def overlapping_frames(samples: Samples, frame_samples: int = 1024, hop_samples: int = 512) -> Samples:
    """Frames with 50 % overlap, the end zero-padded so that every sample is in one.

    Shape: ``[samples]`` -> ``[frames, frame_samples]``.
    """
    hops = max(0, -(-(len(samples) - frame_samples) // hop_samples))
    padded = np.pad(samples, (0, frame_samples + hops * hop_samples - len(samples)))
    return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(padded, frame_samples)[::hop_samples])


def join_frames(frames: Samples, hop_samples: int = 512) -> Samples:
    """Inverse of :func:`overlapping_frames`: a triangular cross-fade of what the frames say of each sample.

    Shape: ``[frames, frame_samples]`` -> ``[(frames - 1) * hop_samples + frame_samples]``.
    """
    length = frames.shape[1]
    ramp = np.minimum(np.arange(1, length + 1), np.arange(length, 0, -1)).astype(np.float32)
    total = np.zeros((len(frames) - 1) * hop_samples + length, np.float32)
    weight = np.zeros_like(total)
    for k, frame in enumerate(frames):
        total[k * hop_samples : k * hop_samples + length] += ramp * frame
        weight[k * hop_samples : k * hop_samples + length] += ramp
    return np.asarray(total / weight, dtype=np.float32)
