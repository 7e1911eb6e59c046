"""Numbers that travel with their lowest bits alone."""

from __future__ import annotations

from streamcodec.codec.packet import SEQUENCE_MODULUS


def extend(wrapped: int, near: int, modulus: int = SEQUENCE_MODULUS) -> int:
    """The number congruent to ``wrapped`` modulo ``modulus`` that lies nearest to ``near``."""
    half = modulus // 2
    return near + (wrapped - near + half) % modulus - half
