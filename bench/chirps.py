"""Chirps that cannot be taken for one another, and a matched filter that says where each of them is heard.

Used by ``bench.web_delay``. What does not stand out from all else is rejected, not guessed.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.interpolate
import scipy.signal
from numpy.typing import NDArray

Samples = NDArray[np.float32]

RATE_HZ = 48_000
CHIRP_S = 0.3
KNOTS = 4
EVERY_S = 1.0
LONGEST_S = 0.6
"""Delays up to this are looked for."""
STALL_S = 2.0
"""So much later than the one before may what plays the chirps be on a busy machine."""
LEAST_LIKENESS = 0.5
"""Normalised correlation below which a chirp counts as not found."""
LEAST_DISTINCTION = 1.4
"""The best place must be so many times as good as the best of all that are not beside it."""
BESIDE_S = 0.03
"""Side lobes of a chirp reach so far."""
SILENCE = 1e-6
"""Power below which sound is taken for none."""
QUIET = 0.2
"""So is what has this share of the loudest's power: an envelope would stand out beside nothing."""


@functools.cache
def chirp(number: int) -> Samples:
    """A voiced glide like no other's: a fundamental that wanders from 90 to 280 Hz, with twelve harmonics."""
    rng = np.random.default_rng(1_000 + number)
    samples = round(CHIRP_S * RATE_HZ)
    knots = rng.uniform(np.log(90.0), np.log(280.0), KNOTS)
    contour = scipy.interpolate.PchipInterpolator(np.linspace(0, samples, KNOTS), knots)
    phase = 2 * np.pi * np.cumsum(np.exp(contour(np.arange(samples)))) / RATE_HZ
    sound = sum(np.sin(k * phase + rng.uniform(0, 2 * np.pi)) / k**0.7 for k in range(1, 13))
    sound = sound * scipy.signal.windows.tukey(samples, 0.3)
    return np.asarray(0.5 * sound / np.abs(sound).max(), np.float32)


def chirps(count: int, rng: np.random.Generator) -> tuple[Samples, list[int]]:
    """One each second, up to two frames late so that they do not keep step with packets; where they begin."""
    every = round(EVERY_S * RATE_HZ)
    sound = np.zeros((count + 1) * every, np.float32)
    starts = [k * every + int(rng.integers(0, RATE_HZ // 25)) for k in range(count)]
    for number, start in enumerate(starts):
        sound[start : start + len(chirp(number))] = chirp(number)
    return sound, starts


def find(heard: NDArray[np.floating[Any]], number: int) -> int | None:
    """Where in a stretch a chirp begins, by matched filter; None where nothing stands out.

    The envelope of the correlation is taken: a codec need not keep phases.
    """
    pattern = chirp(number).astype(np.float64)
    if len(heard) < len(pattern):
        return None
    product = scipy.signal.correlate(heard.astype(np.float64), pattern, mode="valid", method="fft")
    power = np.concatenate(([0.0], np.cumsum(np.square(heard, dtype=np.float64))))
    energy = power[len(pattern) :] - power[: -len(pattern)]
    energy = np.maximum(energy, max(QUIET * float(energy.max()), SILENCE * len(pattern)))
    # Padded, or what is at one end would be seen at the other.
    envelope = np.abs(scipy.signal.hilbert(product, 2 * len(product))[: len(product)])
    likeness = envelope / np.sqrt((pattern @ pattern) * energy)
    best = int(np.argmax(likeness))
    others = np.ones(len(likeness), bool)
    beside = round(BESIDE_S * RATE_HZ)
    others[max(0, best - beside) : best + beside] = False
    distinct = likeness[best] >= LEAST_DISTINCTION * likeness[others].max(initial=0.0)
    return best if likeness[best] >= LEAST_LIKENESS and distinct else None


def delays_ms(
    spoken: NDArray[np.floating[Any]], heard: NDArray[np.floating[Any]], starts: Sequence[int]
) -> tuple[list[float], int, int]:
    """Of each chirp, in one recording: spoken some time after its place in ``starts``, later after every stall.

    Returns the delays, how many chirps were rejected, and how many were found that are not there.
    """
    first = find(spoken[: starts[0] + 8 * RATE_HZ], 0)
    if first is None:
        raise ValueError("the first chirp is not in the recording: nothing was played to the microphone")
    lag = first - starts[0]
    length, window, slack = round(CHIRP_S * RATE_HZ), round(LONGEST_S * RATE_HZ), round(STALL_S * RATE_HZ)
    found: list[float] = []
    rejected = invented = 0
    for number, start in enumerate(starts):
        begin = max(0, lag + start - length // 2)
        if lag + start + window + length > len(heard):
            continue
        mark = find(spoken[begin : begin + length + slack + length], number)
        if mark is None:
            rejected += 1
            continue
        at = begin + mark
        lag = at - start
        stretch = heard[at : at + window + length]
        place = find(stretch, number)
        invented += find(stretch, (number + len(starts) // 2) % len(starts)) is not None
        if place is None:
            rejected += 1
        else:
            found.append(1_000.0 * place / RATE_HZ)
    return found, rejected, invented
