"""Streaming resampling by a ratio of whole numbers: a polyphase filter of linear phase, its delay known exactly.

As in Crochiere and Rabiner, "Multirate digital signal processing" (1983), chapter 3: the sound with zeros put in
between, as many as bring it to a rate that both rates divide, goes through a low-pass filter, of which only the
samples that are wanted are worked out, and only from what is not zero. The filter is a sinc under a Kaiser window,
which has nearly the narrowest transition for its length and attenuation (Kaiser, "Nonrecursive digital filter design
using the I0-sinh window function", 1974): a short delay and a wide band, of which libraries' converters of the same
delay spend a good part on 100 dB.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import unordered_kernel
from native_dsp.state import copy_state

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]


class PolyphaseState(NamedTuple):
    """Memory of one stream.

    Shape (``up`` / ``down`` the ratio in lowest terms): taps ``[up, taps]``, a row for each place of an output sample
    between two input samples, oldest sample first; sound ``[taps - 1 + block]``, past and newest input.
    """

    taps: Float32Array
    sound: Float32Array
    down: int

    def copy(self) -> PolyphaseState:
        """An independent copy."""
        return copy_state(self)


def make_polyphase(
    in_hz: int, out_hz: int, in_block_samples: int, delay_s: float, attenuation_db: float
) -> PolyphaseState:
    """A stream that has heard silence; whole blocks of output must come of ``in_block_samples``.

    ``delay_s`` must be a whole number of samples at one of the two rates. Errors: ValueError.
    """
    common = math.gcd(in_hz, out_hz)
    up, down = out_hz // common, in_hz // common
    if in_block_samples % down:
        raise ValueError(f"blocks must be a multiple of {down} samples from {in_hz} to {out_hz} Hz")
    half = delay_s * in_hz * up
    if abs(half - round(half)) > 1e-6:
        raise ValueError(f"the delay must be a whole number of samples at {in_hz} or {out_hz} Hz, got {delay_s} s")
    prototype = low_pass(round(half), in_hz * up, 0.5 * min(in_hz, out_hz), attenuation_db)
    count = -(-prototype.size // up)
    rows = np.zeros((count, up))
    rows.reshape(-1)[: prototype.size] = prototype
    taps = rows[::-1].T
    # Each row by itself keeps a constant constant: rows that differ would ripple it at the rate of the input.
    taps = taps / taps.sum(axis=1, keepdims=True)
    return PolyphaseState(
        np.ascontiguousarray(taps, np.float32), np.zeros(count - 1 + in_block_samples, np.float32), down
    )


def low_pass(half_samples: int, rate_hz: float, stop_hz: float, attenuation_db: float) -> Float64Array:
    """Sinc under a Kaiser window: by ``attenuation_db`` down from ``stop_hz`` on, the transition below that.

    Attenuations from 21 dB on; Kaiser's formulas, the transition's width given by the length.

    Shape: output ``[2 * half_samples + 1]``.
    """
    if attenuation_db > 50.0:
        beta = 0.1102 * (attenuation_db - 8.7)
    else:
        beta = 0.5842 * (attenuation_db - 21.0) ** 0.4 + 0.07886 * (attenuation_db - 21.0)
    transition_hz = (attenuation_db - 7.95) / (14.36 * 2 * half_samples) * rate_hz
    middle = 2.0 * (stop_hz - 0.5 * transition_hz) / rate_hz
    n = np.arange(-half_samples, half_samples + 1)
    taps: Float64Array = middle * np.sinc(middle * n) * np.kaiser(n.size, beta)
    return taps


@unordered_kernel
def resample_block(state: PolyphaseState, block: Float32Array, out: Float32Array) -> None:
    """Take in a block, give one out.

    Shape: block ``[in_block]`` -> out ``[in_block * up / down]``.
    """
    up, count = state.taps.shape
    past = count - 1
    # Plain loops throughout: assigning one slice to another may allocate, which a browser's build has no memory for.
    for k in range(block.size):
        state.sound[past + k] = block[k]
    newest, place = 0, 0
    for n in range(out.size):
        taps, heard = state.taps[place], state.sound[newest : newest + count]
        total = np.float32(0.0)
        for k in range(count):
            total += taps[k] * heard[k]
        out[n] = total
        place += state.down
        newest += place // up
        place %= up
    for k in range(past):
        state.sound[k] = state.sound[block.size + k]
