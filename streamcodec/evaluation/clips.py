"""Folders of sound as clips to evaluate on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from streamcodec.codec.files.sound_file import sound_files
from streamcodec.evaluation.errors import EvaluationError, UnknownNameError, require

KINDS = ("speech", "music", "environment")


@dataclass(frozen=True)
class Clip:
    """One sound file, read when needed so that a clip is cheap to pass to another process."""

    path: Path
    kind: str
    name: str = ""
    """For tables; unless given, the file name without its folder."""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.path.name)

    def read(self) -> tuple[NDArray[np.float32], int]:
        """Samples mixed down to mono, and their rate in Hz.

        Shape: output ``[samples]``, full scale is 1.

        Raises:
            EvaluationError: the file cannot be decoded or holds no samples.
        """
        try:
            samples, sample_rate_hz = soundfile.read(self.path, dtype="float32", always_2d=True)
        except (OSError, RuntimeError) as error:
            raise EvaluationError(f"Cannot read {self.path}: {error}") from error
        if not len(samples):
            raise EvaluationError(f"{self.path} holds no samples.")
        return samples.mean(axis=1, dtype=np.float32), int(sample_rate_hz)


@dataclass(frozen=True, slots=True)
class PcmClip:
    """A clip as 16-bit samples, for codecs that give every sample back or are measured by bytes.

    Shape: samples ``[n, channels]``.
    """

    kind: str
    name: str
    sample_rate_hz: int
    samples: NDArray[np.int16]

    @classmethod
    def of(cls, clip: Clip) -> PcmClip:
        """All channels of a clip's file. Errors: EvaluationError where it cannot be decoded."""
        try:
            samples, rate_hz = soundfile.read(clip.path, dtype="int16", always_2d=True)
        except (OSError, RuntimeError) as error:
            raise EvaluationError(f"Cannot read {clip.path}: {error}") from error
        return cls(clip.kind, clip.name, int(rate_hz), samples)

    @property
    def pcm_bytes(self) -> int:
        """Size without any coding."""
        return self.samples.size * 2

    @property
    def first_channel(self) -> NDArray[np.float64]:
        """The first channel, full scale 1.

        Shape: output ``[n]``.
        """
        return np.asarray(self.samples[:, 0] / 32768, np.float64)

    def resampled(self, sample_rate_hz: int, seconds: float) -> PcmClip:
        """The first ``seconds`` at another rate, rounded to 16 bits."""
        head = self.samples[: int(seconds * self.sample_rate_hz)]
        if self.sample_rate_hz != sample_rate_hz:
            soxr = require("soxr", "Resampling for evaluation")
            wide = soxr.resample(head / 32768, self.sample_rate_hz, sample_rate_hz)
            head = np.clip(np.rint(wide * 32768), -32768, 32767).astype(np.int16)
        return PcmClip(self.kind, self.name, sample_rate_hz, head)


def kind_of(path: Path, default: str = "speech") -> str:
    """Kind of sound, from the nearest enclosing folder that is named after one."""
    for part in reversed(path.parent.parts):
        if part.lower() in KINDS:
            return part.lower()
    return default


def names_in(folder: Path, paths: Sequence[Path]) -> dict[Path, str]:
    """A name for each file below a folder: its own, or where several have that, its path from the folder."""
    files = Counter(path.name for path in paths)
    return {path: path.name if files[path.name] == 1 else path.relative_to(folder).as_posix() for path in paths}


def read_clips(
    folder: Path | str, kinds: Iterable[str] | None = None, limit: int | None = None, default_kind: str = "speech"
) -> list[Clip]:
    """Sound files (wav, flac, ogg) below ``folder``, sorted by path; the ``._`` companions of macOS are none.

    Clips are named as :func:`names_in` does.

    Args:
        folder: searched recursively; a single file is taken as it is.
        kinds: keep only these of ``speech``, ``music``, ``environment`` (told by folder name).
        limit: keep at most this many per kind, spread evenly over the sorted names.
        default_kind: kind of files in no folder named after one.

    Raises:
        EvaluationError: no such folder, or nothing in it to evaluate.
        UnknownNameError: an unknown kind.
    """
    wanted = KINDS if kinds is None else tuple(kinds)
    for kind in (*wanted, default_kind):
        if kind not in KINDS:
            raise UnknownNameError(f"Unknown kind {kind!r}: choose from {', '.join(KINDS)}.")
    folder = Path(folder)
    if not folder.exists():
        raise EvaluationError(f"No such file or folder: {folder}")
    paths = [path for path in sound_files([folder] if folder.is_file() else folder.rglob("*")) if path.is_file()]
    names = names_in(folder, paths)
    clips: list[Clip] = []
    for kind in wanted:
        of_kind = [path for path in paths if kind_of(path.resolve(), default_kind) == kind]
        clips.extend(Clip(path, kind, names[path]) for path in _spread(of_kind, limit))
    if not clips:
        raise EvaluationError(f"No sound file of kind {' or '.join(wanted)} under {folder}.")
    return clips


def _spread(paths: Sequence[Path], limit: int | None) -> list[Path]:
    """At most ``limit`` paths at even distances."""
    if limit is None or limit >= len(paths):
        return list(paths)
    if limit < 1:
        raise EvaluationError(f"The number of clips must be at least 1, got {limit}.")
    return [paths[index * len(paths) // limit] for index in range(limit)]
