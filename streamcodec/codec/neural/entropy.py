"""Integer form of the learned entropy model: what both ends of a line must agree on, bit by bit.

Everything the range coder sees comes from integers: quantisation indices, integer weights and integer tables, so two
machines that round floats differently still decode each other. The float form that is trained lives in
``streamcodec.models.entropy``.

Fixed point: latents in 1/64, steps in 1/1024, weights in 1/4096, hidden units in 1/256, locations in 1/8 of a step,
scales in 1/8 octave.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding import range_coder
from native_dsp.coding.table_coder import cumulative_frequencies
from native_dsp.filters.lift import SHIFT_BITS
from native_dsp.jit import kernel
from native_dsp.networks.integer_dot import dot_of_shorts

LATENT_BITS = 6
STEP_BITS = 10
WEIGHT_BITS = 12
HIDDEN_BITS = 8
LOCATION_BITS = 3
SCALES_PER_OCTAVE = 8
LOG2_SCALE_MIN = -4
LOG2_SCALE_MAX = 5
TABLE_COUNT = (LOG2_SCALE_MAX - LOG2_SCALE_MIN) * SCALES_PER_OCTAVE + 1
TABLE_BITS = 15
CONTEXT_FRAMES = 2
INPUT_LIMIT = 24 << LATENT_BITS
HIDDEN_LIMIT = 16 << HIDDEN_BITS
MAX_INDEX = 1 << 14
ESCAPE_LENGTH_BITS = 4

Int32Array = NDArray[np.int32]
Float32Array = NDArray[np.float32]


class EntropyTables(NamedTuple):
    """Integer parameters of one model.

    Shape (G groups, H hidden units, N latents, L quality indices, M = 4 context masks, W widest group):
        bounds ``[G + 1]``; hidden ``[G, H, 2N + N]``; hidden_bias ``[L, M, G, H]``; out ``[G, 2W, H]``;
        out_bias ``[L, M, G, 2W]``; step ``[L, N]``; log2_step ``[L, N]`` (1/8 octave);
        cumulative ``[total]``; offset, half_width ``[TABLE_COUNT]``; cost ``[total]`` (bits, encoder's use only).
    """

    bounds: Int32Array
    hidden: NDArray[np.int16]
    hidden_bias: NDArray[np.int16]
    out: NDArray[np.int16]
    out_bias: Int32Array
    step: Int32Array
    log2_step: Int32Array
    cumulative: Int32Array
    offset: Int32Array
    half_width: Int32Array
    cost: Float32Array


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


@kernel
def clamp_latent(index: int, step: int) -> int:
    """Fixed-point latent that an index stands for, limited to what the networks are fed."""
    value = (index * step) >> (STEP_BITS - LATENT_BITS)
    return min(max(value, -INPUT_LIMIT), INPUT_LIMIT)


@kernel
def _predict_group(
    tables: EntropyTables,
    group: int,
    quality_index: int,
    mask: int,
    context: Int32Array,
    hidden: NDArray[np.int64],
    location: Int32Array,
    table: Int32Array,
) -> None:
    start, stop = tables.bounds[group], tables.bounds[group + 1]
    width = stop - start
    latents = tables.step.shape[1]
    inputs = CONTEXT_FRAMES * latents + start
    # A key packet has zeros for them, which most of the time would go to.
    inter_coded_from = 0 if mask else CONTEXT_FRAMES * latents
    values = context[inter_coded_from:inputs]
    for j in range(tables.hidden.shape[1]):
        weights = tables.hidden[group, j, inter_coded_from:inputs]
        total = dot_of_shorts(weights, values)
        total = (total >> (LATENT_BITS + WEIGHT_BITS - HIDDEN_BITS)) + tables.hidden_bias[
            quality_index, mask, group, j
        ]
        hidden[j] = min(max(total, 0), HIDDEN_LIMIT)
    for k in range(2 * width):
        weights = tables.out[group, k]
        total = dot_of_shorts(weights, hidden)
        total += tables.out_bias[quality_index, mask, group, k]
        if k < width:
            unit = np.int64(tables.step[quality_index, start + k]) << (
                HIDDEN_BITS + WEIGHT_BITS - STEP_BITS - LOCATION_BITS
            )
            eighths = (total + (unit >> 1)) // unit
            limit = MAX_INDEX << LOCATION_BITS
            location[start + k] = min(max(eighths, -limit), limit)
        else:
            half = 1 << (HIDDEN_BITS + WEIGHT_BITS - 1)
            scale = (total * SCALES_PER_OCTAVE + half) >> (HIDDEN_BITS + WEIGHT_BITS)
            i = start + k - width
            scale -= tables.log2_step[quality_index, i] + LOG2_SCALE_MIN * SCALES_PER_OCTAVE
            table[i] = min(max(scale, 0), TABLE_COUNT - 1)


@kernel
def _row(tables: EntropyTables, table: int, location: int) -> int:
    width = 2 * tables.half_width[table] + 3
    row: int = tables.offset[table] + (location & ((1 << LOCATION_BITS) - 1)) * width
    return row


@kernel
def _escape_bits(excess: int) -> int:
    length = 0
    while excess >> (length + 1):
        length += 1
    return ESCAPE_LENGTH_BITS + length + 1


@kernel
def remember(context: Int32Array) -> None:
    """The latents of the frame just coded become those of the frame before.

    Shape: context ``[3 * latents]``: the frame before, the one before that, the one being coded.
    """
    latents = context.size // (CONTEXT_FRAMES + 1)
    for i in range(latents):
        context[latents + i] = context[i]
        context[i] = context[CONTEXT_FRAMES * latents + i]


@kernel
def quantise(
    tables: EntropyTables,
    latents: Float32Array,
    quality_index: int,
    mask: int,
    context: Int32Array,
    keep: int,
    hidden: NDArray[np.int64],
    location: Int32Array,
    table: Int32Array,
    indices: Int32Array,
) -> float:
    """Quantise one frame's latents at ``quality_index`` and predict its cost.

    Latents from index ``keep`` on are replaced by their cheapest index. ``context`` holds the context frames'
    fixed-point latents and is filled with this frame's own.

    Shape: latents, location, table, indices ``[N]``; context ``[3 N]``. Returns bits.
    """
    count = tables.step.shape[1]
    bits = 0.0
    for group in range(tables.bounds.size - 1):
        _predict_group(tables, group, quality_index, mask, context, hidden, location, table)
        for i in range(tables.bounds[group], tables.bounds[group + 1]):
            step = tables.step[quality_index, i]
            if i < keep:
                scaled = latents[i] * (float(1 << STEP_BITS) / step)
                scaled = min(max(scaled, -float(MAX_INDEX)), float(MAX_INDEX))
                index = int(np.floor(scaled + 0.5))
            else:
                index = int(np.floor(location[i] / float(1 << LOCATION_BITS) + 0.5))
            indices[i] = index
            offset = index - (location[i] >> LOCATION_BITS)
            half = tables.half_width[table[i]]
            row = _row(tables, table[i], location[i])
            if abs(offset) <= half:
                bits += tables.cost[row + offset + half]
            else:
                bits += tables.cost[row + 2 * half + 1] + 1 + _escape_bits(abs(offset) - half)
            context[CONTEXT_FRAMES * count + i] = clamp_latent(index, step)
    return bits


@kernel
def cost(
    tables: EntropyTables,
    latents: Float32Array,
    quality_index: int,
    context_frames: int,
    context: Int32Array,
    keep: int,
    hidden: NDArray[np.int64],
    location: Int32Array,
    table: Int32Array,
    indices: Int32Array,
) -> float:
    """Bits that :func:`code` will take for the same frames, but for its ending; ``context`` moves on as there.

    Shape: latents ``[frames, N]``.
    """
    bits = 0.0
    for f in range(latents.shape[0]):
        mask = (1 << min(context_frames + f, CONTEXT_FRAMES)) - 1
        bits += quantise(tables, latents[f], quality_index, mask, context, keep, hidden, location, table, indices)
        remember(context)
    return bits


@kernel
def _write_indices(
    tables: EntropyTables,
    indices: Int32Array,
    location: Int32Array,
    table: Int32Array,
    state: NDArray[np.int64],
    buffer: NDArray[np.uint8],
) -> None:
    """Range-code indices whose locations and tables :func:`quantise` left behind."""
    for i in range(indices.size):
        offset = indices[i] - (location[i] >> LOCATION_BITS)
        half = tables.half_width[table[i]]
        row = _row(tables, table[i], location[i])
        symbol = offset + half if abs(offset) <= half else 2 * half + 1
        start = tables.cumulative[row + symbol]
        range_coder.encode(state, buffer, start, tables.cumulative[row + symbol + 1] - start, TABLE_BITS)
        if symbol == 2 * half + 1:
            excess = abs(offset) - half
            length = _escape_bits(excess) - ESCAPE_LENGTH_BITS - 1
            range_coder.encode_bits(state, buffer, 1 if offset < 0 else 0, 1)
            range_coder.encode_bits(state, buffer, length, ESCAPE_LENGTH_BITS)
            range_coder.encode_bits(state, buffer, excess - (1 << length), length)


@kernel
def code(
    tables: EntropyTables,
    latents: Float32Array,
    quality_index: int,
    context_frames: int,
    context: Int32Array,
    keep: int,
    hidden: NDArray[np.int64],
    location: Int32Array,
    table: Int32Array,
    indices: Int32Array,
    state: NDArray[np.int64],
    buffer: NDArray[np.uint8],
    shift: int,
) -> int:
    """The frames of one packet as one code word; returns bytes written.

    ``context_frames`` is how many frames before the first may be used; each frame is predicted from those before it
    in the packet. ``context`` ends as the context of the frame after. ``shift`` goes into its
    ending (``native_dsp.filters.lift``).

    Shape: latents ``[frames, N]``.
    """
    range_coder.encoder_init(state)
    for f in range(latents.shape[0]):
        mask = (1 << min(context_frames + f, CONTEXT_FRAMES)) - 1
        quantise(tables, latents[f], quality_index, mask, context, keep, hidden, location, table, indices)
        _write_indices(tables, indices, location, table, state, buffer)
        remember(context)
    return range_coder.encoder_finish_marked(state, buffer, shift, SHIFT_BITS)


@kernel
def _read_frame(
    tables: EntropyTables,
    quality_index: int,
    mask: int,
    context: Int32Array,
    hidden: NDArray[np.int64],
    location: Int32Array,
    table: Int32Array,
    state: NDArray[np.int64],
    buffer: NDArray[np.uint8],
    indices: Int32Array,
) -> None:
    count = tables.step.shape[1]
    for group in range(tables.bounds.size - 1):
        _predict_group(tables, group, quality_index, mask, context, hidden, location, table)
        for i in range(tables.bounds[group], tables.bounds[group + 1]):
            half = tables.half_width[table[i]]
            row = _row(tables, table[i], location[i])
            target = range_coder.decode_target(state, TABLE_BITS)
            low, high = 0, 2 * half + 2
            while high - low > 1:
                middle = (low + high) >> 1
                if tables.cumulative[row + middle] <= target:
                    low = middle
                else:
                    high = middle
            start = tables.cumulative[row + low]
            range_coder.decode_update(state, buffer, start, tables.cumulative[row + low + 1] - start, TABLE_BITS)
            offset = low - half
            if low == 2 * half + 1:
                negative = range_coder.decode_bits(state, buffer, 1)
                bit_length = range_coder.decode_bits(state, buffer, ESCAPE_LENGTH_BITS)
                excess = (1 << bit_length) + range_coder.decode_bits(state, buffer, bit_length)
                offset = -(half + excess) if negative else half + excess
            indices[i] = offset + (location[i] >> LOCATION_BITS)
            context[CONTEXT_FRAMES * count + i] = clamp_latent(indices[i], tables.step[quality_index, i])


@kernel
def read_indices(
    tables: EntropyTables,
    quality_index: int,
    context_frames: int,
    context: Int32Array,
    hidden: NDArray[np.int64],
    location: Int32Array,
    table: Int32Array,
    state: NDArray[np.int64],
    buffer: NDArray[np.uint8],
    length: int,
    indices: Int32Array,
) -> int:
    """Inverse of :func:`code`, returns the shift; any bytes give some indices, never an error.

    Shape: indices ``[frames, N]``.
    """
    range_coder.decoder_init(state, buffer, length)
    for f in range(indices.shape[0]):
        mask = (1 << min(context_frames + f, CONTEXT_FRAMES)) - 1
        _read_frame(tables, quality_index, mask, context, hidden, location, table, state, buffer, indices[f])
        remember(context)
    return range_coder.decode_mark(state, buffer, SHIFT_BITS)
