"""Adaptive binary models for the range coder: each learns how often its bit is 1, from the bits it has coded.

Two estimates run side by side, one quick and one slow, and their mean is the probability (as in the counters of
context-mixing compressors; update by shifts as in LZMA). New models learn faster: the first bits count for more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding.range_coder import decode_bit, encode_bit
from native_dsp.jit import integer_kernel

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
ByteArray = NDArray[np.uint8]

FAST = 0
SLOW = 1
SEEN = 2

FAST_SHIFT = 4
SLOW_SHIFT = 7


def make_models(count: int) -> Int32Array:
    """Models that know nothing yet: both estimates one half.

    Shape: int32 ``[count, 3]``: quick estimate, slow estimate (of 65536), bits seen (up to ``SLOW_SHIFT``).
    """
    models = np.zeros((count, 3), np.int32)
    models[:, :SEEN] = 1 << 15
    return models


@integer_kernel
def probability(models: Int32Array, index: int) -> int:
    """Probability of a 1, of 65536, always within 1 to 65535.

    Shape: ``models [count, 3]`` as of :func:`make_models`.
    """
    mean: int = (np.int64(models[index, FAST]) + np.int64(models[index, SLOW])) >> 1
    return min(max(mean, 1), 65535)


@integer_kernel
def adapt(models: Int32Array, index: int, bit: int) -> None:
    """Learn one bit.

    Shape: ``models [count, 3]`` as of :func:`make_models`, changed in place.
    """
    seen = np.int64(models[index, SEEN])
    target = 65535 if bit else 0
    for column, slowest in ((FAST, FAST_SHIFT), (SLOW, SLOW_SHIFT)):
        estimate = np.int64(models[index, column])
        models[index, column] = estimate + ((target - estimate) >> min(seen + 1, slowest))
    models[index, SEEN] = min(seen + 1, SLOW_SHIFT)


@integer_kernel
def encode_adaptive_bit(state: Int64Array, buffer: ByteArray, models: Int32Array, index: int, bit: int) -> None:
    """Code a bit with model ``index``, which learns it.

    Shape: ``state [STATE_SIZE]``, ``buffer [bytes]`` (both the range coder's), ``models [count, 3]``, as of
    :func:`make_models`; all changed in place.
    """
    encode_bit(state, buffer, probability(models, index), bit)
    adapt(models, index, bit)


@integer_kernel
def decode_adaptive_bit(state: Int64Array, buffer: ByteArray, models: Int32Array, index: int) -> int:
    """Inverse of :func:`encode_adaptive_bit`.

    Shape: as there; ``state`` and ``models`` are changed in place.
    """
    bit = decode_bit(state, buffer, probability(models, index))
    adapt(models, index, bit)
    return bit
