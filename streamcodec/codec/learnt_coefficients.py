"""What the near-lossless coder's models know before the first block: learnt from training sound, shipped as integers.

A key block starts from this knowledge, so it is a part of the stream format: another file means another format.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from native_dsp.bit_mixing import COUNT_BITS, PROBABILITY_BITS, Mixer
from native_dsp.coefficient_coder import make_coefficient_mixer

LEARNT_PATH = Path(__file__).with_name("learnt_coefficients.npz")
# Counters that have seen more than this are stored as if they had not, so that they still follow the sound at hand.
MOST_SEEN = 24
_STORED_BITS = 16


def save_learnt(mixer: Mixer, path: Path = LEARNT_PATH) -> None:
    """Store probabilities in 16 bits, counts and weights; no pickles."""
    counters = mixer.counters.astype(np.int64)
    seen = np.minimum(counters & ((1 << COUNT_BITS) - 1), MOST_SEEN).astype(np.uint8)
    probability = (counters >> (COUNT_BITS + PROBABILITY_BITS - _STORED_BITS)).astype(np.uint16)
    np.savez_compressed(path, probability=probability, seen=seen, weights=mixer.weights)


@cache
def learnt_coefficients() -> Mixer:
    """Models to copy; those that never came up in training are at one half."""
    mixer = make_coefficient_mixer()
    with np.load(LEARNT_PATH, allow_pickle=False) as stored:
        probability = stored["probability"].astype(np.int64) << (PROBABILITY_BITS - _STORED_BITS)
        mixer.counters[:] = probability << COUNT_BITS | stored["seen"]
        mixer.weights[:] = stored["weights"]
    return mixer
