"""Ogg files of several recordings one behind the other (chained, RFC 3533 section 4), as internet radio records them.

libsndfile reads the first and is silent about the others, so each is shown to it as a file of its own.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import IO

from streamcodec.codec.files.sound_lengths import Repair

_HEAD = struct.Struct("<4sBBqIIIB")
_FIRST_PAGE, _LAST_PAGE = 0x02, 0x04
MAX_PARTS = 10_000


def ogg_parts(file: IO[bytes]) -> tuple[list[Repair], bool]:
    """How to see each recording of an Ogg file by itself; of most files one, none of what is no Ogg.

    And whether the file breaks off: its last page is not whole, or not marked as the last.

    Reads the heads of all pages, in time linear in their number. Ends where a page does not follow upon the last.
    """
    size = file.seek(0, io.SEEK_END)
    starts: list[int] = []
    among_first = ends_early = False
    for offset, flags, end in _pages(file, size):
        first = bool(flags & _FIRST_PAGE)
        # The first pages of streams beside each other stand together.
        if first and not among_first and len(starts) < MAX_PARTS:
            starts.append(offset)
        among_first = first
        ends_early = bool(starts) and (end > size or not flags & _LAST_PAGE)
    return [Repair(start=start, end=end) for start, end in pairwise([*starts, size])], ends_early


def _pages(file: IO[bytes], size: int) -> Iterator[tuple[int, int, int]]:
    """Offset, flags and end of each page, as far as one follows upon the other."""
    offset = 0
    while offset + _HEAD.size <= size:
        file.seek(offset)
        name, _, flags, _, _, _, _, segments = _HEAD.unpack(file.read(_HEAD.size))
        if name != b"OggS":
            return
        end = offset + _HEAD.size + segments + sum(file.read(segments))
        yield offset, flags, end
        offset = end
