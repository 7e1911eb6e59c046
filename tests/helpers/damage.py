"""Damage that payloads and files may have suffered, and what is told of it."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import numpy as np

from streamcodec import StreamcodecWarning
from streamcodec.codec.files.container import INDEX_MARK
from streamcodec.codec.files.container_reader import FileReader


def damaged(payload: bytes, case: int, rng: np.random.Generator, longest: int) -> bytes:
    """By turns a bit flipped, the end cut off, a byte replaced, or bytes of chance, fewer than ``longest``."""
    data = bytearray(payload)
    match case % 4:
        case 0:
            data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        case 1:
            del data[rng.integers(len(data)) :]
        case 2:
            data[rng.integers(len(data))] = int(rng.integers(256))
        case _:
            return rng.integers(0, 256, int(rng.integers(0, longest)), np.uint8).tobytes()
    return bytes(data)


def spoilt(payload: bytes, case: int, rng: np.random.Generator) -> bytes:
    """By turns as it was, the end cut off, another first byte, or up to 39 bytes of chance."""
    match case:
        case 1:
            return payload[: rng.integers(0, len(payload))]
        case 2:
            return bytes([rng.integers(0, 256)]) + payload[1:]
        case 3:
            return rng.bytes(rng.integers(0, 40))
    return payload


def without(data: bytes, *clusters: int) -> bytes:
    """A file of which whole clusters are cut out, exactly at their marks."""
    marks = [where for where, _ in FileReader(io.BytesIO(data)).index]
    ends = [*marks[1:], data.index(INDEX_MARK)]
    kept = [
        data[: marks[0]],
        *(data[a:b] for k, (a, b) in enumerate(zip(marks, ends, strict=True)) if k not in clusters),
    ]
    return b"".join([*kept, data[ends[-1] :]])


def told(act: Callable[[], object]) -> list[str]:
    """The warnings of ours with which something is done."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        act()
    assert all(issubclass(warning.category, StreamcodecWarning) for warning in caught), caught
    return [str(warning.message) for warning in caught]
