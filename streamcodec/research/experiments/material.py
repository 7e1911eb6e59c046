"""Sound for experiments: which files train, which develop, and how both are prepared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import soundfile

from streamcodec.errors import StreamcodecError
from streamcodec.evaluation.clips import Clip, names_in, read_clips
from streamcodec.evaluation.errors import EvaluationError
from streamcodec.research.datasets.catalogue import recognise
from streamcodec.research.datasets.recording import Recording
from streamcodec.research.datasets.split import has_published_split, held_out
from streamcodec.training.data import DatasetError

DEV_SHARE = 5


class MaterialError(StreamcodecError):
    """A data folder that an experiment cannot use."""


@dataclass(frozen=True)
class Material:
    """Files of both splits, at most ``limit`` of each kind, spread evenly over the sorted names."""

    train: tuple[Clip, ...]
    dev: tuple[Clip, ...]
    folder: Path = Path()
    """Where they were found; labels that come with the data are looked for there."""

    @classmethod
    def from_folder(cls, folder: Path, train_files: int, dev_files: int) -> Material:
        """``folder/train`` and ``folder/dev`` if they exist, else a fifth of ``folder`` for development.

        The published datasets are known by their layout and split as published, or so that no speaker, artist or
        instrument is on both sides. So are plain folders, by the parts that a manifest names, or where it or
        subfolders tell sources apart; where nothing does, every fifth file is for development.

        Kinds of sound (speech, music, environment) are told by folder name; files in none count as speech.

        Raises:
            MaterialError: no such folder, no sound in it, too little to split, or a published split that leaves out
                some files, or puts one speaker, artist or source into training and into another part.
        """
        if not folder.is_dir():
            raise MaterialError(f"there is no folder {folder}; --data takes a folder of .wav, .flac or .ogg files")
        try:
            if (folder / "train").is_dir() and (folder / "dev").is_dir():
                return cls(
                    tuple(read_clips(folder / "train", limit=train_files)),
                    tuple(read_clips(folder / "dev", limit=dev_files)),
                    folder,
                )
            dataset, recordings = recognise(folder)
            if dataset.kind is not None:
                parts = held_out(recordings, 1 / DEV_SHARE, seed=0)
                names = names_in(folder, [recording.path for recording in recordings])
                clips = [[Clip(each.path, dataset.kind, names[each.path]) for each in part] for part in parts]
                return cls(tuple(_at_most(clips[0], train_files)), tuple(_at_most(clips[1], dev_files)), folder)
            train, dev = _apart(read_clips(folder), recordings)
        except (EvaluationError, DatasetError) as error:
            raise MaterialError(str(error)) from error
        if not train:
            raise MaterialError(f"{folder} holds one sound file; an experiment trains on some and judges by others")
        return cls(tuple(_at_most(train, train_files)), tuple(_at_most(dev, dev_files)), folder)

    def train_s(self, most_s: float) -> float:
        """Seconds of training sound, at most ``most_s`` of each file."""
        return sum(min(most_s, float(soundfile.info(clip.path).duration)) for clip in self.train)

    @classmethod
    def single_files(cls, folder: Path, dev_files: int) -> Material:
        """Development files alone: those of ``folder/dev``, or all in ``folder``, one being enough.

        Raises:
            MaterialError: no such folder, or no sound in it.
        """
        try:
            clips = read_clips(folder / "dev" if (folder / "dev").is_dir() else folder, limit=dev_files)
        except EvaluationError as error:
            raise MaterialError(str(error)) from error
        return cls((), tuple(clips), folder)


def _apart(clips: Sequence[Clip], recordings: Sequence[Recording]) -> tuple[list[Clip], list[Clip]]:
    """(training, development): by the published split, else whole groups of every kind that has several.

    Of kinds without groups every fifth file is for development.
    """
    known = {recording.path.resolve(): recording for recording in recordings}
    unknown = Recording(Path(), "", {})
    found = [replace(known.get(clip.path.resolve(), unknown), path=clip.path) for clip in clips]
    if has_published_split(found):
        train, dev = ({each.path for each in part} for part in held_out(found, 1 / DEV_SHARE, seed=0))
    else:
        dev = set()
        loose: list[Path] = []
        for kind in dict.fromkeys(clip.kind for clip in clips):
            of_kind = [each for each, clip in zip(found, clips, strict=True) if clip.kind == kind]
            if len({recording.group for recording in of_kind}) > 1:
                dev |= {recording.path for recording in held_out(of_kind, 1 / DEV_SHARE, seed=0)[1]}
            else:
                loose += [recording.path for recording in of_kind]
        dev |= set(loose[::DEV_SHARE])
        train = {clip.path for clip in clips} - dev
    return [clip for clip in clips if clip.path in train], [clip for clip in clips if clip.path in dev]


def _at_most(clips: list[Clip], limit: int) -> list[Clip]:
    """At most ``limit`` clips of each kind, evenly spread."""
    kept: list[Clip] = []
    for kind in dict.fromkeys(clip.kind for clip in clips):
        of_kind = [clip for clip in clips if clip.kind == kind]
        count = min(limit, len(of_kind))
        kept += [of_kind[k * len(of_kind) // count] for k in range(count)]
    return kept
