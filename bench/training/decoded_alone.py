"""What a codec in training makes of sound at one quality index, each packet coded alone, and how that scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr
import torch
from torch import Tensor

from streamcodec.evaluation import METRICS, Clip
from streamcodec.evaluation.alignment import AlignedPair, Samples
from streamcodec.models.codec import CodecOutput, NeuralCodec, context_available

Scores = dict[str, float]


@dataclass(frozen=True)
class DecodedAlone:
    """Whole frames of a sound, what they were coded at, and what came out. Shape: ``[1, ...]`` as for the codec."""

    sound: Tensor
    quality_index: Tensor
    lost: Tensor
    out: CodecOutput


def read_sound(clip: Clip, rate_hz: int, seconds: float | None = None) -> Samples:
    """A clip, or its first seconds, at a rate. Shape: output ``[samples]``."""
    sound, own_hz = clip.read()
    if seconds is not None:
        sound = sound[: round(seconds * own_hz)]
    return sound if own_hz == rate_hz else soxr.resample(sound, own_hz, rate_hz)


def decode_alone(codec: NeuralCodec, sound: Samples, quality_index: int, gains: Tensor | None = None) -> DecodedAlone:
    """Code and decode with the same draw of noise each time. Shape: sound ``[samples]``, gains as for the codec."""
    frames = sound.size // codec.config.frame_samples
    x = torch.from_numpy(np.ascontiguousarray(sound[: frames * codec.config.frame_samples]))[None]
    indices, lost = torch.full((1, frames), quality_index), torch.zeros(1, frames, dtype=torch.bool)
    torch.manual_seed(0)
    return DecodedAlone(x, indices, lost, codec(x, indices, context_available(1, frames, "independent"), lost, gains))


def scores_of(codec: NeuralCodec, out: CodecOutput, pair: AlignedPair, names: Sequence[str]) -> Scores:
    """Rate in kbps and metrics."""
    kbps = float(out.frame_bits_hard.mean()) * codec.config.frames_per_second / 1000
    return {"kbps": kbps, **{name: METRICS[name].score(pair) for name in names}}


def mean_scores(rows: Sequence[Scores]) -> Scores:
    """The mean of each score."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
