"""Quiet voices raised before coding and lowered after it by the same powers of four.

A model of speech has learnt the voices of near microphones; forty decibels below them it hears next to nothing.
So quiet sound is raised until it is about as loud as those, and the decoder, which is told by how much, lowers what
it has decoded. Both do so sample for sample along the same line, so the level at the far end is what it was, in
pauses as in speech, and a sound that is loud enough is not touched, to the last bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import kernel
from native_dsp.state import copy_state

Float32Array = NDArray[np.float32]

MOST_SHIFT = 3
SHIFT_BITS = 2
"""Of a number from 0 to ``MOST_SHIFT``; sound is raised by a factor of 4 (12 dB) as many times."""
SHIFT_DB = 12.0412
LEAST_DBFS, MOST_DBFS = -35.0, -18.0
"""Sound that is raised and falls below the first is raised further; above the second it is raised less. A voice with
peaks of -12 dBFS is at about -25."""
HYSTERESIS_DB = 1.5
"""How far below the least the level must be."""
FALL_DB_PER_S = 12.0
"""How fast the level followed falls, in voiced sound; it rises at once and stays in pauses."""
VOICED = 0.6
"""Pitch correlation from which a frame tells how loud a voice is."""
UNVOICED_DB = 10.0
"""A click or a hiss may be so much louder than the voice."""
NOTHING_DBFS = -105.0
"""Less than that is no sound."""
VOICE_ABOVE_ROOM_DB = 30.0
"""By how much the first voice is taken to be louder than the room before it."""
SPEECH_ABOVE_ROOM_DB = 12.0
"""What is less above the room tells nothing of a voice."""
ROOM_RISE_DB_PER_S = 3.0
NOT_HEARD = 1.0
"""In place of a level before any sound; full scale is 0."""
LEVEL, ROOM, SHIFT = range(3)


class LiftState(NamedTuple):
    """Memory of one sender; not to be shared between streams or threads.

    Shape: track ``[3]``: levels of the loudest voice of late and of the room in dBFS, shift of the frame before.
    """

    track: NDArray[np.float64]

    def copy(self) -> LiftState:
        """An independent copy."""
        return copy_state(self)


def make_lift() -> LiftState:
    """A stream that has heard silence."""
    return LiftState(np.array([NOT_HEARD, NOT_HEARD, 0.0]))


@kernel
def raise_frame(
    state: LiftState, dbfs: float, correlation: float, frame_s: float, may_change: bool, samples: Float32Array
) -> int:
    """Raise a frame of ``dbfs`` and a pitch correlation, in place; returns the shift that it ends with.

    The shift changes, along a line through the first half of the frame, only where ``may_change`` says that a packet
    begins: it goes with the packet.

    Shape: ``[frame]``, even.
    """
    track = state.track
    before = now = int(track[SHIFT])
    if dbfs >= NOTHING_DBFS:
        follow(track, dbfs, correlation, frame_s)
        if may_change:
            heard = track[LEVEL] != NOT_HEARD
            now = next_shift(track[LEVEL] if heard else track[ROOM] + VOICE_ABOVE_ROOM_DB, before)
            track[SHIFT] = now
    scale_along(samples, factor(before), factor(now), 0, False)
    return now


@kernel
def factor(shift: int) -> float:
    """By what a shift raises."""
    return float(1 << 2 * shift)


@kernel
def follow(track: NDArray[np.float64], dbfs: float, correlation: float, frame_s: float) -> None:
    """Levels of voice and room after a frame of ``dbfs`` and of a pitch correlation.

    Shape: ``[3]``.
    """
    room = track[ROOM]
    room = dbfs if room == NOT_HEARD else min(room + ROOM_RISE_DB_PER_S * frame_s, dbfs)
    track[ROOM] = room
    if dbfs < room + SPEECH_ABOVE_ROOM_DB:
        return
    if track[LEVEL] == NOT_HEARD:
        track[LEVEL] = max(dbfs, room + VOICE_ABOVE_ROOM_DB)
    elif correlation < VOICED:
        track[LEVEL] = max(track[LEVEL], dbfs - UNVOICED_DB)
    else:
        track[LEVEL] = max(track[LEVEL] - FALL_DB_PER_S * frame_s, dbfs)


@kernel
def next_shift(dbfs: float, shift: int) -> int:
    """The shift for sound of a level, after a packet with ``shift``."""
    raised = dbfs + SHIFT_DB * shift
    if LEAST_DBFS - HYSTERESIS_DB <= raised <= MOST_DBFS:
        return shift
    wanted = int(np.ceil((LEAST_DBFS - dbfs) / SHIFT_DB))
    return min(max(wanted, 0), MOST_SHIFT)


@kernel
def scale_along(samples: Float32Array, before: float, now: float, start: int, divide: bool) -> None:
    """Multiply or divide by a factor that goes from ``before`` to ``now`` in half a frame from ``start`` on.

    Shape: ``samples [n]``, changed in place; ``start`` in samples.
    """
    if before == 1.0 and now == 1.0:
        return
    ramp = samples.size // 2
    slope = np.float32((now - before) / ramp)
    for i in range(samples.size):
        factor = np.float32(before + slope * np.float32(min(max(i + 1 - start, 0), ramp)))
        if i + 1 - start >= ramp:
            factor = np.float32(now)
        samples[i] = samples[i] / factor if divide else samples[i] * factor
