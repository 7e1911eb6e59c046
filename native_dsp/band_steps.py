"""Step sizes that follow the spectral envelope: louder bands bear more noise, and the decoder is told how much.

An *offset* is how many half octaves a band's step lies above the base step: ``2 * GAMMA * log2(rms)``, with the root
mean square in steps of 16-bit sound, and a little more for every band up the scale, because high bands are many
coefficients wide and the ear is coarse there. Small changes are not followed. Offsets travel as differences, to the
last block's or, in a key block, to the band below.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.adaptive_bits import decode_adaptive_bit, encode_adaptive_bit, make_models
from native_dsp.jit import inlined, kernel

Float32Array = NDArray[np.float32]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
ByteArray = NDArray[np.uint8]

# Share of a band's level that its noise follows: 0 is white noise, 1 the same signal-to-noise ratio everywhere.
GAMMA = 0.6
# Half octaves more for each band than for the one below.
TILT = 0.3
# Half octaves that a level must move before its offset does.
HYSTERESIS = 1.2
# Constants found by trial on development speech at 24 kbps.
HIGHEST_OFFSET = 40
_UNARY = 2 * HIGHEST_OFFSET + 2


class BandState(NamedTuple):
    """Bands of a block and the models of their offsets.

    Shape: ``edges [bands + 1]`` int64, in coefficients; ``offsets [channels, bands]`` int32, those of the last block;
    ``models`` int32, adaptive bits.
    """

    edges: Int64Array
    offsets: Int32Array
    models: Int32Array


def make_bands(channels: int, coefficients: int, sample_rate_hz: int) -> BandState:
    """Bands about one Bark wide (Traunmueller's formula), none narrower than four coefficients."""
    hz = (np.arange(coefficients + 1)) * sample_rate_hz / (2 * coefficients)
    bark = 26.81 * hz / (1960 + hz) - 0.53
    edges = [0]
    for k in range(1, coefficients):
        if bark[k] - bark[edges[-1]] >= 1 and k - edges[-1] >= 4 and coefficients - k >= 4:
            edges.append(k)
    bands = len(edges)
    return BandState(
        edges=np.array([*edges, coefficients], np.int64),
        offsets=np.zeros((channels, bands), np.int32),
        models=make_models(2 * 3 * _UNARY),
    )


@kernel
def measure_offsets(bands: BandState, channel: int, spectrum: Float32Array, offsets: Int32Array) -> None:
    """Offsets that the spectrum of one channel asks for.

    Shape: ``spectrum [coefficients]``, in steps of 16-bit sound, -> ``offsets [bands]``.
    """
    for band in range(len(offsets)):
        first, end = bands.edges[band], bands.edges[band + 1]
        energy = np.float32(0)
        for k in range(first, end):
            energy += spectrum[k] * spectrum[k]
        level = GAMMA * np.log2(energy / (end - first) + 1e-9) + TILT * band
        if abs(level - bands.offsets[channel, band]) < HYSTERESIS:
            level = float(bands.offsets[channel, band])
        offsets[band] = min(max(np.int64(np.rint(level)), 0), HIGHEST_OFFSET)


@inlined
def _code_offsets(
    coder: Int64Array, buffer: ByteArray, bands: BandState, offsets: Int32Array, key: bool, decoding: bool
) -> None:
    channels, count = offsets.shape
    for channel in range(channels):
        drift = np.int64(0)
        for band in range(count):
            if key:
                expected = np.int64(offsets[channel, band - 1]) if band > 0 else np.int64(16)
            else:
                expected = np.int64(bands.offsets[channel, band])
            # Zigzag: 0, -1, 1, -2, ... as 0, 1, 2, 3, ...
            difference = np.int64(offsets[channel, band]) - expected
            symbol = 2 * difference if difference >= 0 else -2 * difference - 1
            base = ((1 if key else 0) * 3 + min(max(drift + 1, 0), 2)) * _UNARY
            units = 0
            while units < _UNARY - 1:
                more = 1 if symbol > units else 0
                if decoding:
                    more = decode_adaptive_bit(coder, buffer, bands.models, base + units)
                else:
                    encode_adaptive_bit(coder, buffer, bands.models, base + units, more)
                if not more:
                    break
                units += 1
            if decoding:
                difference = -((units + 1) >> 1) if units & 1 else units >> 1
                offsets[channel, band] = min(max(expected + difference, 0), HIGHEST_OFFSET)
            drift = difference
    for channel in range(channels):
        for band in range(count):
            bands.offsets[channel, band] = offsets[channel, band]


@kernel
def encode_offsets(coder: Int64Array, buffer: ByteArray, bands: BandState, offsets: Int32Array, key: bool) -> None:
    """Code the offsets of a block into a range code under way.

    Shape: ``offsets [channels, bands]``, 0 to ``HIGHEST_OFFSET``.
    """
    _code_offsets(coder, buffer, bands, offsets, key, False)


@kernel
def decode_offsets(coder: Int64Array, buffer: ByteArray, bands: BandState, offsets: Int32Array, key: bool) -> None:
    """Inverse of :func:`encode_offsets`; always within bounds."""
    _code_offsets(coder, buffer, bands, offsets, key, True)
