"""Filters that change from block to block against sums written out, and the memory that they look back into."""

from __future__ import annotations

import numpy as np
import pytest

from native_dsp.filters.changing_filter import add_changing, room_for_change, sum_cosines
from native_dsp.filters.memory import make_room
from native_dsp.filters.symmetric_filter import whole_blocks


@pytest.mark.parametrize(("block", "fade"), [(60, 30), (120, 60), (64, 64), (200, 70)])
@pytest.mark.parametrize("now", [0, 1])
def test_one_filter_fades_into_the_next(block: int, fade: int, now: int) -> None:
    random, half = np.random.default_rng(block + now), 33
    taps = random.standard_normal((2, half + 1)).astype(np.float32)
    sound = random.standard_normal(half + whole_blocks(block) + half).astype(np.float32)
    samples = random.standard_normal(block).astype(np.float32)
    both = [np.convolve(sound, np.concatenate([row[:0:-1], row]).astype(np.float64), "valid")[:block] for row in taps]
    share = np.minimum((np.arange(block) + 0.5) / fade, 1.0)
    share[fade:] = 1.0
    wanted = samples + (1.0 - share) * both[1 - now] + share * both[now]
    add_changing(sound, half, taps, now, fade, room_for_change(block), samples)
    np.testing.assert_allclose(samples, wanted, atol=2e-5)


@pytest.mark.parametrize("bins", [1, 4, 12, 31])
def test_taps_are_sums_of_cosines(bins: int) -> None:
    random = np.random.default_rng(bins)
    excess, cosines = random.standard_normal(bins), random.standard_normal((bins, 81))
    taps = np.full(81, 7.0, np.float32)
    sum_cosines(excess.astype(np.float32), cosines.astype(np.float32), taps)
    np.testing.assert_allclose(taps, excess @ cosines, atol=1e-4)


@pytest.mark.parametrize(("length", "samples"), [(10, 3), (10, 5), (10, 7), (10, 10), (1_440, 480), (864, 480)])
def test_what_is_remembered_moves_to_the_beginning(length: int, samples: int) -> None:
    memory = np.arange(length, dtype=np.float32)
    make_room(memory, samples)
    np.testing.assert_array_equal(memory[: length - samples], np.arange(samples, length))
