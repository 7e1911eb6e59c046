"""The sound of an experiment in the form that models take: training sounds in memory, development clips as files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from streamcodec.codec.files.output_file import free_name, whole_file
from streamcodec.evaluation.clips import Clip
from streamcodec.research.datasets.preprocess import Preprocessing
from streamcodec.research.experiments.experiment import Context
from streamcodec.research.experiments.material import MaterialError

Float32Array = NDArray[np.float32]
SoundT = TypeVar("SoundT")
MAX_TRAIN_S = 30.0
"""Seconds kept of each training file, so that a long recording does not crowd out the others."""
HELD_BACK = 10
"""Every tenth training sound is held back where one is needed to tell whether training still helps."""


def training_sounds(context: Context, sample_rate_hz: int, clips: Sequence[Clip] | None = None) -> list[Float32Array]:
    """Training sounds, mono, at one rate (Chebyshev-I before decimation), peak 1."""
    chosen = context.material.train if clips is None else clips
    prepare = Preprocessing(sample_rate_hz, anti_alias="chebyshev")
    longest = round(MAX_TRAIN_S * sample_rate_hz)
    return [
        prepare.load(clip.path)[:longest] for clip in context.track(chosen, "reading training sound", len(chosen))
    ]


def held_back(sounds: Sequence[SoundT]) -> tuple[list[SoundT], list[SoundT]]:
    """(those to train on, every tenth)."""
    kept = [sound for k, sound in enumerate(sounds) if k % HELD_BACK]
    return kept or list(sounds), list(sounds[::HELD_BACK])


def file_names(clips: Sequence[Clip]) -> list[str]:
    """A name for each clip in tables and folders: its file's without the suffix, or all of it where that is taken."""
    taken: Counter[str] = Counter()
    return [free_name([clip.path.stem, clip.name.replace("/", "-")], taken) for clip in clips]


def development_clips(context: Context, sample_rate_hz: int) -> list[Clip]:
    """The loudest stretch of each development file, mono, at one rate, peak 1, as 16-bit files of their own.

    They are called by :func:`file_names`, so their stems differ.
    """
    prepare = Preprocessing(sample_rate_hz, anti_alias="chebyshev", peak_normalise=False)
    length = round(context.scale.dev_s * sample_rate_hz)
    clips = []
    for clip, name in zip(context.material.dev, file_names(context.material.dev), strict=True):
        path = context.folder / "clips" / str(sample_rate_hz) / clip.kind / f"{name}.flac"
        if not path.is_file():
            samples = prepare.load(clip.path)
            start = _loudest(samples, length)
            stretch = samples[start : start + length]
            peak = float(np.abs(stretch).max(initial=0.0))
            if peak == 0.0:
                raise MaterialError(f"{clip.path} is silent; take it out of the development files")
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, stretch * (0.999 / peak), sample_rate_hz)
        clips.append(Clip(path, clip.kind))
    return clips


def file_channels(clip: Clip, sample_rate_hz: int, seconds: float) -> Float32Array:
    """The beginning of a file as it is: every channel, its own loudness, at one rate.

    Shape: output ``[channels, T]``.
    """
    sound, rate_hz = soundfile.read(clip.path, dtype="float32", always_2d=True)
    if rate_hz != sample_rate_hz:
        sound = soxr.resample(sound, rate_hz, sample_rate_hz)
    channels = np.ascontiguousarray(sound[: round(seconds * sample_rate_hz)].T)
    if not np.any(channels):
        raise MaterialError(f"the first {seconds:g} s of {clip.path} are silent; give another file")
    return channels


def _loudest(samples: Float32Array, length: int) -> int:
    """Where the stretch of most energy begins."""
    if samples.size <= length:
        return 0
    energy = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    return int(np.argmax(energy[length:] - energy[:-length]))


def write_sound(path: Path, samples: Float32Array, sample_rate_hz: int) -> Path:
    """A sound to listen to, 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, np.clip(samples, -1.0, 1.0), sample_rate_hz)
    return path


def _write(path: Path, samples: Float32Array, sample_rate_hz: int) -> None:
    with whole_file(path) as out:
        soundfile.write(out, samples, sample_rate_hz, subtype="PCM_16", format=path.suffix[1:].upper())
