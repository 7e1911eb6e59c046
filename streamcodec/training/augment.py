"""Changes made to training segments, so that the codec hears rooms, lines, voices and levels the recordings lack."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.float32]
Range = tuple[float, float]

BAND_EDGE_HZ = 400.0
"""Width over which a band limit falls from 1 to 0."""
PAD_SAMPLES = 1_024
DIRECT_S = 0.002
"""No reflection arrives sooner than this after the direct sound."""
EARLY_S = 0.04
"""Single reflections until here; the diffuse tail grows in over the same time."""
SIXTY_DB = 6.91
"""Natural logarithm of 60 dB."""


@dataclass(frozen=True)
class AugmentationConfig:
    """Chance of each change to a segment, and the range that its strength is drawn from."""

    level_db: Range = (-38.0, -16.0)
    speed_chance: float = 0.2
    speed: Range = (0.9, 1.12)
    reverb_chance: float = 0.12
    reverb_s: Range = (0.1, 0.6)
    direct_to_reverb_db: Range = (-2.0, 15.0)
    band_limit_chance: float = 0.06
    band_limit_hz: Range = (3_400.0, 8_000.0)
    noise_chance: float = 0.12
    noise_below_db: Range = (5.0, 35.0)
    gap_chance: float = 0.04
    empty_band_chance: float = 0.5
    """Of taking the empty upper band of a segment at its word, so that the codec learns to leave it empty too."""


def change_speed(samples: Samples, out_samples: int) -> Samples:
    """Play faster or slower, pitch included, so that ``samples`` last ``out_samples``.

    Shape: ``[n]`` -> ``[out_samples]``.
    """
    resampled = soxr.resample(samples, float(samples.size), float(out_samples), quality="MQ")[:out_samples]
    return np.pad(resampled, (0, out_samples - resampled.size)).astype(np.float32, copy=False)


def room_response(
    sample_rate_hz: int, reverb_s: float, direct_to_reverb_db: float, rng: np.random.Generator
) -> Samples:
    """Impulse response of an imagined room: direct sound, a few reflections, exponentially decaying noise.

    The statistical model of Moorer, "About this reverberation business" (1979): past the first reflections a room's
    response is noise under an exponential, 60 dB down after ``reverb_s``. Of unit energy.

    Shape: output ``[about reverb_s * sample_rate_hz]``.
    """
    length = max(int(reverb_s * sample_rate_hz), int(2 * EARLY_S * sample_rate_hz))
    t = np.arange(length, dtype=np.float32) / np.float32(sample_rate_hz)
    decay = np.exp(-SIXTY_DB / reverb_s * t)
    tail = rng.standard_normal(length, dtype=np.float32) * decay * np.minimum(t / np.float32(EARLY_S), 1.0)
    # Walls and air take the treble first.
    tail[1:] += rng.uniform(0.2, 0.9) * tail[:-1]
    first, last = int(DIRECT_S * sample_rate_hz), int(EARLY_S * sample_rate_hz)
    places = rng.integers(first, last, rng.integers(3, 9))
    np.add.at(tail, places, rng.choice([-1.0, 1.0], places.size) * rng.uniform(1.0, 6.0, places.size) * decay[places])
    tail[:first] = 0.0
    tail *= 10.0 ** (-direct_to_reverb_db / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return np.asarray(tail / np.sqrt(np.sum(tail**2)), dtype=np.float32)


def reverberate(samples: Samples, response: Samples) -> Samples:
    """Convolve with an impulse response, without its tail.

    Shape: ``[n]`` and ``[m]`` -> ``[n]``.
    """
    from scipy.signal import oaconvolve

    return np.asarray(oaconvolve(samples, response)[: samples.size], dtype=np.float32)


def limit_band(samples: Samples, sample_rate_hz: int, cutoff_hz: float) -> Samples:
    """Remove what lies above ``cutoff_hz``, without delay.

    Shape: ``[n]`` -> ``[n]``.
    """
    spectrum = np.fft.rfft(samples, samples.size + PAD_SAMPLES)
    bins_hz = np.linspace(0.0, sample_rate_hz / 2, spectrum.size)
    ramp = np.clip((cutoff_hz - bins_hz) / BAND_EDGE_HZ, 0.0, 1.0)
    limited = np.fft.irfft(spectrum * np.sin(0.5 * np.pi * ramp) ** 2, samples.size + PAD_SAMPLES)
    return limited[: samples.size].astype(np.float32)


class Augmenter:
    """Draws changes for one segment after another."""

    def __init__(self, config: AugmentationConfig, sample_rate_hz: int) -> None:
        self.config = config
        self._rate_hz = sample_rate_hz
        self._nyquist_hz = sample_rate_hz / 2

    def source_samples(self, segment_samples: int, most: int, rng: np.random.Generator) -> int:
        """How many samples to cut for a segment, ``most`` at most: another number than its own changes the speed."""
        if rng.random() >= self.config.speed_chance:
            return segment_samples
        return min(round(segment_samples * rng.uniform(*self.config.speed)), most)

    def change(
        self, cut: Samples, out_samples: int, bandwidth_hz: float, noise: Samples, rng: np.random.Generator
    ) -> tuple[Samples, float]:
        """One augmented segment and the bandwidth up to which it is to be trusted.

        Shape: cut ``[n]`` (see :meth:`source_samples`), noise ``[out_samples]`` -> ``[out_samples]`` and Hz.
        """
        c = self.config
        segment = cut
        if cut.size != out_samples:
            segment = change_speed(cut, out_samples)
            bandwidth_hz = min(bandwidth_hz * cut.size / out_samples, self._nyquist_hz)
        if rng.random() < c.reverb_chance:
            response = room_response(
                self._rate_hz, rng.uniform(*c.reverb_s), rng.uniform(*c.direct_to_reverb_db), rng
            )
            segment = reverberate(segment, response)
        level_db = 20 * np.log10(max(_rms(segment), 1e-5))
        target_db = float(rng.uniform(*c.level_db)) if level_db > -55 else level_db
        segment = segment * np.float32(10 ** ((target_db - level_db) / 20) * rng.choice([-1.0, 1.0]))
        if rng.random() < c.noise_chance:
            noise_db = target_db - rng.uniform(*c.noise_below_db)
            segment = segment + noise * np.float32(10 ** (noise_db / 20) / max(_rms(noise), 1e-5))
            bandwidth_hz = self._nyquist_hz
        if rng.random() < c.band_limit_chance:
            cutoff_hz = rng.uniform(*c.band_limit_hz)
            segment = limit_band(segment, self._rate_hz, cutoff_hz)
            bandwidth_hz = min(bandwidth_hz, cutoff_hz)
        if rng.random() < c.gap_chance:
            a, b = sorted(int(v) for v in rng.integers(0, out_samples, 2))
            segment[a:b] = 0.0
        if bandwidth_hz < 0.9 * self._nyquist_hz and rng.random() < c.empty_band_chance:
            bandwidth_hz = self._nyquist_hz
        return np.clip(segment, -1.0, 1.0), bandwidth_hz


def _rms(samples: Samples) -> float:
    return float(np.sqrt(np.mean(samples**2)))
