"""Search for sounds that are alike: an index of a folder by its latents, kept in a file, renewed with the folder."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from streamcodec.codec.files.notes import noted
from streamcodec.codec.files.oneshot import neural_rate_for
from streamcodec.codec.files.output_file import readable_name, write_whole
from streamcodec.codec.files.sound_file import SoundReader, sound_files
from streamcodec.codec.latents import latents, latents_version
from streamcodec.codec.options import check_whole
from streamcodec.codec.packet import Tier
from streamcodec.errors import AudioFormatError, FileFormatError, StreamcodecError, StreamcodecWarning
from streamcodec.features.embedding import Whitening, embedding
from streamcodec.features.pooling import need_sklearn
from streamcodec.models.shipped import DEFAULT_MODEL, load_model

Float32Array = NDArray[np.float32]
INDEX_NAME = ".streamcodec-index"
FORMAT = "streamcodec-index-1"
HEARD_S = 60.0
"""Seconds of a file that are listened to, from its start."""

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Alike:
    """A sound found, and how like the query it is: 1 at the most, about 0 for any two sounds of the folder."""

    path: Path
    similarity: float


@dataclass(frozen=True)
class _Entry:
    """A file of the index: its name below the folder, and what tells whether it has changed."""

    name: str
    size: int
    modified_ns: int


class SoundIndex:
    """The sounds of a folder by their latents; :meth:`of_folder` makes one, :meth:`nearest` searches it.

    Similarity is the cosine between embeddings, whitened over the folder, so it is relative to what else is there.
    """

    def __init__(
        self,
        folder: Path,
        model: str,
        entries: list[_Entry],
        vectors: Float32Array,
        unreadable: tuple[Path, ...] = (),
        heard: int = 0,
    ) -> None:
        self.folder = folder
        self.unreadable = unreadable
        """Files that were left out because they cannot be read as sound."""
        self.heard = heard
        """Files that had to be listened to; the others were in the index as they are."""
        self._model = model
        self._entries = entries
        self._vectors = vectors

    def __len__(self) -> int:
        """Sounds that can be found."""
        return len(self._entries)

    @classmethod
    def of_folder(
        cls,
        folder: str | Path,
        index_file: str | Path | None = None,
        *,
        model: str = DEFAULT_MODEL,
        progress: Progress | None = None,
    ) -> SoundIndex:
        """The index of all sound (WAV, FLAC, Ogg, MP3) in a folder and those below it.

        Kept in ``index_file``, by default ``.streamcodec-index`` in the folder. What is new or has changed since is
        listened to (the first minute of it), what is gone is forgotten, and an index of another model is made anew.
        Files that cannot be read are left out, and an index that cannot be written is told, with a warning.

        Errors: FileFormatError for a folder that is not there or holds no sound; ModelError.
        """
        folder = _path("a folder", folder)
        if not folder.is_dir():
            raise FileFormatError(f"there is no folder {readable_name(folder)}: give the folder to search")
        kept_in = folder / INDEX_NAME if index_file is None else _path("an index", index_file)
        found = list(_sound_files(folder))
        name = readable_name(folder)
        if not found:
            raise FileFormatError(f"{name} holds no sound: give a folder of WAV, FLAC, Ogg or MP3 files")
        known = _read(kept_in, model)
        here: dict[_Entry, Float32Array] = {}
        unreadable, heard = [], 0
        try:
            for k, entry in enumerate(found):
                try:
                    heard += entry not in known
                    here[entry] = known[entry] if entry in known else _heard(folder / entry.name, model)
                except StreamcodecError as error:
                    warnings.warn(f"left out: {error}", StreamcodecWarning, stacklevel=2)
                    unreadable.append(folder / entry.name)
                if progress is not None:
                    progress((k + 1) / len(found))
        except KeyboardInterrupt:
            # What has been listened to is not lost.
            if known | here:
                _write(kept_in, model, known | here)
            raise
        if not here:
            raise FileFormatError(f"none of the {len(found)} sound files in {name} can be read")
        if here.keys() != known.keys():
            _write(kept_in, model, here)
        return cls(folder, model, list(here), np.stack(list(here.values())), tuple(unreadable), heard)

    def nearest(self, query: str | Path, count: int = 10) -> list[Alike]:
        """The sounds most like a sound file, the likest first; the file itself is not among them.

        Errors: FileFormatError, AudioFormatError for a query that cannot be read; StreamcodecError where scikit-learn
        is missing.
        """
        query = _path("a query", query)
        count = check_whole("count", count)
        if count < 1:
            raise AudioFormatError(f"count must be at least 1, got {count}")
        itself = os.path.realpath(query)
        known = {os.path.realpath(self.folder / entry.name): k for k, entry in enumerate(self._entries)}
        own = known.get(itself)
        vector = self._vectors[own] if own is not None else _heard(query, self._model)
        rows = [k for k in range(len(self)) if k != own]
        if not rows:
            return []
        return [Alike(self.folder / self._entries[rows[k]].name, s) for k, s in self._search(vector, rows, count)]

    def _search(self, vector: Float32Array, rows: list[int], count: int) -> list[tuple[int, float]]:
        need_sklearn("search")
        from sklearn.neighbors import NearestNeighbors

        whitening = Whitening.learn(self._vectors)
        search = NearestNeighbors(n_neighbors=min(count, len(rows)), metric="cosine", algorithm="brute")
        search.fit(whitening.apply(self._vectors[rows]))
        distances, found = search.kneighbors(whitening.apply(vector[None]))
        return [(int(k), round(1.0 - float(d), 4)) for d, k in zip(distances[0], found[0], strict=True)]


def _path(what: str, name: str | Path) -> Path:
    if not isinstance(name, str | os.PathLike):
        raise FileFormatError(f"{what} is given by its name (str or Path), got {type(name).__name__}")
    return Path(name)


def _write(path: Path, model: str, known: dict[_Entry, Float32Array]) -> None:
    files = [[entry.name, entry.size, entry.modified_ns] for entry in known]
    about = {"format": FORMAT, "latents": latents_version(model), "files": json.dumps(files)}
    try:
        write_whole(path, save({"vectors": np.stack(list(known.values()))}, about))
    except FileFormatError as error:
        warnings.warn(f"the index is not kept: {error}; name another file for it", StreamcodecWarning, stacklevel=3)


def _sound_files(folder: Path) -> Iterator[_Entry]:
    for path in sound_files(folder.rglob("*")):
        if path.is_file():
            facts = path.stat()
            yield _Entry(path.relative_to(folder).as_posix(), facts.st_size, facts.st_mtime_ns)


def _read(path: Path, model: str) -> dict[_Entry, Float32Array]:
    """What an index file knows; nothing, where it is of another model or no such file."""
    if not path.is_file():
        return {}
    try:
        with safe_open(path, "numpy") as file:
            about: dict[str, Any] = file.metadata() or {}
            vectors = file.get_tensor("vectors")
        if about["format"] != FORMAT:
            raise ValueError("another format")
        if about["latents"] != latents_version(model):
            return {}
        files = [_Entry(str(name), int(size), int(modified)) for name, size, modified in json.loads(about["files"])]
        config = load_model(model).config
        if vectors.shape != (len(files), config.envelope_latents + 2 * config.latents):
            raise ValueError(f"vectors of shape {vectors.shape}")
        if vectors.dtype != np.float32 or not np.isfinite(vectors).all():
            raise ValueError("vectors that are no finite numbers of 32 bits")
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise FileFormatError(
            f"{readable_name(path)} is no index of sounds ({error}): remove it, or name another file for the index"
        ) from error
    return dict(zip(files, vectors, strict=True))


def _heard(path: Path, model: str) -> Float32Array:
    """The embedding of a file's first minute."""
    pieces, seconds = [], 0.0
    with noted() as notes, SoundReader(path, Tier.NEURAL) as sound:
        rate_hz = sound.sample_rate_hz
        for block in sound.blocks():
            pieces.append(block)
            seconds += len(block) / rate_hz
            if seconds >= HEARD_S:
                break
    if not pieces:
        raise AudioFormatError(f"{readable_name(path)} holds no sound")
    for note in notes:
        warnings.warn(note, StreamcodecWarning, stacklevel=3)
    samples = np.concatenate(pieces)[: round(HEARD_S * rate_hz)]
    taken_hz = neural_rate_for(rate_hz)
    if taken_hz != rate_hz:
        samples = soxr.resample(samples, rate_hz, taken_hz)
    return embedding(latents(samples, taken_hz, model=model), load_model(model).config.envelope_latents)
