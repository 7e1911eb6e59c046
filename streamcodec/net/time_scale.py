"""Shorten or lengthen a block of sound by one similar stretch, without a click and without changing pitch.

One splice of WSOLA (Verhelst and Roelands, 1993) per block: the lag at which the block looks most like its own start
is found by normalised correlation, and one lag of signal is removed or repeated under a linear cross-fade. The
first and last samples of the block stay what they were, so blocks join as before.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

SHORTEST_LAG_S = 0.0025
LONGEST_LAG_S = 0.0125
OVERLAP_S = 0.005
SIMILAR = 0.7
"""Normalised correlation above which a splice is taken to be inaudible."""
QUIET = 1e-3
"""Root mean square below which any splice is."""


def accelerate(
    block: Samples, sample_rate_hz: int, *, force: bool = False, most_ms: float = 1000.0 * LONGEST_LAG_S
) -> Samples:
    """The block with one lag removed, or the block itself where that would be heard and ``force`` is not set.

    Shape: ``block`` [T] or [T, channels]; result [T - lag, ...], lag 2.5 to 12.5 ms, and at most ``most_ms``.
    """
    longest_s = min(LONGEST_LAG_S, most_ms / 1000.0)
    splice = _best_splice(block, sample_rate_hz, force, longest_s)
    if splice is None:
        return block
    lag, overlap = splice
    faded = _cross_fade(block[:overlap], block[lag : lag + overlap])
    return np.concatenate((faded, block[lag + overlap :]))


def expand(block: Samples, sample_rate_hz: int, *, force: bool = False) -> Samples:
    """The block with one lag repeated, or the block itself where that would be heard and ``force`` is not set.

    Shape: ``block`` [T] or [T, channels]; result [T + lag, ...], lag 2.5 to 12.5 ms.
    """
    splice = _best_splice(block, sample_rate_hz, force, LONGEST_LAG_S)
    if splice is None:
        return block
    lag, overlap = splice
    faded = _cross_fade(block[lag : lag + overlap], block[:overlap])
    return np.concatenate((block[:lag], faded, block[overlap:]))


def _cross_fade(old: Samples, new: Samples) -> Samples:
    ramp = np.arange(1, len(old) + 1, dtype=np.float32) / np.float32(len(old) + 1)
    weight = ramp if old.ndim == 1 else ramp[:, np.newaxis]
    faded: Samples = old + weight * (new - old)
    return faded


def _best_splice(block: Samples, sample_rate_hz: int, force: bool, longest_s: float) -> tuple[int, int] | None:
    """(lag, overlap) in samples; None if the block is too short or no lag is similar enough."""
    overlap = round(OVERLAP_S * sample_rate_hz)
    shortest = round(SHORTEST_LAG_S * sample_rate_hz)
    longest = min(round(longest_s * sample_rate_hz), len(block) - overlap)
    if longest < shortest:
        return None
    mono = (block if block.ndim == 1 else block.sum(axis=1)).astype(np.float64)
    template = mono[:overlap]
    searched = mono[shortest : longest + overlap]
    template_energy = float(template @ template)
    energies = np.concatenate(([0.0], np.cumsum(searched * searched)))
    energies = energies[overlap:] - energies[:-overlap]
    if max(template_energy, float(energies.max())) <= QUIET * QUIET * overlap:
        return longest, overlap
    scale = np.sqrt(np.maximum(template_energy * energies, 1e-20))
    similarity = np.correlate(searched, template, mode="valid") / scale
    best = int(np.argmax(similarity))
    if similarity[best] < SIMILAR and not force:
        return None
    return shortest + best, overlap
