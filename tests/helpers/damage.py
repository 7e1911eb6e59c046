"""Damage that payloads may have suffered."""

from __future__ import annotations

import numpy as np


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
