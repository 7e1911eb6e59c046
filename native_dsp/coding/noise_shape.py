"""How noise follows the spectrum, chosen by the encoder alone.

A decoder's quantiser steps follow band energies as :mod:`native_dsp.coding.band_energies` has it, with ``GAMMA`` and
``TILT``: loud bands get a better signal-to-noise ratio than quiet ones, which is what few bits are best spent on.
Where there are more, ratios more alike, and better ones in the bass, are nearer the original. An encoder gets those
by telling energies other than the measured ones: of each band the one whose step is the step wanted. The decoder
needs an energy itself only where it fills zeros with noise, so no band is told to be so loud that nothing but zeros
is left of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding.band_energies import GAMMA, HYSTERESIS, LOWEST_LOG2, RESOLUTION, TILT, Bands
from native_dsp.coding.band_energy_coder import HIGHEST_ENERGY
from native_dsp.jit import kernel

Float32Array = NDArray[np.float32]
Int32Array = NDArray[np.int32]


class NoiseShape(NamedTuple):
    """Share of a band's energy that its noise follows, and octaves of power more for each Bark.

    ``pivoted``, 0 to 1: whether energies are told so low that base steps stay where the usual shape has them. Where
    they are told higher, noise fills more of the zeros, which sounds nearer the original; but steps have an end.
    """

    gamma: float
    tilt: float
    pivoted: float = 0.0


USUAL_SHAPE = NoiseShape(GAMMA, TILT)
"""The decoder's own: energies are told as they are."""
FINE_SHAPE = NoiseShape(0.84, 0.7)
USUAL_BPS, FINE_BPS, PIVOTED_BPS = 24_000.0, 64_000.0, 128_000.0
# A band this loud and this high keeps its energy where all is pivoted.
PIVOT_LOG2, PIVOT_BARK = 20.0, 12.0
# Shapes found by trial on development speech, music and environment: PESQ-WB falls where gamma is higher yet.


def noise_shape_at(bitrate_bps: float) -> NoiseShape:
    """The shape for a bitrate of one channel: the usual one up to 24 kbps, from 64 on ``FINE_SHAPE``."""
    share = min(max((bitrate_bps - USUAL_BPS) / (FINE_BPS - USUAL_BPS), 0.0), 1.0)
    gamma = USUAL_SHAPE.gamma + share * (FINE_SHAPE.gamma - USUAL_SHAPE.gamma)
    tilt = USUAL_SHAPE.tilt + share * (FINE_SHAPE.tilt - USUAL_SHAPE.tilt)
    pivoted = min(max((bitrate_bps - FINE_BPS) / (PIVOTED_BPS - FINE_BPS), 0.0), 1.0)
    return NoiseShape(gamma, tilt, pivoted)


def tell_band_energies_reference(
    bands: Bands, spectrum: Float32Array, last: Int32Array, key: bool, shape: NoiseShape, step_log2: float
) -> Int32Array:
    """The definition of :func:`tell_band_energies`.

    Shape: as there; returns what there is written into ``energies [bands]``.
    """
    energy = np.add.reduceat(np.square(spectrum[: bands.edges[-1]], dtype=np.float64), bands.edges[:-1])
    exact = np.log2(energy / np.diff(bands.edges) + 1e-9)
    loud = np.maximum(exact, 0)
    usual = step_log2 + 0.5 * (GAMMA * loud + bands.tilt_log2)
    pivot = 0.5 * shape.pivoted * ((shape.gamma - GAMMA) * PIVOT_LOG2 + (shape.tilt - TILT) * PIVOT_BARK)
    finest = usual - pivot
    wanted = finest + 0.5 * ((shape.gamma - GAMMA) * loud + (shape.tilt - TILT) * bands.barks)
    change = np.where(0.5 * exact < finest, 0.0, np.minimum(wanted, 0.5 * exact) - usual)
    told = (exact + change * 2 / GAMMA - LOWEST_LOG2) / RESOLUTION
    followed = told if key else np.where(np.abs(told - last) < HYSTERESIS, last, told)
    return np.clip(np.rint(followed), 0, HIGHEST_ENERGY).astype(np.int32)


@kernel
def tell_band_energies(
    bands: Bands,
    spectrum: Float32Array,
    last: Int32Array,
    key: bool,
    shape: NoiseShape,
    step_log2: float,
    energies: Int32Array,
) -> None:
    """Band energies whose quantiser steps are those of ``shape``, at a base step of ``2 ** step_log2``.

    No step is made wider than its band's root mean square. The ``last`` energies where they still do; a key block
    follows nothing.

    Shape: ``spectrum [coefficients]``, in steps of 16-bit sound, ``last [bands]`` -> ``energies [bands]``.
    """
    edges = bands.edges
    pivot = 0.5 * shape.pivoted * ((shape.gamma - GAMMA) * PIVOT_LOG2 + (shape.tilt - TILT) * PIVOT_BARK)
    for band in range(len(energies)):
        energy = np.float32(0)
        for k in range(edges[band], edges[band + 1]):
            energy += spectrum[k] * spectrum[k]
        exact = np.log2(np.float64(energy) / (edges[band + 1] - edges[band]) + 1e-9)
        loud = max(exact, 0.0)
        usual = step_log2 + 0.5 * (GAMMA * loud + bands.tilt_log2[band])
        finest = usual - pivot
        wanted = finest + 0.5 * ((shape.gamma - GAMMA) * loud + (shape.tilt - TILT) * bands.barks[band])
        change = 0.0 if 0.5 * exact < finest else min(wanted, 0.5 * exact) - usual
        told = (exact + change * 2 / GAMMA - LOWEST_LOG2) / RESOLUTION
        if not key and abs(told - last[band]) < HYSTERESIS:
            told = np.float64(last[band])
        energies[band] = min(max(np.int64(np.rint(told)), 0), HIGHEST_ENERGY)
