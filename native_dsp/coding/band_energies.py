"""Energies of bands about one Bark wide, and the quantiser steps that follow from them.

A band energy is the logarithm of a band's mean square, in steps of ``RESOLUTION`` octaves of power, counted from
``LOWEST_LOG2``; 0 is silence. Band energies are sent; encoder and decoder work out the same steps from them, so that
a louder band bears more noise, but less than in proportion, and the ear's coarser resolution at high frequencies is
used. Small changes of energy are not followed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding.band_energy_coder import HIGHEST_ENERGY
from native_dsp.coding.coefficient_coder import HIGHEST_HINT
from native_dsp.jit import kernel

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]

RESOLUTION = 1.0
# In steps of 16-bit sound, squared.
LOWEST_LOG2 = -8.0
# Levels that a band must move before it is followed.
HYSTERESIS = 0.8
WIDEST_BAND_HZ = 1_250.0
# Nothing above is coded: hardly anyone hears it.
TOP_HZ = 20_000.0

# Share of a band's energy that its noise follows: 0 is white noise, 1 the same signal-to-noise ratio everywhere.
GAMMA = 0.7
# Octaves of power more for each Bark, and once more for what lies well above 8 kHz, where noise of the right energy
# will do.
TILT = 0.4
TREBLE_TILT = 4.0
TREBLE_HZ = 8_000.0
# Constants found by trial on development speech, music and environment at 24 and 48 kbps.

# Fixed point of hints, and what a band energy alone adds to the logarithm of amplitude over quantiser step.
HINT_BITS = 16
HINT_ONE = 1 << HINT_BITS
_ENERGIES_LOG2 = np.arange(HIGHEST_ENERGY + 1) * RESOLUTION + LOWEST_LOG2
ENERGIES_OVER_WIDTHS = np.rint(0.5 * HINT_ONE * (_ENERGIES_LOG2 - GAMMA * np.maximum(_ENERGIES_LOG2, 0))).astype(
    np.int64
)


class Bands(NamedTuple):
    """Shape: ``edges [bands + 1]`` int64, in coefficients; ``tilt_log2 [bands]`` float64, octaves of power; ``barks
    [bands]`` float64, their centres in Bark.
    """

    edges: Int64Array
    tilt_log2: Float64Array
    barks: Float64Array


def bark(hz: Float64Array | float) -> Float64Array:
    """Traunmueller's formula, from 0 at 0 Hz.

    Shape: any, in Hz -> the same, in Bark.
    """
    scale: Float64Array = 26.81 * np.asarray(hz, np.float64) / (1960.0 + np.asarray(hz, np.float64))
    return scale


def make_bands(coefficients: int, sample_rate_hz: int) -> Bands:
    """Bands one Bark or ``WIDEST_BAND_HZ`` wide, whichever is less, and none narrower than four coefficients."""
    hz = np.arange(coefficients + 1) * sample_rate_hz / (2 * coefficients)
    at = bark(hz)
    top = max(min(int(np.ceil(2 * coefficients * TOP_HZ / sample_rate_hz)), coefficients), 4)
    edges = [0]
    for k in range(4, top - 3):
        wide_enough = at[k] - at[edges[-1]] >= 1 or hz[k] - hz[edges[-1]] >= WIDEST_BAND_HZ
        if wide_enough and k - edges[-1] >= 4:
            edges.append(k)
    edges.append(top)
    centres = (at[edges[:-1]] + at[edges[1:]]) / 2
    tilt_log2 = TILT * centres + TREBLE_TILT * np.clip(centres - bark(TREBLE_HZ), 0, 1)
    return Bands(np.array(edges, np.int64), tilt_log2, centres)


def measure_band_energies_reference(bands: Bands, spectrum: Float32Array, last: Int32Array, key: bool) -> Int32Array:
    """The definition of :func:`measure_band_energies`.

    Shape: as there; returns what there is written into ``energies [bands]``.
    """
    energy = np.add.reduceat(np.square(spectrum[: bands.edges[-1]], dtype=np.float64), bands.edges[:-1])
    exact = (np.log2(energy / np.diff(bands.edges) + 1e-9) - LOWEST_LOG2) / RESOLUTION
    energy = exact if key else np.where(np.abs(exact - last) < HYSTERESIS, last, exact)
    return np.clip(np.rint(energy), 0, HIGHEST_ENERGY).astype(np.int32)


@kernel
def measure_band_energies(
    bands: Bands, spectrum: Float32Array, last: Int32Array, key: bool, energies: Int32Array
) -> None:
    """Band energies of a spectrum, the ``last`` ones where they still do; a key block follows nothing.

    Shape: ``spectrum [coefficients]``, in steps of 16-bit sound, ``last [bands]`` -> ``energies [bands]``.
    """
    edges = bands.edges
    for band in range(len(energies)):
        energy = np.float32(0)
        for k in range(edges[band], edges[band + 1]):
            energy += spectrum[k] * spectrum[k]
        mean = np.float64(energy) / (edges[band + 1] - edges[band])
        energy = (np.log2(mean + 1e-9) - LOWEST_LOG2) / RESOLUTION
        if not key and abs(energy - last[band]) < HYSTERESIS:
            energy = np.float64(last[band])
        energies[band] = min(max(np.int64(np.rint(energy)), 0), HIGHEST_ENERGY)


def widths_of_energies_reference(bands: Bands, energies: Int32Array, step: float) -> Float64Array:
    """The definition of :func:`widths_of_energies`.

    Shape: ``energies [bands]``, ``step`` in units of 16-bit sound -> ``[bands]``, in the same.
    """
    energy_log2 = np.maximum(energies * RESOLUTION + LOWEST_LOG2, 0)
    widths: Float64Array = step * np.exp2(0.5 * (GAMMA * energy_log2 + bands.tilt_log2))
    return widths


@kernel
def hints_of_energies(bands: Bands, energies: Int32Array, step_log2: float, hints: Int32Array) -> None:
    """Size of coefficients by their band's energy, in quantiser steps: quarters of an octave, from 1/8 up.

    In whole numbers, so that every machine finds the same.

    Shape: ``energies [channels, bands]`` -> ``hints [channels, coefficients in bands]``, 1 to ``HIGHEST_HINT``.
    """
    step = np.int64(np.rint(step_log2 * HINT_ONE))
    for band in range(energies.shape[1]):
        width = step + np.int64(np.rint(bands.tilt_log2[band] * (HINT_ONE // 2)))
        for channel in range(energies.shape[0]):
            hint = ((ENERGIES_OVER_WIDTHS[energies[channel, band]] - width) * 4 >> HINT_BITS) + 13
            hint = min(max(hint, 1), HIGHEST_HINT)
            for k in range(bands.edges[band], bands.edges[band + 1]):
                hints[channel, k] = hint


@kernel
def widths_of_energies(bands: Bands, energies: Int32Array, step: float, widths: Float64Array) -> None:
    """Quantiser step of every band, at least ``step``.

    Shape: ``energies [bands]`` -> ``widths [bands]``.
    """
    for band in range(len(energies)):
        energy_log2 = max(energies[band] * RESOLUTION + LOWEST_LOG2, 0.0)
        widths[band] = step * 2.0 ** (0.5 * (GAMMA * energy_log2 + bands.tilt_log2[band]))
