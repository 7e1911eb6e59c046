"""Ogg files of several recordings one behind the other (chained, RFC 3533 section 4), as internet radio records them.

libsndfile reads the first and is silent about the others, so each is shown to it as a file of its own.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import IO

_HEAD = struct.Struct("<4sBBqIIIB")
_FIRST_PAGE = 0x02
MAX_PARTS = 10_000


@dataclass(frozen=True)
class Part:
    """Bytes of a file from ``start`` to ``end``."""

    start: int
    end: int


class PartOfFile:
    """A part of a binary file, seen as a file; for reading alone."""

    def __init__(self, file: IO[bytes], part: Part) -> None:
        self._file = file
        self._part = part
        self._position = 0

    def read(self, count: int = -1) -> bytes:
        """As of any file."""
        left = self._part.end - self._part.start - self._position
        self._file.seek(self._part.start + self._position)
        out = self._file.read(max(0, left if count < 0 else min(count, left)))
        self._position += len(out)
        return out

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As of any file."""
        size = self._part.end - self._part.start
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """As of any file."""
        return self._position


def ogg_parts(file: IO[bytes]) -> list[Part]:
    """The recordings of an Ogg file; fewer than two for most files, and for those that are no Ogg.

    Reads the heads of all pages, in time linear in their number. Ends where a page does not follow upon the last.
    """
    size = file.seek(0, io.SEEK_END)
    starts: list[int] = []
    offset, among_first = 0, False
    while offset + _HEAD.size <= size and len(starts) < MAX_PARTS:
        file.seek(offset)
        name, _, flags, _, _, _, _, segments = _HEAD.unpack(file.read(_HEAD.size))
        if name != b"OggS":
            break
        first = bool(flags & _FIRST_PAGE)
        # The first pages of streams beside each other stand together.
        if first and not among_first:
            starts.append(offset)
        among_first = first
        offset += _HEAD.size + segments + sum(file.read(segments))
    ends = [*starts[1:], size]
    return [Part(start, end) for start, end in zip(starts, ends, strict=True)] if starts else []
