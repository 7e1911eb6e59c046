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
