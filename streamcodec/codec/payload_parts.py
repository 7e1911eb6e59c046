"""Payloads of several parts: all but the last with their length before them (7 bits a byte, lowest first)."""

from __future__ import annotations

from collections.abc import Sequence

from streamcodec.codec.varint import take_varint, varint

MOST_LENGTH_BYTES = 3


def joined(parts: Sequence[bytes]) -> bytes:
    """One payload of these parts, of which there is one at least."""
    *others, last = parts
    return b"".join(varint(len(each)) + each for each in others) + last


def parts_of(payload: bytes, count: int) -> list[bytes] | None:
    """The parts of a payload of so many; None where it holds fewer."""
    parts, position = [], 0
    for _ in range(count - 1):
        found = take_varint(payload, position, MOST_LENGTH_BYTES)
        if found is None or sum(found) > len(payload):
            return None
        length, start = found
        position = start + length
        parts.append(payload[start:position])
    return [*parts, payload[position:]]
