"""Whole numbers in as few bytes as they need: seven bits a byte, lowest first, the highest bit where more follow."""

from __future__ import annotations


def varint(value: int) -> bytes:
    """A number from 0 on (LEB128)."""
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def varint_bytes(value: int) -> int:
    """How many bytes a number takes."""
    return max(1, -(-value.bit_length() // 7))


def take_varint(data: bytes, position: int, most_bytes: int) -> tuple[int, int] | None:
    """The number at a position, and the position behind it; None where it does not end within so many bytes."""
    value = 0
    for count, byte in enumerate(data[position : position + most_bytes]):
        value |= (byte & 127) << 7 * count
        if byte < 128:
            return value, position + count + 1
    return None
