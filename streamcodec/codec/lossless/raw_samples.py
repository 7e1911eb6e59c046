"""Integer samples as bytes, uncompressed: whole ones, and the low bits that no predictor could tell."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from streamcodec.errors import DamagedPayload

Int32Array = NDArray[np.int32]


def common_zero_bits(samples: Int32Array) -> int:
    """Zero bits below every sample.

    Shape: any.
    """
    union = int(np.bitwise_or.reduce(samples, axis=None))
    return (union & -union).bit_length() - 1 if union else 0


def sample_width(samples: Int32Array) -> int:
    """Bits of the widest sample, its sign counted.

    Shape: any.
    """
    return max(int(samples.max()), ~int(samples.min()), 0).bit_length() + 1


def within_width(samples: Int32Array, bits: int) -> Int32Array:
    """The samples, if they are as narrow as the kernels take them; raises DamagedPayload.

    Shape: any, kept.
    """
    if sample_width(samples) > bits:
        raise DamagedPayload(f"lossless payload has raw samples of more than {bits} bits")
    return samples


def pack_low_bits(samples: Int32Array, shift: int, low: int) -> bytes:
    """The upper ``low`` of the ``shift`` bits below every sample, interleaved, filled up to a byte.

    Shape: ``[n, channels]``.
    """
    if not low:
        return b""
    places = np.arange(shift - 1, shift - low - 1, -1)
    return np.packbits(((samples.reshape(-1, 1) >> places) & 1).astype(np.uint8)).tobytes()


def unpack_low_bits(front: bytes, shape: tuple[int, ...], shift: int, low: int) -> Int32Array:
    """Inverse of :func:`pack_low_bits`.

    Shape: output ``shape``.
    """
    if not low:
        return np.zeros(shape, np.int32)
    count = int(np.prod(shape))
    bits = np.unpackbits(np.frombuffer(front, np.uint8), count=count * low).reshape(count, low).astype(np.int32)
    places = np.arange(shift - 1, shift - low - 1, -1, dtype=np.int32)
    values: Int32Array = (bits << places).sum(axis=1, dtype=np.int32).reshape(shape)
    return values


def samples_checksum(samples: Int32Array) -> bytes:
    """CRC-32 of the samples as little-endian int32, interleaved; 4 bytes.

    Shape: ``[n, channels]``.
    """
    return zlib.crc32(np.ascontiguousarray(samples, "<i4").data).to_bytes(4, "big")


def pack_samples(samples: Int32Array, sample_bytes: int) -> bytes:
    """Big-endian bytes of every sample, interleaved.

    Shape: ``[n, channels]``.
    """
    wide = np.ascontiguousarray(samples, ">i4").view(np.uint8).reshape(-1, 4)
    return wide[:, 4 - sample_bytes :].tobytes()


def unpack_samples(body: bytes, sample_bytes: int, count: int, channels: int) -> Int32Array:
    """Inverse of :func:`pack_samples`; raises DamagedPayload where the length is another.

    Shape: output ``[count, channels]``.
    """
    if len(body) != count * channels * sample_bytes:
        raise DamagedPayload(
            f"lossless payload has {len(body)} bytes of raw samples where {count * channels * sample_bytes} belong"
        )
    wide = np.zeros((count * channels, 4), np.uint8)
    wide[:, :sample_bytes] = np.frombuffer(body, np.uint8).reshape(-1, sample_bytes)
    samples = wide.view(">i4").astype(np.int32) >> (32 - 8 * sample_bytes)
    return samples.reshape(count, channels)
