"""Raising: which shift for which sound, and that lowering undoes it to the sample."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from native_dsp.filters.lift import (
    LEVEL,
    MOST_SHIFT,
    SHIFT,
    factor,
    follow,
    make_lift,
    next_shift,
    raise_frame,
    scale_along,
)

FRAME, FRAME_S = 480, 0.02
Float32Array = NDArray[np.float32]


def shifts(levels_dbfs: list[float], correlation: float = 1.0) -> list[int]:
    """After a moment of a room 35 dB below the first level."""
    state = make_lift()
    raise_frame(state, levels_dbfs[0] - 35.0, 0.0, FRAME_S, True, np.zeros(FRAME, np.float32))
    return [raise_frame(state, dbfs, correlation, FRAME_S, True, np.zeros(FRAME, np.float32)) for dbfs in levels_dbfs]


def test_sound_of_usual_levels_passes_to_the_last_bit() -> None:
    rng, state = np.random.default_rng(0), make_lift()
    for dbfs in 50 * [-16.0, -25.0, -60.0, -33.0]:
        sound = rng.standard_normal(FRAME).astype(np.float32)
        raised = sound.copy()
        assert raise_frame(state, dbfs, float(dbfs > -30), FRAME_S, True, raised) == 0
        np.testing.assert_array_equal(raised, sound)


@pytest.mark.parametrize(("dbfs", "shift"), [(-20.0, 0), (-25.0, 0), (-40.0, 1), (-50.0, 2), (-66.0, 3), (-95.0, 3)])
def test_the_quieter_the_sound_the_more_it_is_raised(dbfs: float, shift: int) -> None:
    assert set(shifts([dbfs] * 10)) == {shift}
    assert shift <= MOST_SHIFT


def test_a_shift_does_not_waver() -> None:
    """Syllables 8 dB apart around any level settle on one shift."""
    for middle in np.arange(-70.0, -20.0, 0.7):
        found = shifts(40 * ([middle + 4.0] * 6 + [middle - 4.0] * 10))
        assert len(set(found[160:])) == 1


def test_a_shout_is_not_raised_and_a_whisper_after_it_is_in_time() -> None:
    found = shifts([-60.0] * 50 + [-15.0] * 10 + [-60.0] * 400)
    assert found[49] == 3
    assert set(found[50:60]) == {0}
    assert 50 < found[60:].index(2) < 200


def test_pauses_and_clicks_change_little() -> None:
    track = make_lift().track
    follow(track, -90.0, 0.0, FRAME_S)
    follow(track, -60.0, 1.0, FRAME_S)
    for dbfs, correlation, level in [(-90.0, 1.0, -60.0), (-52.0, 0.0, -60.0), (-20.0, 0.0, -30.0)]:
        follow(track, dbfs, correlation, FRAME_S)
        assert track[LEVEL] == pytest.approx(level, abs=0.1)
    assert next_shift(-60.0, 3) == 3


@pytest.mark.parametrize(("room_dbfs", "shift"), [(-60.0, 0), (-70.0, 1), (-100.0, 3)])
def test_before_any_voice_the_room_tells_how_loud_it_will_be(room_dbfs: float, shift: int) -> None:
    state = make_lift()
    for _ in range(50):
        assert raise_frame(state, room_dbfs, 0.0, FRAME_S, True, np.zeros(FRAME, np.float32)) == shift


def test_silence_is_no_sound_to_be_raised() -> None:
    assert set(shifts([-120.0] * 20)) == {0}


def test_what_is_raised_along_a_line_is_lowered_along_the_same() -> None:
    rng, state = np.random.default_rng(1), make_lift()
    levels = [-100.0] + [-20.0] * 3 + [-45.0] * 120 + [-70.0] * 200 + [-20.0] * 3
    sound = rng.standard_normal((len(levels), FRAME)).astype(np.float32)
    raised, after = sound.copy(), [0]
    for frame, dbfs in zip(raised, levels, strict=True):
        after.append(raise_frame(state, dbfs, 1.0, FRAME_S, True, frame))
    assert set(after) == {0, 1, 2, 3}
    assert after[-1] == int(state.track[SHIFT])
    lag = 120
    late = np.concatenate([np.zeros(lag, np.float32), raised.reshape(-1)])[: raised.size].reshape(raised.shape)
    for k, frame in enumerate(late):
        scale_along(frame, factor(after[k]), factor(after[k + 1]), lag, True)
    np.testing.assert_allclose(late.reshape(-1)[lag:], sound.reshape(-1)[:-lag], rtol=1e-5, atol=1e-6)


def test_a_shift_goes_with_a_packet() -> None:
    state = make_lift()
    follow(state.track, -80.0, 0.0, FRAME_S)
    assert raise_frame(state, -25.0, 1.0, FRAME_S, True, np.zeros(FRAME, np.float32)) == 0
    for _ in range(300):
        assert raise_frame(state, -60.0, 1.0, FRAME_S, False, np.zeros(FRAME, np.float32)) == 0
    assert raise_frame(state, -60.0, 1.0, FRAME_S, True, np.zeros(FRAME, np.float32)) >= 2
