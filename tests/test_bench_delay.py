"""What the delay bench takes for a chirp heard: the right one, at the right place, or none."""

from __future__ import annotations

import numpy as np
import pytest

from bench.chirps import RATE_HZ, chirps, delays_ms

COUNT = 5


@pytest.mark.parametrize("delay_ms", [7.0, 92.5, 480.0])
def test_chirps_are_found_where_they_are(delay_ms: float) -> None:
    spoken, starts = chirps(COUNT, np.random.default_rng(1))
    delay = round(delay_ms * RATE_HZ / 1_000)
    heard = np.zeros_like(spoken)
    heard[delay:] = 0.3 * spoken[:-delay]
    heard += np.random.default_rng(2).normal(0, 0.01, len(heard)).astype(np.float32)
    found, rejected, invented = delays_ms(spoken, heard, starts)
    assert len(found) == COUNT
    assert (rejected, invented) == (0, 0)
    np.testing.assert_allclose(found, delay_ms, atol=0.2)


def test_a_chirp_of_another_second_is_none_of_this_one() -> None:
    spoken, starts = chirps(COUNT, np.random.default_rng(1))
    # Heard a whole second late: in every stretch there is a chirp, and it is the wrong one.
    heard = np.roll(spoken, RATE_HZ)
    found, rejected, _ = delays_ms(spoken, heard, starts)
    assert not found
    assert rejected == COUNT


def test_noise_is_no_chirp_and_silence_is_told() -> None:
    spoken, starts = chirps(COUNT, np.random.default_rng(1))
    noise = np.random.default_rng(3).normal(0, 0.1, len(spoken))
    assert not delays_ms(spoken, noise, starts)[0]
    with pytest.raises(ValueError, match="nothing was played"):
        delays_ms(np.zeros_like(spoken), noise, starts)
