"""Two channels to one, so that a voice which is opposite in them does not cancel.

A cable with its wires exchanged, or a pair of microphones wired against each other, gives the same voice twice with
opposite signs: the mean of the two is next to nothing. Where the channels are opposite for some hundredths of a
second, one is turned round, gradually, by way of the other alone; else the result is the mean, to the bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import kernel
from native_dsp.state import copy_state

Float32Array = NDArray[np.float32]

MEMORY_S, TURN_S = 0.05, 0.05
OPPOSITE, ALIKE = -0.5, -0.1
"""Correlations below which the second channel is turned, and above which it is turned back."""
SILENCE_POWER = 1e-9
FIRST, SECOND, PRODUCT, SIGN, WANTED = range(5)


class MixdownState(NamedTuple):
    """Memory of one stream; not to be shared between streams or threads.

    Shape: track ``[5]``: mean squares of both channels, their mean product, the second channel's sign as it is, -1 to
    1, and as it is to be.
    """

    track: NDArray[np.float64]
    rate: float
    turn: float

    def copy(self) -> MixdownState:
        """An independent copy."""
        return copy_state(self)


def make_mixdown(sample_rate_hz: int) -> MixdownState:
    """A stream that has heard silence; its channels count as alike."""
    return MixdownState(
        track=np.array([0.0, 0.0, 0.0, 1.0, 1.0]),
        rate=float(1.0 - np.exp(-1.0 / (MEMORY_S * sample_rate_hz))),
        turn=2.0 / (TURN_S * sample_rate_hz),
    )


@kernel
def mix_down(state: MixdownState, both: Float32Array, out: Float32Array) -> None:
    """Mix a stretch of sound; the state goes on.

    Shape: both ``[samples, 2]``, out ``[samples]``.
    """
    track = state.track
    for i in range(len(out)):
        first, second = float(both[i, 0]), float(both[i, 1])
        track[FIRST] += state.rate * (first * first - track[FIRST])
        track[SECOND] += state.rate * (second * second - track[SECOND])
        track[PRODUCT] += state.rate * (first * second - track[PRODUCT])
        power = np.sqrt(track[FIRST] * track[SECOND])
        if power > SILENCE_POWER:
            if track[PRODUCT] < OPPOSITE * power:
                track[WANTED] = -1.0
            elif track[PRODUCT] > ALIKE * power:
                track[WANTED] = 1.0
        track[SIGN] += min(max(track[WANTED] - track[SIGN], -state.turn), state.turn)
        out[i] = np.float32(0.5) * (both[i, 0] + np.float32(track[SIGN]) * both[i, 1])
