"""Integer form of the learned entropy model: what both ends of a line must agree on, bit by bit.

Everything the range coder sees comes from integers: quantisation indices, integer weights and integer tables, so two
machines that round floats differently still decode each other. The float form that is trained lives in
``streamcodec.models.entropy``; ``entropy_tables`` lays out and checks a model's integers.

Fixed point: latents in 1/64, steps in 1/1024, weights in 1/4096, hidden units in 1/256, locations in 1/8 of a step,
scales in 1/8 octave.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding import range_coder
from native_dsp.filters.lift import SHIFT_BITS
from native_dsp.jit import kernel, shared
from native_dsp.kernel_arguments import KernelArguments, bundle_arguments
from native_dsp.networks.integer_dot import dot_of_shorts
from native_dsp.networks.simd_product import PAIR, PHASES, TILE, make_simd_product

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
STEP_INPUTS = PHASES * PAIR
_STEP_BYTES = 2 * TILE * STEP_INPUTS
_products = make_simd_product("shorts", 1)


class EntropyTables(NamedTuple):
    """Integer parameters of one model.

    Shape (G groups, H hidden units, N latents, L quality indices, M = 4 context masks, W widest group):
        bounds ``[G + 1]``; hidden ``[G, tiles, weights of a tile]``, see ``in_tiles``; hidden_bias ``[L, M, G,
        H]``; out ``[G, 2W, H]``; out_bias ``[L, M, G, 2W]``; step ``[L, N]``; log2_step ``[L, N]`` (1/8 octave);
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


class Prediction(NamedTuple):
    """What the entropy model is asked, and what it says of a frame; scratch.

    Shape: inputs, the latents before and those of the frame as far as they are known, ``[whole steps]``; sums,
    hidden ``[H]``, filled up to whole tiles; location (1/8 step), table ``[N]``.
    """

    inputs: NDArray[np.int16]
    sums: Int32Array
    hidden: NDArray[np.int16]
    location: Int32Array
    table: Int32Array


class CodingArguments(NamedTuple):
    """What a coder hands to :func:`cost`, :func:`code` and :func:`read_indices` once and for all.

    Shape: indices ``[N]``; state, of the range coder; buffer ``[bytes]``, which a decoder does not use.
    """

    tables: EntropyTables
    prediction: Prediction
    indices: Int32Array
    state: NDArray[np.int64]
    buffer: NDArray[np.uint8]


