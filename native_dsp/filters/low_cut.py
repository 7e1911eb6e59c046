"""Low cut before coding: offset, rumble and hum that a microphone brings are taken out, and nothing else is touched.

A model of speech spends its bits on whatever is strong, and its companding makes the most of what lies below a voice.
So where the band below a voice is strong, a high-pass of the fourth order (two sections in series, Butterworth) fades
in; where it is not, samples pass as they are, to the last bit. It adds no delay of its own: a voice's harmonics are
late by less than a millisecond.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import kernel
from native_dsp.state import copy_state

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

CUT_HZ, LOOK_HZ = 65.0, 40.0
"""Corner of the high-pass, and of the low-pass that says whether it is needed."""
NOTICED, CERTAIN = 0.006, 0.012
"""Root mean square of the low band, full scale 1, from which the high-pass fades in, and where it is all there is."""
LEAST_SHARE, KEPT_SHARE = 0.2, 0.08
"""A low band softer than the first share of the whole is left alone: the breath of a shout is no rumble, and the low
end of noise belongs to it. Once at work, the filter stays down to the second."""
STEP = 8
"""Samples to each look."""
ATTACK_S, RISE_S, RELEASE_S, FADE_S = 0.03, 0.1, 3.0, 0.05
"""How fast the low band is noticed, how fast the whole, how slowly both are forgotten; of the fade."""
QUALITIES = (0.54119610, 1.30656296)
"""Of the two sections of a Butterworth filter of the fourth order."""
LOW_POWER, POWER, MIX = range(3)


class LowCutState(NamedTuple):
    """Memory of one stream; not to be shared between streams or threads.

    Shape: cut, look ``[2, 5]``, coefficients b0 b1 b2 a1 a2 of two sections; cut_memory, look_memory ``[2, 2]``;
    levels ``[3]``: mean squares of the low band and of all, share of the high-pass in what comes out.
    """

    cut: Float64Array
    look: Float64Array
    cut_memory: Float64Array
    look_memory: Float64Array
    levels: Float64Array
    attack: float
    rise: float
    release: float
    fade: float

    def copy(self) -> LowCutState:
        """An independent copy."""
        return copy_state(self)


def make_low_cut(sample_rate_hz: int) -> LowCutState:
    """A stream that has heard silence."""
    looks_hz = sample_rate_hz / STEP
    return LowCutState(
        cut=np.stack([section(CUT_HZ / sample_rate_hz, quality, high=True) for quality in QUALITIES]),
        look=np.stack([section(LOOK_HZ / looks_hz, quality, high=False) for quality in QUALITIES]),
        cut_memory=np.zeros((2, 2)),
        look_memory=np.zeros((2, 2)),
        levels=np.zeros(3),
        attack=float(1.0 - np.exp(-1.0 / (ATTACK_S * looks_hz))),
        rise=float(1.0 - np.exp(-1.0 / (RISE_S * looks_hz))),
        release=float(1.0 - np.exp(-1.0 / (RELEASE_S * looks_hz))),
        fade=1.0 / (FADE_S * looks_hz),
    )


def section(cycles_per_sample: float, quality: float, high: bool) -> Float64Array:
    """Second-order high-pass or low-pass by the bilinear transform (Bristow-Johnson, "Audio EQ cookbook").

    Shape: output ``[5]``: b0, b1, b2, a1, a2.
    """
    angle = 2.0 * np.pi * cycles_per_sample
    cosine, alpha = np.cos(angle), np.sin(angle) / (2.0 * quality)
    middle = -(1.0 + cosine) if high else 1.0 - cosine
    edge = 0.5 * abs(middle)
    return np.asarray(np.array([edge, middle, edge, -2.0 * cosine, 1.0 - alpha]) / (1.0 + alpha), np.float64)


@kernel
def _filter(sections: Float64Array, memory: Float64Array, x: float) -> float:
    """One sample through two sections, transposed direct form II."""
    for s in range(2):
        y = sections[s, 0] * x + memory[s, 0]
        memory[s, 0] = sections[s, 1] * x - sections[s, 3] * y + memory[s, 1]
        memory[s, 1] = sections[s, 2] * x - sections[s, 4] * y
        x = y
    return x


@kernel
def cut_lows(state: LowCutState, samples: Float32Array) -> None:
    """Filter a stretch of sound in place; the state goes on.

    Shape: samples ``[samples]``, whole steps of ``STEP``; what is left over stays as it is.
    """
    levels = state.levels
    for start in range(0, len(samples) - STEP + 1, STEP):
        part = samples[start : start + STEP]
        mean, power = 0.0, 0.0
        for i in range(STEP):
            x = float(part[i])
            mean += x
            power += x * x
        mean, power = mean / STEP, power / STEP
        low = _filter(state.look, state.look_memory, mean)
        rate = state.attack if low * low > levels[LOW_POWER] else state.release
        levels[LOW_POWER] += rate * (low * low - levels[LOW_POWER])
        rate = state.rise if power > levels[POWER] else state.release
        levels[POWER] += rate * (power - levels[POWER])
        share = KEPT_SHARE if levels[MIX] > 0.0 else LEAST_SHARE
        wanted = 0.0
        if levels[LOW_POWER] > share * share * levels[POWER]:
            wanted = min(max((np.sqrt(levels[LOW_POWER]) - NOTICED) / (CERTAIN - NOTICED), 0.0), 1.0)
        before = levels[MIX]
        after = before + min(max(wanted - before, -state.fade), state.fade)
        levels[MIX] = after
        if before == 0.0 and after == 0.0:
            continue
        if before == 0.0:
            # From rest it has to get used to the offset only, and does while it fades in.
            state.cut_memory[:] = 0.0
        for i in range(STEP):
            x = float(part[i])
            mix = before + (after - before) * (i + 1) / STEP
            part[i] = np.float32(x + mix * (_filter(state.cut, state.cut_memory, x) - x))
