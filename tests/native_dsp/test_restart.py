"""A key block restarts used coders: they must then be as new, although only what was used is made good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from native_dsp import coefficient_coder, level_coder
from native_dsp.bit_mixing import Mixer
from native_dsp.range_coder import encoder_init, make_state

CODERS: dict[str, tuple[Callable[..., Any], ...]] = {
    "coefficients": (
        coefficient_coder.make_coefficient_mixer,
        coefficient_coder.make_coefficient_coder,
        coefficient_coder.encode_coefficients,
        coefficient_coder.restart_coefficients,
    ),
    "levels": (
        level_coder.make_level_mixer,
        level_coder.make_level_coder,
        level_coder.encode_levels,
        level_coder.restart_levels,
    ),
}


def known_models(fresh: Mixer) -> Mixer:
    """Models unlike those that have seen nothing."""
    rng = np.random.default_rng(2)
    fresh.counters[:] = rng.integers(1 << 29, 1 << 30, fresh.counters.shape)
    fresh.weights[:] += rng.integers(-99, 99, fresh.weights.shape, np.int32)
    return fresh


@pytest.mark.parametrize("kind", list(CODERS))
@pytest.mark.parametrize("chained", [False, True])
def test_a_restarted_coder_is_as_new(kind: str, chained: bool) -> None:
    make_mixer, make, encode, restart = CODERS[kind]
    learnt = known_models(make_mixer())
    used, new = make(2, 64, learnt), make(2, 64, learnt)
    state, buffer = make_state(), np.zeros(1 << 14, np.uint8)
    blocks = np.random.default_rng(3).integers(0, 40, (3, 2, 64)).astype(np.int32)
    for number, block in enumerate(blocks):
        encoder_init(state)
        encode(state, buffer, used, block, number == 0 or not chained)
    moved = np.flatnonzero(used.mixer.counters != new.mixer.counters)
    assert (moved[-1] >= len(new.mixer.counters) // 2) == chained
    restart(used, learnt, chained)
    for name in ("last", "before", "mean"):
        np.testing.assert_array_equal(getattr(used, name), getattr(new, name))
    np.testing.assert_array_equal(used.mixer.counters, new.mixer.counters)
    np.testing.assert_array_equal(used.mixer.weights, new.mixer.weights)
