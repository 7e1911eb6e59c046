"""The manifest of a packed folder: JSON lines, one for each file, written as the files are done.

The first line says what was asked for. A run that goes on with a folder reads it: what it names as done, and what is
still there as it says, is not done again. Of two lines for one source the later counts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from streamcodec.codec.files.output_file import describe_error, whole_file
from streamcodec.errors import FileFormatError, StreamcodecError

MANIFEST = "manifest.jsonl"
FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """What became of one file. Names are relative to the two folders, with ``/`` between their parts."""

    source: str
    target: str
    """The file made of it; ``shard/member`` where it lies in a tar."""
    error: str | None = None
    sha256: str = ""
    """Of the source's bytes."""
    source_bytes: int = 0
    source_mtime_ns: int = 0
    target_sha256: str = ""
    bytes: int = 0
    """Of the file made."""
    samples: int = 0
    """Of each channel."""
    sample_rate_hz: int = 0
    channels: int = 0
    note: str = ""
    """What there is to say of a file that was done: mixed down, resampled, shorter than its header promises."""

    @property
    def duration_s(self) -> float:
        """Seconds of sound."""
        return self.samples / self.sample_rate_hz if self.sample_rate_hz else 0.0

    def to_json(self) -> str:
        """One line."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=True)


KINDS: dict[str, Any] = {field.name: type(field.default) for field in dataclasses.fields(Entry)}
KINDS |= {"source": str, "target": str, "error": (str, type(None))}


class Manifest:
    """Entries by source, appended to a file as they come. Raises FileFormatError, StreamcodecError."""

    def __init__(self, folder: Path, asked: dict[str, Any]) -> None:
        self.path = folder / MANIFEST
        self.entries: dict[str, Entry] = {}
        before = read_manifest(folder)
        if before is not None:
            described, entries = before
            differing = sorted(key for key in asked.keys() | described.keys() if asked.get(key) != described.get(key))
            if differing:
                told = ", ".join(f"{key} {described.get(key)!r}, now {asked.get(key)!r}" for key in differing)
                raise StreamcodecError(
                    f"{folder} was begun with other settings ({told}): ask for the same to go on, or give another "
                    "folder"
                )
            self.entries = entries
        self._asked = asked
        self._rewrite()
        self._file: IO[str] = self._opened()

    def add(self, entry: Entry) -> None:
        """Note a file as done, or as failed."""
        self.entries[entry.source] = entry
        try:
            self._file.write(entry.to_json() + "\n")
            self._file.flush()
        except OSError as error:
            raise FileFormatError(f"cannot write {self.path}: {describe_error(error)}") from error

    def close(self) -> None:
        """Put the lines in order of their sources, each once."""
        with contextlib.suppress(OSError):
            self._file.close()
        self._rewrite()

    def _opened(self) -> IO[str]:
        try:
            return open(self.path, "a", encoding="utf-8")
        except OSError as error:
            raise FileFormatError(f"cannot write {self.path}: {describe_error(error)}") from error

    def _rewrite(self) -> None:
        with whole_file(self.path) as out:
            out.write((json.dumps({"format": FORMAT, "asked": self._asked}) + "\n").encode())
            for source in sorted(self.entries):
                out.write((self.entries[source].to_json() + "\n").encode())


def read_manifest(folder: Path) -> tuple[dict[str, Any], dict[str, Entry]] | None:
    """What was asked for, and entries by source; None where there is no manifest.

    A last line that was cut off (the run was killed while writing it) is left out. Raises FileFormatError.
    """
    path = folder / MANIFEST
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise FileFormatError(f"cannot read {path}: {error}") from error
    entries: dict[str, Entry] = {}
    try:
        first = json.loads(lines[0])
        if first.get("format") != FORMAT or not isinstance(first["asked"], dict):
            raise ValueError("it is of another version")
        for number, line in enumerate(lines[1:], 2):
            if not line:
                continue
            try:
                entry = Entry(**json.loads(line))
                if not all(isinstance(value, KINDS[name]) for name, value in dataclasses.asdict(entry).items()):
                    raise ValueError(f"line {number} holds what is no entry")
            except (ValueError, TypeError):
                if number == len(lines):
                    break
                raise
            entries[entry.source] = entry
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FileFormatError(
            f"{path} is not a manifest that this version reads ({error}): give a new folder, or remove it"
        ) from error
    return first["asked"], entries


def is_done(entry: Entry | None, source: Path, folder: Path) -> bool:
    """Whether a source was coded as it is now, and what was made of it is still there."""
    if entry is None or entry.error is not None:
        return False
    try:
        found = os.stat(source)
    except OSError:
        return False
    if (found.st_size, found.st_mtime_ns) != (entry.source_bytes, entry.source_mtime_ns):
        return False
    # A folder may be called .tar, too.
    shard, is_tar, _ = entry.target.partition(".tar/")
    if is_tar and (folder / f"{shard}.tar").is_file():
        return True
    try:
        return os.stat(folder / entry.target).st_size == entry.bytes
    except OSError:
        return False
