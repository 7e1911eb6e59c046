"""How much a sound repeats itself at the pitch of a voice, frame by frame.

The measure is that of :mod:`native_dsp.filters.pitch_filter`, in its coarse form: below 1.8 kHz, every third sample,
the correlation of the newest frame with the sound of one period before, at the period where it is highest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.filters.memory import make_room
from native_dsp.filters.pitch_filter import (
    BAND_EDGES_HZ,
    COARSE_STEP,
    HIGHEST_PITCH_HZ,
    LOWEST_PITCH_HZ,
    PITCH_EDGE,
    SILENCE_POWER,
    low_pass_taps,
    squared_correlations,
)
from native_dsp.jit import unordered_kernel
from native_dsp.state import copy_state

Float32Array = NDArray[np.float32]
HALF_FILTER_S = 0.001


class VoicingState(NamedTuple):
    """Memory of one stream.

    Shape: taps ``[2 * half + 1]``; sound ``[2 * half + frame]``; low ``[longest_lag + frame / 3]``, every third
    sample of the low frequencies; squares ``[2, lags]``, scratch.
    """

    taps: Float32Array
    sound: Float32Array
    low: Float32Array
    squares: Float32Array
    longest_lag: int

    def copy(self) -> VoicingState:
        """An independent copy."""
        return copy_state(self)


def make_voicing(sample_rate_hz: int, frame_samples: int) -> VoicingState:
    """A stream that has heard silence; ``frame_samples`` must be a multiple of 3."""
    if frame_samples % COARSE_STEP:
        raise ValueError(f"frames must be a multiple of {COARSE_STEP} samples, got {frame_samples}")
    half = round(HALF_FILTER_S * sample_rate_hz)
    coarse_hz = sample_rate_hz / COARSE_STEP
    shortest, longest = int(coarse_hz / HIGHEST_PITCH_HZ), int(coarse_hz / LOWEST_PITCH_HZ)
    outwards = low_pass_taps(BAND_EDGES_HZ[PITCH_EDGE] / sample_rate_hz, half)
    return VoicingState(
        taps=np.concatenate([outwards[:0:-1], outwards]),
        sound=np.zeros(2 * half + frame_samples, np.float32),
        low=np.zeros(longest + frame_samples // COARSE_STEP, np.float32),
        squares=np.zeros((2, longest - shortest + 1), np.float32),
        longest_lag=longest,
    )


@unordered_kernel
def voicing(state: VoicingState, samples: Float32Array) -> float:
    """Take in a frame; returns how alike its low frequencies and those of one period before are, 0 to 1.

    Shape: samples ``[frame]``.
    """
    taps, sound, low = state.taps, state.sound, state.low
    memory, frame = len(sound) - len(samples), len(samples)
    window = frame // COARSE_STEP
    past = len(low) - window
    make_room(sound, frame)
    for i in range(frame):
        sound[memory + i] = samples[i]
    make_room(low, window)
    own = np.float32(0)
    for i in range(window):
        around = sound[COARSE_STEP * i :]
        total = np.float32(0)
        for k in range(len(taps)):
            total += taps[k] * around[k]
        low[past + i] = total
        own += total * total
    if own < SILENCE_POWER * window:
        return 0.0
    squared_correlations(low, past, len(low), state.longest_lag, state.squares)
    best = np.float32(0)
    for r in range(state.squares.shape[1]):
        best = max(best, state.squares[0, r])
    return float(np.sqrt(best))
