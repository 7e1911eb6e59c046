"""How closely noise follows the spectrum, chosen by the encoder alone.

A decoder's quantiser steps follow band energies as :mod:`native_dsp.coding.band_energies` has it, with the exponent
``GAMMA``: loud bands get a better signal-to-noise ratio than quiet ones, which is what few bits are best spent on.
Where there are more, the ear has more of an equal ratio in every band. An encoder gets that by telling energies other
than the measured ones: each the one whose step is the step wanted. The decoder needs an energy itself only where
it fills zeros with noise, so of a band in which every coefficient would be zero the measured one is told.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding.band_energies import GAMMA, HYSTERESIS, LOWEST_LOG2, RESOLUTION, Bands
from native_dsp.coding.band_energy_coder import HIGHEST_ENERGY
from native_dsp.jit import kernel

Float32Array = NDArray[np.float32]
Int32Array = NDArray[np.int32]

HIGHEST_GAMMA = 1.0
# Bits a sample up to which noise follows as GAMMA has it, and from which on it follows as HIGHEST_GAMMA has it.
FEW_BITS, MANY_BITS = 0.5, 1.3
# Found by trial on development sound at 24, 48 and 64 kbps.


def gamma_at(bits_per_sample: float) -> float:
    """How closely noise should follow the spectrum at a bitrate."""
    share = min(max((bits_per_sample - FEW_BITS) / (MANY_BITS - FEW_BITS), 0.0), 1.0)
    return GAMMA + share * (HIGHEST_GAMMA - GAMMA)


def tell_band_energies_reference(
    bands: Bands, spectrum: Float32Array, last: Int32Array, key: bool, gamma: float, step_log2: float
) -> Int32Array:
    """The definition of :func:`tell_band_energies`.

    Shape: as there; returns what there is written into ``energies [bands]``.
    """
    energy = np.add.reduceat(np.square(spectrum[: bands.edges[-1]], dtype=np.float64), bands.edges[:-1])
    exact = np.log2(energy / np.diff(bands.edges) + 1e-9)
    loud = np.maximum(exact, 0)
    usual = step_log2 + 0.5 * (GAMMA * loud + bands.tilt_log2)
    wanted = np.clip(usual + 0.5 * (gamma - GAMMA) * loud, usual, np.maximum(usual, 0.5 * exact))
    told = (exact + (wanted - usual) * 2 / GAMMA - LOWEST_LOG2) / RESOLUTION
    followed = told if key else np.where(np.abs(told - last) < HYSTERESIS, last, told)
    return np.clip(np.rint(followed), 0, HIGHEST_ENERGY).astype(np.int32)


@kernel
def tell_band_energies(
    bands: Bands,
    spectrum: Float32Array,
    last: Int32Array,
    key: bool,
    gamma: float,
    step_log2: float,
    energies: Int32Array,
) -> None:
    """Band energies whose quantiser steps follow the spectrum with the exponent ``gamma``, at least ``GAMMA``.

    No step is made wider than its band's root mean square. The ``last`` ones where they still do; a key block follows
    nothing.

    Shape: ``spectrum [coefficients]``, in steps of 16-bit sound, ``last [bands]`` -> ``energies [bands]``.
    """
    edges = bands.edges
    for band in range(len(energies)):
        energy = np.float32(0)
        for k in range(edges[band], edges[band + 1]):
            energy += spectrum[k] * spectrum[k]
        exact = np.log2(np.float64(energy) / (edges[band + 1] - edges[band]) + 1e-9)
        loud = max(exact, 0.0)
        usual = step_log2 + 0.5 * (GAMMA * loud + bands.tilt_log2[band])
        wider = max(min(0.5 * (gamma - GAMMA) * loud, 0.5 * exact - usual), 0.0)
        told = (exact + wider * 2 / GAMMA - LOWEST_LOG2) / RESOLUTION
        if not key and abs(told - last[band]) < HYSTERESIS:
            told = np.float64(last[band])
        energies[band] = min(max(np.int64(np.rint(told)), 0), HIGHEST_ENERGY)
