"""The checksum of packets and reports: CRC-16 (CCITT, seed 0xFFFF) of everything before it, big-endian."""

from __future__ import annotations

import binascii

_SEED = 0xFFFF


def with_checksum(body: bytes | bytearray) -> bytes:
    """The body and its checksum, two bytes."""
    return bytes(body) + binascii.crc_hqx(body, _SEED).to_bytes(2, "big")


def fits_checksum(data: bytes) -> bool:
    """Whether the last two bytes are the checksum of those before."""
    return binascii.crc_hqx(data[:-2], _SEED) == int.from_bytes(data[-2:], "big")
