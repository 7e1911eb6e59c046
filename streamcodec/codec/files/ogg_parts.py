"""Ogg files of several recordings one behind the other (chained, RFC 3533 section 4), as internet radio records them.

libsndfile reads the first and is silent about the others, so each is shown to it as a file of its own.
"""

from __future__ import annotations

import io
import struct
from itertools import pairwise
from typing import IO

from streamcodec.codec.files.sound_lengths import Repair

_HEAD = struct.Struct("<4sBBqIIIB")
_FIRST_PAGE = 0x02
MAX_PARTS = 10_000


def ogg_parts(file: IO[bytes]) -> list[Repair]:
    """How to see each recording of an Ogg file by itself; of most files one, none of what is no Ogg.

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
    return [Repair(start=start, end=end) for start, end in pairwise([*starts, size])]
