"""Entropy tables of a model: made when it is exported, and checked and laid out before a kernel reads them.

What is out of range would index out of bounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding.table_coder import cumulative_frequencies
from native_dsp.networks.simd_product import PAIR, TILE
from streamcodec.codec.neural.entropy import (
    CONTEXT_FRAMES,
    INPUT_LIMIT,
    LOCATION_BITS,
    LOG2_SCALE_MIN,
    SCALES_PER_OCTAVE,
    STEP_BITS,
    STEP_INPUTS,
    TABLE_BITS,
    TABLE_COUNT,
    EntropyTables,
    Float32Array,
    Int32Array,
    whole_steps,
)
from streamcodec.errors import ModelError
from streamcodec.models.config import NeuralConfig

Array = NDArray[Any]
LARGEST_STEP = 1 << 20
LARGEST_HALF_WIDTH = 1 << 10
LARGEST_OUT_BIAS = 1 << 30
LARGEST_HIDDEN_WEIGHTS = ((1 << 31) - 1) // INPUT_LIMIT
"""Of one unit, all added up, so that its sums need no more than 32 bits; some 340 as real numbers."""


class SymbolTables(NamedTuple):
    """Cumulative frequencies of the discretised logistic at every scale and fractional location."""

    cumulative: Int32Array
    offset: Int32Array
    half_width: Int32Array


def make_symbol_tables() -> SymbolTables:
    """Tables of the logistic distribution, made once when a model is exported and stored with it.

    Row ``(scale, fraction)`` holds ``2 K + 2`` symbols (offsets ``-K..K`` and the escape) as cumulative
    frequencies with total ``2 ** TABLE_BITS``. Every symbol has a frequency of at least one.
    """
    rows: list[NDArray[np.int32]] = []
    offset = np.zeros(TABLE_COUNT, dtype=np.int32)
    half_width = np.zeros(TABLE_COUNT, dtype=np.int32)
    position = 0
    for index in range(TABLE_COUNT):
        scale = 2.0 ** (LOG2_SCALE_MIN + index / SCALES_PER_OCTAVE)
        half = int(min(64, max(2, np.ceil(9.7 * scale) + 1)))
        half_width[index] = half
        offset[index] = position
        for fraction in range(1 << LOCATION_BITS):
            location = fraction / (1 << LOCATION_BITS)
            edges = (np.arange(-half, half + 2) - 0.5 - location) / scale
            distribution = 0.5 * (1.0 + np.tanh(0.5 * edges))
            probability = np.append(np.diff(distribution), max(1e-9, 1.0 - (distribution[-1] - distribution[0])))
            rows.append(cumulative_frequencies(probability, TABLE_BITS))
            position += rows[-1].size
    return SymbolTables(np.concatenate(rows), offset, half_width)


def symbol_costs(cumulative: Int32Array, offset: Int32Array, half_width: Int32Array) -> Float32Array:
    """Bits of each symbol, laid out like ``cumulative`` (the last entry of a row is unused)."""
    cost = np.zeros(cumulative.size, dtype=np.float32)
    for index in range(TABLE_COUNT):
        row = 2 * int(half_width[index]) + 3
        for fraction in range(1 << LOCATION_BITS):
            start = int(offset[index]) + fraction * row
            frequency = np.diff(cumulative[start : start + row])
            cost[start : start + row - 1] = TABLE_BITS - np.log2(frequency)
    return cost


def in_tiles(hidden: NDArray[np.int16], bounds: Int32Array) -> NDArray[np.int16]:
    """Weights of hidden units in the order in which they are multiplied: tiles of ``TILE`` units.

    In a tile come the inputs from the frames before, then those from the frame itself, each filled up to whole steps;
    what a group does not know yet has weights of zero.

    Shape: hidden ``[G, H, 2N + N]`` -> ``[G, tiles, weights of a tile]``.
    """
    groups, units, inputs = hidden.shape
    latents = inputs // (CONTEXT_FRAMES + 1)
    split = CONTEXT_FRAMES * latents
    before, own, tiles = whole_steps(split), whole_steps(latents), -(-units // TILE)
    filled = np.zeros((groups, tiles * TILE, STEP_INPUTS * (before + own)), np.int16)
    filled[:, :units, :split] = hidden[:, :, :split]
    for group, start in enumerate(bounds[:-1]):
        first = STEP_INPUTS * before
        filled[group, :units, first : first + start] = hidden[group, :, split : split + start]
    tiled = filled.reshape(groups, tiles, TILE, -1, PAIR).transpose(0, 1, 3, 2, 4)
    return np.ascontiguousarray(tiled).reshape(groups, tiles, -1)


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
