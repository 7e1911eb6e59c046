"""Entropy tables of a model, checked before a kernel reads them: what is out of range would index out of bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamcodec.codec.neural.entropy import (
    CONTEXT_FRAMES,
    INPUT_LIMIT,
    LOCATION_BITS,
    SCALES_PER_OCTAVE,
    STEP_BITS,
    TABLE_BITS,
    TABLE_COUNT,
    EntropyTables,
    in_tiles,
    symbol_costs,
)
from streamcodec.errors import ModelError
from streamcodec.models.config import NeuralConfig

Array = NDArray[Any]
LARGEST_STEP = 1 << 20
LARGEST_HALF_WIDTH = 1 << 10
LARGEST_OUT_BIAS = 1 << 30
LARGEST_HIDDEN_WEIGHTS = ((1 << 31) - 1) // INPUT_LIMIT
"""Of one unit, all added up, so that its sums need no more than 32 bits; some 340 as real numbers."""


def checked_tables(config: NeuralConfig, arrays: Mapping[str, Array], owner: str) -> EntropyTables:
    """The tables of a model, of which ``owner`` is named in errors; raises ModelError."""
    masks, context = 1 << CONTEXT_FRAMES, (CONTEXT_FRAMES + 1) * config.latents
    bounds = np.array(config.group_bounds, np.int32)
    groups, hidden = len(bounds) - 1, config.entropy_hidden
    widest = int(np.diff(bounds).max())
    wanted: dict[str, tuple[type, tuple[int, ...]]] = {
        "bounds": (np.int32, bounds.shape),
        "hidden": (np.int16, (groups, hidden, context)),
        "hidden_bias": (np.int16, (config.qualities, masks, groups, hidden)),
        "out": (np.int16, (groups, 2 * widest, hidden)),
        "out_bias": (np.int32, (config.qualities, masks, groups, 2 * widest)),
        "step": (np.int32, (config.qualities, config.latents)),
        "log2_step": (np.int32, (config.qualities, config.latents)),
        "offset": (np.int32, (TABLE_COUNT,)),
        "half_width": (np.int32, (TABLE_COUNT,)),
    }
    if arrays.keys() != {*wanted, "cumulative"}:
        raise _wrong(owner, f"they must be {', '.join(sorted([*wanted, 'cumulative']))}")
    for name, (kind, shape) in wanted.items():
        if arrays[name].dtype != kind or arrays[name].shape != shape:
            raise _wrong(owner, f"{name} must be {np.dtype(kind).name} {list(shape)}")
    if not np.array_equal(arrays["bounds"], bounds):
        raise _wrong(owner, f"bounds must be {bounds.tolist()}")
    if np.abs(arrays["out_bias"].astype(np.int64)).max() > LARGEST_OUT_BIAS:
        raise _wrong(owner, "out_bias is out of range")
    if np.abs(arrays["hidden"].astype(np.int64)).sum(axis=2).max() > LARGEST_HIDDEN_WEIGHTS:
        raise _wrong(owner, f"weights of one of the hidden units add up to more than {LARGEST_HIDDEN_WEIGHTS}")
    step = arrays["step"]
    if step.min() < 1 or step.max() > LARGEST_STEP:
        raise _wrong(owner, f"step must be from 1 to {LARGEST_STEP}")
    octaves = np.log2(step / (1 << STEP_BITS)) * SCALES_PER_OCTAVE
    if np.abs(arrays["log2_step"] - octaves).max() > 0.51:
        raise _wrong(owner, "log2_step is not that of step")
    _check_symbols(arrays, owner)
    cost = symbol_costs(arrays["cumulative"], arrays["offset"], arrays["half_width"])
    tiles = in_tiles(arrays["hidden"], bounds)
    return EntropyTables(**{**arrays, "hidden": tiles}, cost=cost)


def _check_symbols(arrays: Mapping[str, Array], owner: str) -> None:
    """Every row lies inside the table, begins at 0, rises, and ends at the total."""
    cumulative, half_width = arrays["cumulative"], arrays["half_width"].astype(np.int64)
    if half_width.min() < 1 or half_width.max() > LARGEST_HALF_WIDTH:
        raise _wrong(owner, f"half_width must be from 1 to {LARGEST_HALF_WIDTH}")
    widths = 2 * half_width + 3
    starts = np.concatenate([[0], np.cumsum(widths << LOCATION_BITS)])
    if not np.array_equal(arrays["offset"], starts[:-1]):
        raise _wrong(owner, "offset does not follow from half_width")
    if cumulative.dtype != np.int32 or cumulative.shape != (starts[-1],):
        raise _wrong(owner, f"cumulative must be int32 [{starts[-1]}]")
    for start, width in zip(starts[:-1], widths, strict=True):
        rows = cumulative[start : start + (width << LOCATION_BITS)].reshape(-1, width)
        if (rows[:, 0] != 0).any() or (rows[:, -1] != 1 << TABLE_BITS).any() or (np.diff(rows) < 1).any():
            raise _wrong(owner, f"rows of cumulative must rise from 0 to {1 << TABLE_BITS}")


def _wrong(owner: str, what: str) -> ModelError:
    return ModelError(f"the entropy tables of {owner} are damaged or of another version: {what}; export it again")
