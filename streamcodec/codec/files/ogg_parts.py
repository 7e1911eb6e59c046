"""Ogg files of several recordings one behind the other (chained, RFC 3533 section 4), as internet radio records them.

libsndfile reads the first and is silent about the others, so each is shown to it as a file of its own.
"""

from __future__ import annotations

import io
import struct
from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from typing import IO

from streamcodec.codec.files.sound_lengths import Repair

_HEAD = struct.Struct("<4sBBqIIIB")
_FIRST_PAGE, _LAST_PAGE = 0x02, 0x04
MAX_PARTS = 10_000


def ogg_parts(file: IO[bytes]) -> list[Repair]:
    """How to see each recording of an Ogg file by itself; of most files one, none of what is no Ogg.

    Reads the heads of all pages, in time linear in their number. Ends where a page does not follow upon the last.
    """
    size = file.seek(0, io.SEEK_END)
    starts: list[int] = []
    among_first = False
    for offset, flags, _ in _pages(file, size):
        first = bool(flags & _FIRST_PAGE)
        # The first pages of streams beside each other stand together.
        if first and not among_first:
            starts.append(offset)
            if len(starts) == MAX_PARTS:
                break
        among_first = first
    return [Repair(start=start, end=end) for start, end in pairwise([*starts, size])]


def ogg_ends_early(file: IO[bytes]) -> bool:
    """Whether an Ogg file breaks off: its last page is not whole, or not marked as the last."""
    size = file.seek(0, io.SEEK_END)
    last = deque(_pages(file, size), maxlen=1)
    return any(end > size or not flags & _LAST_PAGE for _, flags, end in last)


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
