"""Elias gamma code: whole numbers without an upper bound known beforehand, for what lies beyond a coder's alphabet.

Elias, "Universal codeword sets and representations of the integers", IEEE Transactions on Information Theory, 1975.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding.range_coder import decode_bits, encode_bits
from native_dsp.integer_math import bit_length
from native_dsp.jit import inlined

Int64Array = NDArray[np.int64]
ByteArray = NDArray[np.uint8]

# No number takes so many bits; a decoder stops there, whatever the bytes say.
LONGEST_BITS = 28


@inlined
def encode_gamma(coder: Int64Array, buffer: ByteArray, value: int) -> None:
    """Code ``value``, 0 to 2^27 - 2, into a range code under way: length of ``value + 1`` in unary, then its bits.

    Shape: ``coder [STATE_SIZE]`` and ``buffer [bytes]`` of the range coder, changed in place.
    """
    bits = bit_length(value + 1)
    for _ in range(bits - 1):
        encode_bits(coder, buffer, 1, 1)
    encode_bits(coder, buffer, 0, 1)
    encode_bits(coder, buffer, value + 1, bits - 1)


@inlined
def decode_gamma(coder: Int64Array, buffer: ByteArray) -> int:
    """Inverse of :func:`encode_gamma`; any bytes give a number within its bounds.

    Shape: ``coder [STATE_SIZE]``, changed in place; ``buffer [bytes]``.
    """
    bits = 1
    while bits < LONGEST_BITS and decode_bits(coder, buffer, 1):
        bits += 1
    return (1 << (bits - 1) | decode_bits(coder, buffer, bits - 1)) - 1
