"""Range coder on integer frequency tables: integers only, so the same bytes on every machine.

A carry-handling range coder (Martin, "Range encoding", 1979) with a 48-bit low end and a range kept between 2^40 and
2^48, so that dividing it into 2^16 parts loses less than 10^-6 of it, and no sum leaves 64 bits. Bytes leave at the
top; a carry is added into the bytes already written. Totals are powers of two: the encoder shifts and never divides.

State is a plain int64 array of ``STATE_SIZE`` entries, the same for encoder and decoder; copying state and buffer
copies the coder. The encoder never writes past its buffer: it goes on counting and reports the overflow at the end.
The decoder reads zeros past the end of its input, and any bytes at all decode to something, without error and without
hanging. All numbers are signed integers (numba turns a mixture of int64 and uint64 into floating point).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import integer_kernel

Int64Array = NDArray[np.int64]
Int32Array = NDArray[np.int32]
ByteArray = NDArray[np.uint8]

STATE_SIZE = 5

# Encoder: lower end of the interval. Decoder: distance of the code value from it.
LOW = 0
RANGE = 1
# Bytes written, or read (may pass the end of the buffer).
POSITION = 2
# Bytes of input, decoder only.
LENGTH = 3
# 1 after an overflow of the output, a symbol of no probability, or input that no encoder writes.
FAULT = 4

LOW_BITS = 48
TOP = 1 << LOW_BITS
BOTTOM = 1 << (LOW_BITS - 8)


def make_state() -> Int64Array:
    """State for one encoder or decoder, before ``encoder_init`` or ``decoder_init``.

    Shape: int64 ``[STATE_SIZE]``.
    """
    return np.zeros(STATE_SIZE, np.int64)


@integer_kernel
def encoder_init(state: Int64Array) -> None:
    """Begin an empty code.

    Shape: ``state [STATE_SIZE]``, changed in place.
    """
    state[LOW] = 0
    state[RANGE] = TOP
    state[POSITION] = 0
    state[LENGTH] = 0
    state[FAULT] = 0


@integer_kernel
def _carry(state: Int64Array, buffer: ByteArray) -> None:
    if state[LOW] >= TOP:
        state[LOW] -= TOP
        i = min(state[POSITION], len(buffer)) - 1
        while i >= 0 and buffer[i] == 255:
            buffer[i] = 0
            i -= 1
        if i >= 0:
            buffer[i] += np.uint8(1)


@integer_kernel
def _shift_out(state: Int64Array, buffer: ByteArray) -> None:
    position = state[POSITION]
    if position < len(buffer):
        buffer[position] = state[LOW] >> (LOW_BITS - 8)
    else:
        state[FAULT] = 1
    state[POSITION] = position + 1
    state[LOW] = (state[LOW] & (BOTTOM - 1)) << 8


@integer_kernel
def _narrow_encoder(state: Int64Array, buffer: ByteArray, offset: int, width: int) -> None:
    if width < 1:
        width = 1
        state[FAULT] = 1
    state[LOW] += offset
    _carry(state, buffer)
    while width < BOTTOM:
        _shift_out(state, buffer)
        width <<= 8
    state[RANGE] = width


@integer_kernel
def encode(state: Int64Array, buffer: ByteArray, start: int, frequency: int, bits: int) -> None:
    """Code the symbol that owns ``[start, start + frequency)`` of ``2**bits``; ``bits`` <= 24.

    A frequency below 1 marks the code as faulty.

    Shape: ``state [STATE_SIZE]`` and ``buffer [bytes]``, changed in place.
    """
    unit = state[RANGE] >> bits
    _narrow_encoder(state, buffer, unit * start, unit * frequency)


@integer_kernel
def encode_bits(state: Int64Array, buffer: ByteArray, value: int, count: int) -> None:
    """Code the ``count`` lowest bits of ``value`` (0 to 62), all values equally likely, high bits first.

    Shape: ``state [STATE_SIZE]`` and ``buffer [bytes]``, changed in place.
    """
    while count > 0:
        step = min(count, 16)
        count -= step
        encode(state, buffer, (value >> count) & ((1 << step) - 1), 1, step)


@integer_kernel
def encode_bit(state: Int64Array, buffer: ByteArray, probability: int, bit: int) -> None:
    """Code one bit that is 1 with probability ``probability / 65536``, held within 1 to 65535.

    Shape: ``state [STATE_SIZE]`` and ``buffer [bytes]``, changed in place.
    """
    one = (state[RANGE] >> 16) * min(max(probability, 1), 65535)
    if bit:
        _narrow_encoder(state, buffer, 0, one)
    else:
        _narrow_encoder(state, buffer, one, state[RANGE] - one)


@integer_kernel
def encode_symbol(state: Int64Array, buffer: ByteArray, cdf: Int32Array, symbol: int, bits: int) -> None:
    """Code ``symbol`` by a cumulative table; a symbol outside the table marks the code as faulty.

    Shape: ``cdf [symbols + 1]``, from 0 to ``2**bits``, strictly rising.
    """
    if symbol < 0 or symbol >= len(cdf) - 1:
        state[FAULT] = 1
        return
    start = np.int64(cdf[symbol])
    encode(state, buffer, start, np.int64(cdf[symbol + 1]) - start, bits)


@integer_kernel
def _finished_length(state: Int64Array, buffer: ByteArray) -> int:
    """Bytes of a code that is written to its end, without trailing zeros; -1 if it is faulty."""
    if state[FAULT]:
        return -1
    length: int = state[POSITION]
    while length > 0 and buffer[length - 1] == 0:
        length -= 1
    return length


@integer_kernel
def encoder_finish(state: Int64Array, buffer: ByteArray) -> int:
    """End the code with as few bytes as it takes and return its length in bytes, or -1 if the code is faulty.

    Of all values in the final interval the one with most trailing zero bytes is written, and trailing zeros are
    dropped, because the decoder reads zeros past the end. Call it once; the length must travel beside the bytes.

    Shape: ``state [STATE_SIZE]`` and ``buffer [bytes]``, changed in place.
    """
    low = state[LOW]
    if low > 0:
        if low + state[RANGE] > TOP:
            state[LOW] = TOP
            _carry(state, buffer)
        else:
            state[LOW] = low + BOTTOM - 1
            _shift_out(state, buffer)
    return _finished_length(state, buffer)


@integer_kernel
def _spare(low: int, width: int, mark: int, bits: int) -> int:
    """Distance from ``low`` of the value in ``[low, low + width)`` that says ``mark``, 1 to ``2**bits - 1``.

    Values of as few bytes as hold all marks beside the one that :func:`encoder_finish` writes, which says nothing.
    """
    first = -low & (BOTTOM - 1)
    plain = TOP - low if low > 0 and low + width > TOP else first
    unit = BOTTOM
    if (width - 1 - first) // unit < (1 << bits) - 1:
        unit = BOTTOM >> 8
        first = -low & (unit - 1)
    k = mark - 1
    if first + k * unit >= plain:
        k += 1
    return first + k * unit


@integer_kernel
def encoder_finish_marked(state: Int64Array, buffer: ByteArray, mark: int, bits: int) -> int:
    """:func:`encoder_finish` with a number of ``bits`` (at most 7) more, in about as many bits; 0 takes none.

    Of the values that end the code all but one are never written: they say the numbers from 1 on. A decoder that asks
    for no number decodes the same symbols.

    Shape: ``state [STATE_SIZE]`` and ``buffer [bytes]``, changed in place.
    """
    if mark <= 0 or mark >= 1 << bits:
        return encoder_finish(state, buffer)
    state[LOW] += _spare(state[LOW], state[RANGE], mark, bits)
    _carry(state, buffer)
    _shift_out(state, buffer)
    _shift_out(state, buffer)
    return _finished_length(state, buffer)


@integer_kernel
def decode_mark(state: Int64Array, buffer: ByteArray, bits: int) -> int:
    """The number that :func:`encoder_finish_marked` has added, once all symbols are decoded; 0 if there is none.

    Shape: ``state [STATE_SIZE]`` of a decoder, ``buffer [bytes]``.
    """
    window = 0
    for k in range(LOW_BITS // 8):
        i = state[POSITION] - LOW_BITS // 8 + k
        byte = np.int64(0)
        if 0 <= i < state[LENGTH] and i < len(buffer):
            byte = np.int64(buffer[i])
        window = (window << 8) | byte
    low = (window - state[LOW]) & (TOP - 1)
    for mark in range(1, 1 << bits):
        if state[LOW] == _spare(low, state[RANGE], mark, bits):
            return mark
    return 0


@integer_kernel
def log2_256(value: int) -> int:
    """``256 log2(value)`` rounded down (or one less) for 1 <= ``value`` < 2^62, in integers."""
    bits = 0
    mantissa = value
    while mantissa > 1:
        mantissa >>= 1
        bits += 1
    mantissa = value >> (bits - 30) if bits > 30 else value << (30 - bits)
    for _ in range(8):
        mantissa = (mantissa * mantissa) >> 30
        bits <<= 1
        if mantissa >= 1 << 31:
            mantissa >>= 1
            bits += 1
    return bits


@integer_kernel
def encoded_length_256(state: Int64Array) -> int:
    """Length of the code so far in 1/256 bit; goes on counting past the end of the buffer.

    Shape: ``state [STATE_SIZE]`` of an encoder.
    """
    position: int = state[POSITION]
    return (8 * position + LOW_BITS) * 256 - log2_256(state[RANGE])


@integer_kernel
def _next_byte(state: Int64Array, buffer: ByteArray) -> int:
    position = state[POSITION]
    state[POSITION] = position + 1
    byte: int = np.int64(0)
    if position < state[LENGTH] and position < len(buffer):
        byte = np.int64(buffer[position])
    return byte


@integer_kernel
def decoder_init(state: Int64Array, buffer: ByteArray, length: int) -> None:
    """Begin to decode the first ``length`` bytes of ``buffer``.

    Shape: ``state [STATE_SIZE]``, changed in place; ``buffer [bytes]``.
    """
    state[RANGE] = TOP
    state[POSITION] = 0
    state[LENGTH] = min(max(length, 0), len(buffer))
    state[FAULT] = 0
    code = 0
    for _ in range(LOW_BITS // 8):
        code = (code << 8) | _next_byte(state, buffer)
    state[LOW] = code


@integer_kernel
def _narrow_decoder(state: Int64Array, buffer: ByteArray, offset: int, width: int) -> None:
    if width < 1:
        width = 1
        state[FAULT] = 1
    code = state[LOW] - offset
    if code < 0 or code >= width:
        # Only foreign bytes get here, into the rest that the division of the range leaves over.
        code = min(max(code, 0), width - 1)
        state[FAULT] = 1
    while width < BOTTOM:
        code = (code << 8) | _next_byte(state, buffer)
        width <<= 8
    state[LOW] = code
    state[RANGE] = width


@integer_kernel
def decode_target(state: Int64Array, bits: int) -> int:
    """Where in ``2**bits`` the next symbol lies; :func:`decode_update` must follow with the symbol that owns it.

    Shape: ``state [STATE_SIZE]`` of a decoder.
    """
    target: int = state[LOW] // (state[RANGE] >> bits)
    return min(target, (1 << bits) - 1)


@integer_kernel
def decode_update(state: Int64Array, buffer: ByteArray, start: int, frequency: int, bits: int) -> None:
    """Step over the symbol that owns ``[start, start + frequency)`` of ``2**bits``.

    Shape: ``state [STATE_SIZE]``, changed in place; ``buffer [bytes]``.
    """
    unit = state[RANGE] >> bits
    _narrow_decoder(state, buffer, unit * start, unit * frequency)


@integer_kernel
def decode_bits(state: Int64Array, buffer: ByteArray, count: int) -> int:
    """Inverse of :func:`encode_bits`.

    Shape: ``state [STATE_SIZE]``, changed in place; ``buffer [bytes]``.
    """
    value = 0
    while count > 0:
        step = min(count, 16)
        count -= step
        part = decode_target(state, step)
        decode_update(state, buffer, part, 1, step)
        value = (value << step) | part
    return value


@integer_kernel
def decode_bit(state: Int64Array, buffer: ByteArray, probability: int) -> int:
    """Inverse of :func:`encode_bit`.

    Shape: ``state [STATE_SIZE]``, changed in place; ``buffer [bytes]``.
    """
    one = (state[RANGE] >> 16) * min(max(probability, 1), 65535)
    if state[LOW] < one:
        _narrow_decoder(state, buffer, 0, one)
        return 1
    _narrow_decoder(state, buffer, one, state[RANGE] - one)
    return 0


@integer_kernel
def decode_symbol(state: Int64Array, buffer: ByteArray, cdf: Int32Array, bits: int) -> int:
    """Inverse of :func:`encode_symbol`, by binary search; always a symbol of the table.

    Shape: ``cdf [symbols + 1]``, from 0 to ``2**bits``, strictly rising.
    """
    target = decode_target(state, bits)
    symbol = 0
    above = len(cdf) - 1
    while above - symbol > 1:
        middle = (symbol + above) >> 1
        if cdf[middle] <= target:
            symbol = middle
        else:
            above = middle
    start = np.int64(cdf[symbol])
    decode_update(state, buffer, start, np.int64(cdf[symbol + 1]) - start, bits)
    return symbol
