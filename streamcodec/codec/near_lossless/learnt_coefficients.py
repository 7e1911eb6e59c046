"""What the near-lossless coder's models know before the first block: learnt from training sound, shipped as integers.

A key block starts from this knowledge, so it is a part of the stream format: another file means another format.
"""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from native_dsp.coding.band_energy_coder import make_band_energy_mixer
from native_dsp.coding.bit_mixing import COUNT_BITS, PROBABILITY_BITS, Mixer
from native_dsp.coding.coefficient_coder import make_coefficient_mixer
from streamcodec.codec.files.output_file import write_whole

LEARNT_PATH = Path(__file__).with_name("learnt_coefficients.npz")
# Counters that have seen more than this are stored as if they had not, so that they still follow the sound at hand.
MOST_SEEN = 24
STORED_BITS = 16


class LearntModels(NamedTuple):
    """Models of the coefficient coder, for plain and for shaped streams, and of the band energy coder."""

    plain: Mixer
    shaped: Mixer
    energies: Mixer


def fresh_models() -> LearntModels:
    """Models that have seen nothing."""
    return LearntModels(make_coefficient_mixer(), make_coefficient_mixer(), make_band_energy_mixer())


def save_learnt(models: LearntModels, path: Path = LEARNT_PATH) -> None:
    """Store probabilities in 16 bits, counts and weights; no pickles."""
    arrays = {}
    for name, mixer in models._asdict().items():
        counters = mixer.counters.astype(np.int64)
        seen = np.minimum(counters & ((1 << COUNT_BITS) - 1), MOST_SEEN).astype(np.uint8)
        arrays[f"{name}_probability"] = (counters >> (COUNT_BITS + PROBABILITY_BITS - STORED_BITS)).astype(np.uint16)
        arrays[f"{name}_seen"] = seen
        arrays[f"{name}_weights"] = mixer.weights
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    write_whole(path, packed.getvalue())


@cache
def learnt_models() -> LearntModels:
    """Models to copy; those that never came up in training are at one half."""
    models = fresh_models()
    with np.load(LEARNT_PATH, allow_pickle=False) as stored:
        for name, mixer in models._asdict().items():
            probability = stored[f"{name}_probability"].astype(np.int64) << (PROBABILITY_BITS - STORED_BITS)
            mixer.counters[:] = probability << COUNT_BITS | stored[f"{name}_seen"]
            mixer.weights[:] = stored[f"{name}_weights"]
    return models