def make_prediction(latents: int, hidden: int) -> Prediction:
    """Scratch for a model of so many latents and hidden units."""
    before, own, tiles = whole_steps(CONTEXT_FRAMES * latents), whole_steps(latents), -(-hidden // TILE)
    return Prediction(
        inputs=np.zeros(STEP_INPUTS * (before + own), np.int16),
        sums=np.zeros(tiles * TILE, np.int32),
        hidden=np.zeros(hidden, np.int16),
        location=np.zeros(latents, np.int32),
        table=np.zeros(latents, np.int32),
    )


def bundle_coding(tables: EntropyTables, hidden: int, buffer: NDArray[np.uint8]) -> Any:
    """Arguments for :func:`cost`, :func:`code` and :func:`read_indices`, of one coder with so many hidden units."""
    latents = tables.step.shape[1]
    prediction, indices = make_prediction(latents, hidden), np.zeros(latents, np.int32)
    return bundle_arguments(CodingArguments(tables, prediction, indices, range_coder.make_state(), buffer))


@shared
def whole_steps(inputs: int) -> int:
    """Steps of the product that take so many inputs, the last of them filled up."""
    return (inputs + STEP_INPUTS - 1) // STEP_INPUTS


@kernel
def clamp_latent(index: int, step: int) -> int:
    """Fixed-point latent that an index stands for, limited to what the networks are fed."""
    value = (index * step) >> (STEP_BITS - LATENT_BITS)
    return min(max(value, -INPUT_LIMIT), INPUT_LIMIT)


@kernel
def begin_frame(context: Int32Array, mask: int, prediction: Prediction) -> None:
    """What is known of the frames before, as inputs; they lie within ``INPUT_LIMIT``."""
    if mask:
        inputs = prediction.inputs
        for i in range(context.size // (CONTEXT_FRAMES + 1) * CONTEXT_FRAMES):
            inputs[i] = context[i]


@kernel
def store_index(
    tables: EntropyTables, quality_index: int, i: int, index: int, context: Int32Array, prediction: Prediction
) -> None:
    """Latent ``i`` of the frame is known, for the groups and the frames that follow."""
    before = CONTEXT_FRAMES * tables.step.shape[1]
    value = clamp_latent(index, tables.step[quality_index, i])
    context[before + i] = value
    prediction.inputs[STEP_INPUTS * whole_steps(before) + i] = value


@kernel
def predict_group(tables: EntropyTables, group: int, quality_index: int, mask: int, prediction: Prediction) -> None:
    """Location and table of each latent of a group, from what is known."""
    inputs, sums, hidden = prediction.inputs, prediction.sums, prediction.hidden
    location, table = prediction.location, prediction.table
    start, stop = tables.bounds[group], tables.bounds[group + 1]
    width = stop - start
    before = whole_steps(CONTEXT_FRAMES * tables.step.shape[1])
    # A packet that leans on none does without the inputs that most of the time would go to.
    first = 0 if mask else before
    steps = before + whole_steps(start) - first
    tiles, weights_of_tile = tables.hidden.shape[1], tables.hidden.shape[2]
    for t in range(tiles):
        first_byte = 2 * (group * tiles + t) * weights_of_tile + first * _STEP_BYTES
        _products(tables.hidden, first_byte, inputs, STEP_INPUTS * first, 0, sums, t * TILE, 0, steps)
    bias = tables.hidden_bias[quality_index, mask, group]
    for j in range(len(hidden)):
        total = np.int32((sums[j] >> (LATENT_BITS + WEIGHT_BITS - HIDDEN_BITS)) + bias[j])
        hidden[j] = min(max(total, np.int32(0)), np.int32(HIDDEN_LIMIT))
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
def table_row(tables: EntropyTables, table: int, location: int) -> int:
    """Where the row of an index with this scale and location begins in ``cost`` and ``cumulative``."""
    width = 2 * tables.half_width[table] + 3
    row: int = tables.offset[table] + (location & ((1 << LOCATION_BITS) - 1)) * width
    return row


@kernel
def escape_bits(excess: int) -> int:
    """Bits that say by how much, from 1 on, an index lies outside its table: their number, then they themselves."""
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
    prediction: Prediction,
    indices: Int32Array,
) -> float:
    """Quantise one frame's latents at ``quality_index`` and predict its cost.

    Latents from index ``keep`` on are replaced by their cheapest index. ``context`` holds the context frames'
    fixed-point latents and is filled with this frame's own.

    Shape: latents, indices ``[N]``; context ``[3 N]``. Returns bits.
    """
    location, table = prediction.location, prediction.table
    bits = 0.0
    begin_frame(context, mask, prediction)
    for group in range(tables.bounds.size - 1):
        predict_group(tables, group, quality_index, mask, prediction)
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
            row = table_row(tables, table[i], location[i])
            if abs(offset) <= half:
                bits += tables.cost[row + offset + half]
            else:
                bits += tables.cost[row + 2 * half + 1] + 1 + escape_bits(abs(offset) - half)
            store_index(tables, quality_index, i, index, context, prediction)
    return bits


@kernel
def cost(
    arguments: KernelArguments,
    latents: Float32Array,
    quality_index: int,
    context_frames: int,
    context: Int32Array,
    keep: int,
) -> float:
    """Bits that :func:`code` will take for the same frames, but for its ending; ``context`` moves on as there.

    ``arguments`` holds :class:`CodingArguments`.

    Shape: latents ``[frames, N]``.
    """
    tables, prediction, indices, _, _ = arguments.parts
    bits = 0.0
    for f in range(latents.shape[0]):
        mask = (1 << min(context_frames + f, CONTEXT_FRAMES)) - 1
        bits += quantise(tables, latents[f], quality_index, mask, context, keep, prediction, indices)
        remember(context)
    return bits


@kernel
def _write_indices(
    tables: EntropyTables,
    indices: Int32Array,
    prediction: Prediction,
    state: NDArray[np.int64],
    buffer: NDArray[np.uint8],
) -> None:
    """Range-code indices whose locations and tables :func:`quantise` left behind."""
    location, table = prediction.location, prediction.table
    for i in range(indices.size):
        offset = indices[i] - (location[i] >> LOCATION_BITS)
        half = tables.half_width[table[i]]
        row = table_row(tables, table[i], location[i])
        symbol = offset + half if abs(offset) <= half else 2 * half + 1
        start = tables.cumulative[row + symbol]
        range_coder.encode(state, buffer, start, tables.cumulative[row + symbol + 1] - start, TABLE_BITS)
        if symbol == 2 * half + 1:
            excess = abs(offset) - half
            length = escape_bits(excess) - ESCAPE_LENGTH_BITS - 1
            range_coder.encode_bits(state, buffer, 1 if offset < 0 else 0, 1)
            range_coder.encode_bits(state, buffer, length, ESCAPE_LENGTH_BITS)
            range_coder.encode_bits(state, buffer, excess - (1 << length), length)


@kernel
def code(
    arguments: KernelArguments,
    latents: Float32Array,
    quality_index: int,
    context_frames: int,
    context: Int32Array,
    keep: int,
    shift: int,
) -> int:
    """:func:`code_packet` with all that stays the same in ``arguments``, which hold :class:`CodingArguments`."""
    tables, prediction, indices, state, buffer = arguments.parts
    return code_packet(
        tables, latents, quality_index, context_frames, context, keep, prediction, indices, state, buffer, shift
    )


@kernel
def code_packet(
    tables: EntropyTables,
    latents: Float32Array,
    quality_index: int,
    context_frames: int,
    context: Int32Array,
    keep: int,
    prediction: Prediction,
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
        quantise(tables, latents[f], quality_index, mask, context, keep, prediction, indices)
        _write_indices(tables, indices, prediction, state, buffer)
        remember(context)
    return range_coder.encoder_finish_marked(state, buffer, shift, SHIFT_BITS)


@kernel
def _read_frame(
    tables: EntropyTables,
    quality_index: int,
    mask: int,
    context: Int32Array,
    prediction: Prediction,
    state: NDArray[np.int64],
    buffer: NDArray[np.uint8],
    indices: Int32Array,
) -> None:
    location, table = prediction.location, prediction.table
    begin_frame(context, mask, prediction)
    for group in range(tables.bounds.size - 1):
        predict_group(tables, group, quality_index, mask, prediction)
        for i in range(tables.bounds[group], tables.bounds[group + 1]):
            half = tables.half_width[table[i]]
            row = table_row(tables, table[i], location[i])
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
            store_index(tables, quality_index, i, indices[i], context, prediction)


@kernel
def read_indices(
    arguments: KernelArguments,
    quality_index: int,
    context_frames: int,
    context: Int32Array,
    buffer: NDArray[np.uint8],
    length: int,
    indices: Int32Array,
) -> int:
    """:func:`read_packet` with all that stays the same in ``arguments``, which hold :class:`CodingArguments`."""
    tables, prediction, _, state, _ = arguments.parts
    return read_packet(tables, quality_index, context_frames, context, prediction, state, buffer, length, indices)


@kernel
def read_packet(
    tables: EntropyTables,
    quality_index: int,
    context_frames: int,
    context: Int32Array,
    prediction: Prediction,
    state: NDArray[np.int64],
    buffer: NDArray[np.uint8],
    length: int,
    indices: Int32Array,
) -> int:
    """Inverse of :func:`code_packet`, returns the shift; any bytes give some indices, never an error.

    Shape: indices ``[frames, N]``.
    """
    range_coder.decoder_init(state, buffer, length)
    for f in range(indices.shape[0]):
        mask = (1 << min(context_frames + f, CONTEXT_FRAMES)) - 1
        _read_frame(tables, quality_index, mask, context, prediction, state, buffer, indices[f])
        remember(context)
    return range_coder.decode_mark(state, buffer, SHIFT_BITS)
