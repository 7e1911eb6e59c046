"""Pictures in a ``.sc`` file, such as covers: a list in JSON, and their bytes one behind the other."""

from __future__ import annotations

import json
import struct
import warnings
from collections.abc import Sequence

from streamcodec.codec.files.container import MAX_BODY_BYTES
from streamcodec.codec.files.tags import MAX_PICTURES, Picture
from streamcodec.errors import StreamcodecWarning


def fitting_pictures(pictures: Sequence[Picture]) -> tuple[Picture, ...]:
    """The first pictures that fit into a file; the others are left out with a warning."""
    kept: list[Picture] = []
    for picture in pictures[:MAX_PICTURES]:
        if len(pictures_body([*kept, picture])) <= MAX_BODY_BYTES:
            kept.append(picture)
    if len(kept) < len(pictures):
        warnings.warn(
            f"{len(pictures) - len(kept)} picture(s) do not fit into a .sc file: left out",
            StreamcodecWarning,
            stacklevel=3,
        )
    return tuple(kept)


def pictures_body(pictures: Sequence[Picture]) -> bytes:
    """The body of the pictures' part of a file."""
    told = [
        {"type": p.mime[:256], "kind": p.kind, "description": p.description[:1_024], "bytes": len(p.data)}
        for p in pictures
    ]
    text = json.dumps(told).encode()
    return struct.pack(">I", len(text)) + text + b"".join(p.data for p in pictures)


def parse_pictures(body: bytes) -> tuple[Picture, ...]:
    """Inverse of :func:`pictures_body`; none where the list cannot be read."""
    start = 4 + int.from_bytes(body[:4], "big")
    found = []
    try:
        for told in json.loads(body[4:start])[:MAX_PICTURES]:
            end = start + int(told["bytes"])
            if not start <= end <= len(body):
                break
            found.append(Picture(body[start:end], str(told["type"]), int(told["kind"]), str(told["description"])))
            start = end
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return ()
    return tuple(found)
