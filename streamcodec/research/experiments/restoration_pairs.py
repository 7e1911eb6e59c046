"""Pairs of decoded and original sound, made here with Opus, MP3 and this codec, to train and judge restorers on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamcodec.evaluation.alignment import resample
from streamcodec.evaluation.clips import Clip
from streamcodec.evaluation.own import streamcodec_systems
from streamcodec.evaluation.peers.lossy_files import Mp3Peer
from streamcodec.evaluation.peers.opus import OpusPeer
from streamcodec.evaluation.systems import CodecUnderTest

Samples = NDArray[np.float32]
WIDE_BAND_HZ = (8_500.0, 11_000.0)
WIDE_BAND_SHARE = 1e-7
NARROW_HZ = 8_000.0
HELD_TO_EMPTINESS = 0.5
"""Share of segments whose restored sound must have as little above the original's band as the original has."""


@dataclass(frozen=True)
class Degradation:
    """A codec at a rate."""

    name: str
    codec: CodecUnderTest
    kbps: float


@dataclass(frozen=True)
class Pair:
    """One sound as decoded and as it was, aligned, at one rate.

    Shape: both ``[samples]``.
    """

    clip: Clip
    degradation: str
    decoded: Samples
    original: Samples
    bandwidth_hz: float
    """Up to where the original holds sound to learn from."""


def default_degradations() -> list[Degradation]:
    """This codec, Opus and MP3, each at two low rates."""
    own = streamcodec_systems()[0].codec
    codecs: tuple[tuple[str, CodecUnderTest, tuple[float, ...]], ...] = (
        ("streamcodec", own, (3.0, 6.0)),
        ("Opus", OpusPeer(), (6.0, 12.0)),
        ("MP3", Mp3Peer(), (16.0, 32.0)),
    )
    return [Degradation(f"{name} {kbps:g}", codec, kbps) for name, codec, rates in codecs for kbps in rates]


def read_clip(clip: Clip, sample_rate_hz: int, most_s: float) -> Samples:
    """A clip's first ``most_s`` seconds at a rate.

    Shape: output ``[samples]``.
    """
    samples, rate_hz = clip.read()
    sound = resample(samples[: round(most_s * rate_hz)], rate_hz, sample_rate_hz)
    return np.asarray(sound, np.float32)


def make_pair(clip: Clip, degradation: Degradation, sample_rate_hz: int, most_s: float) -> Pair:
    """Code and decode a clip."""
    original = read_clip(clip, sample_rate_hz, most_s)
    decoded = degradation.codec(original, sample_rate_hz, degradation.kbps).samples
    return Pair(clip, degradation.name, decoded[: len(original)], original, bandwidth_hz(original, sample_rate_hz))


def bandwidth_hz(samples: Samples, sample_rate_hz: int) -> float:
    """Half the rate, or less where a recording of a lower rate was upsampled.

    Shape: ``[samples]``.
    """
    power = np.abs(np.fft.rfft(samples)) ** 2
    frequency_hz = np.fft.rfftfreq(len(samples), 1.0 / sample_rate_hz)
    inside = (frequency_hz > WIDE_BAND_HZ[0]) & (frequency_hz < WIDE_BAND_HZ[1])
    wide = power[inside].sum() > WIDE_BAND_SHARE * power.sum()
    return sample_rate_hz / 2 if wide else NARROW_HZ


def make_pairs(
    clips: Sequence[Clip],
    degradations: Sequence[Degradation],
    sample_rate_hz: int,
    most_s: float,
    progress: Callable[[float], None],
) -> list[Pair]:
    """One pair of each clip, the degradations taking turns."""
    pairs = []
    for index, clip in enumerate(clips):
        pairs.append(make_pair(clip, degradations[index % len(degradations)], sample_rate_hz, most_s))
        progress((index + 1) / len(clips))
    return pairs


class PairSegments:
    """Random segments of pairs, the same for the same seed and step."""

    def __init__(
        self, pairs: Sequence[Pair], segment_samples: int, batch: int, seed: int, sample_rate_hz: int
    ) -> None:
        self._pairs = [pair for pair in pairs if len(pair.original) > segment_samples]
        self._segment_samples, self._batch, self._seed = segment_samples, batch, seed
        self._nyquist_hz = sample_rate_hz / 2

    def __call__(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Decoded and original segments ``[batch, samples]``, trusted bandwidths ``[batch]``."""
        rng = np.random.default_rng((self._seed, step))
        decoded, original, bands = [], [], []
        for _ in range(self._batch):
            pair = self._pairs[int(rng.integers(len(self._pairs)))]
            start = int(rng.integers(len(pair.original) - self._segment_samples))
            gain = np.float32(10.0 ** (rng.uniform(-12.0, 6.0) / 20.0) * rng.choice([-1.0, 1.0]))
            cut = slice(start, start + self._segment_samples)
            decoded.append(gain * pair.decoded[cut])
            original.append(gain * pair.original[cut])
            # Never asked about the empty band of upsampled sound, a restorer fills it; always asked, it widens none.
            empty = rng.random() < HELD_TO_EMPTINESS
            bands.append(self._nyquist_hz if empty else pair.bandwidth_hz)
        return (
            torch.from_numpy(np.stack(decoded)),
            torch.from_numpy(np.stack(original)),
            torch.tensor(bands, dtype=torch.float32),
        )
