"""Context-mixing coder of band energies: small whole numbers, band after band, block after block.

A band energy is coded as its difference to that of the same band in the block before (in a key block, to the band
below). How the bands below changed, how this band changed last, where its neighbours and its running mean lie, and
the band itself are contexts of the decisions "changed?", "fell?" and "by more than n?", which a mixer weighs as in
:mod:`native_dsp.coding.coefficient_coder`. Integers only, so that every machine decodes the same.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding.bit_mixing import BANKS, Mixer, learn_bit, make_mixer, mixed_probability
from native_dsp.coding.range_coder import decode_bit, encode_bit
from native_dsp.jit import inlined, kernel
from native_dsp.state import copy_state

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
ByteArray = NDArray[np.uint8]

HIGHEST_ENERGY = 63
# Decisions of one difference: changed, fell, then by more than 1, 2, ...; the last one repeats.
NODES = 16
INPUTS = 6
CONTEXTS = 256
SLOTS = INPUTS * CONTEXTS * NODES
SLOWEST_COUNT = 100
LEARNING_RATE = 3


class BandEnergyCoder(NamedTuple):
    """Models, and what is remembered of earlier blocks.

    Shape: ``last`` and ``before [channels, bands]`` int32, energies of the last two blocks; ``mean`` of the same
    shape, running means in sixteenths.
    """

    mixer: Mixer
    last: Int32Array
    before: Int32Array
    mean: Int32Array


def make_band_energy_mixer() -> Mixer:
    """Models of both banks that have seen nothing."""
    return make_mixer(BANKS * SLOTS, BANKS * NODES, INPUTS)


def make_band_energy_coder(channels: int, bands: int, learnt: Mixer | None = None) -> BandEnergyCoder:
    """A coder that has seen no block; its models know what a copy of ``learnt`` knows, or nothing."""
    shape = (channels, bands)
    return BandEnergyCoder(
        mixer=make_band_energy_mixer() if learnt is None else copy_state(learnt),
        last=np.zeros(shape, np.int32),
        before=np.zeros(shape, np.int32),
        mean=np.zeros(shape, np.int32),
    )


@inlined
def _within(value: int, limit: int) -> int:
    """``value`` held within +-``limit``, counted from 0."""
    return min(max(value, -limit), limit) + limit


@inlined
def _code_bit(
    coder: Int64Array, buffer: ByteArray, mixer: Mixer, node: int, bank: int, bit: int, decoding: bool
) -> int:
    """One decision; ``mixer.chosen`` holds the first node of every context."""
    for i in range(INPUTS):
        mixer.chosen[i] += node
    weights = bank * NODES + node
    chance = mixed_probability(mixer, INPUTS, weights)
    if decoding:
        bit = decode_bit(coder, buffer, chance)
    else:
        encode_bit(coder, buffer, chance, bit)
    learn_bit(mixer, INPUTS, weights, chance, bit, SLOWEST_COUNT, LEARNING_RATE)
    for i in range(INPUTS):
        mixer.chosen[i] -= node
    return bit


@inlined
def _code_band_energies(
    coder: Int64Array, buffer: ByteArray, models: BandEnergyCoder, energies: Int32Array, key: bool, decoding: bool
) -> None:
    channels, bands = energies.shape
    mixer = models.mixer
    bank = 0 if key else 1
    for channel in range(channels):
        last, before, mean = models.last[channel], models.before[channel], models.mean[channel]
        below = np.int64(0)
        below_that = np.int64(0)
        trend = np.int64(0)
        for band in range(bands):
            lower = np.int64(energies[channel, band - 1]) if band > 0 else np.int64(16)
            other = np.int64(0)
            if channel == 1:
                other = np.int64(energies[0, band]) - (lower if key else np.int64(models.last[0, band]))
            if key:
                expected = lower
                c2 = 0
                c3 = _within(other, 7)
                c5 = min(lower, 31) * 7 + _within(below, 3)
            else:
                expected = np.int64(last[band])
                changed = expected - np.int64(before[band])
                upper = np.int64(last[band + 1]) if band + 1 < bands else expected
                away = (np.int64(mean[band]) - 16 * expected) >> 3
                c2 = _within(changed, 3) * 7 + _within(below, 3)
                c3 = (_within(lower - expected, 3) * 5 + _within(upper - expected, 2)) * 5 + _within(other, 2)
                c5 = _within(away, 7) * 7 + _within(below + below_that, 3)
            start = bank * SLOTS
            mixer.chosen[0] = start + min(band, 63) * NODES
            mixer.chosen[1] = start + (CONTEXTS + _within(below, 5) * 11 + _within(below_that, 5)) * NODES
            mixer.chosen[2] = start + (2 * CONTEXTS + c2) * NODES
            mixer.chosen[3] = start + (3 * CONTEXTS + c3) * NODES
            mixer.chosen[4] = start + (4 * CONTEXTS + _within(trend >> 1, 7) * 8 + min(band >> 2, 7)) * NODES
            mixer.chosen[5] = start + (5 * CONTEXTS + c5) * NODES

            difference = np.int64(energies[channel, band]) - expected
            # Nodes are not literals, for each of which it would be compiled anew.
            if _code_bit(coder, buffer, mixer, np.int64(0), bank, 1 if difference != 0 else 0, decoding):
                fell = _code_bit(coder, buffer, mixer, np.int64(1), bank, 1 if difference < 0 else 0, decoding)
                size = np.int64(1)
                wanted = abs(difference)
                while size <= HIGHEST_ENERGY and _code_bit(
                    coder, buffer, mixer, min(size + 1, NODES - 1), bank, 1 if wanted > size else 0, decoding
                ):
                    size += 1
                if decoding:
                    difference = -size if fell else size
            elif decoding:
                difference = np.int64(0)
            if decoding:
                energies[channel, band] = min(max(expected + difference, 0), HIGHEST_ENERGY)
            below_that = below
            below = difference
            trend += difference - (trend >> 2)
            if key:
                # As if it had been so for long.
                last[band] = energies[channel, band]
                mean[band] = energies[channel, band] << 4
    store_band_energies(models, energies)


@kernel
def store_band_energies(models: BandEnergyCoder, energies: Int32Array) -> None:
    """Make ``energies [channels, bands]`` those of the last block; called alone after a block that was not coded."""
    channels, bands = energies.shape
    for channel in range(channels):
        for band in range(bands):
            models.before[channel, band] = models.last[channel, band]
            models.last[channel, band] = energies[channel, band]
            mean = np.int64(models.mean[channel, band])
            models.mean[channel, band] = mean + (((np.int64(energies[channel, band]) << 4) - mean) >> 3)


@kernel
def encode_band_energies(
    coder: Int64Array, buffer: ByteArray, models: BandEnergyCoder, energies: Int32Array, key: bool
) -> None:
    """Code the band energies of a block into a range code under way.

    Shape: ``energies [channels, bands]`` int32, 0 to ``HIGHEST_ENERGY``.
    """
    _code_band_energies(coder, buffer, models, energies, key, False)


@kernel
def decode_band_energies(
    coder: Int64Array, buffer: ByteArray, models: BandEnergyCoder, energies: Int32Array, key: bool
) -> None:
    """Inverse of :func:`encode_band_energies`; any bytes give energies within bounds.

    Shape: as there; ``energies [channels, bands]`` are written.
    """
    _code_band_energies(coder, buffer, models, energies, key, True)
