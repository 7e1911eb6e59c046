"""Lossless engine: blocks of integer samples in, payloads out, and back, bit for bit.

Payload, big-endian::

    byte 0      bits 0-1 kind (0 coded, 1 constant, 2 raw), bit 2 key, bit 3 length follows, bit 4 shift follows,
                bit 5 low bits follow
    byte 1      block counter, modulo 256
    key only    bits per sample (1), channels (1), sample rate in Hz (3), nominal block length in samples (2)
    length      2 bytes, where the block is not of nominal length
    shift       1 byte, where it changes: bits below what is predicted; the adaptive state starts anew
    low bits    1 byte, where the bits below are not all zero: how many of them, from the top, are kept as they are
    CRC-32      4 bytes, of the samples as little-endian int32, interleaved
    body        coded: the low bits, interleaved, filled up to a byte; then range-coded residuals;
                constant: 3 or 4 bytes per channel, or nothing for silence; raw: 1 to 4 bytes per sample, interleaved

Channels are coded in pairs as they come, one left over alone. Where there are more than two, each pair's residuals
follow their length (2 bytes; all ones: the pair's shifted samples raw, 1 to 3 bytes each).
Prediction takes 24 bits: of wider samples the low bits, which are noise, travel as they are.

A key block carries the format and starts from fresh adaptive state, so that it decodes without what came before.
The predictors adapt from decoded samples alone, in integers: nothing but residuals travels.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding.lossless_block import LosslessState, decode_samples, encode_samples, make_lossless_state
from native_dsp.coding.range_coder import make_state
from native_dsp.state import copy_state
from streamcodec.codec.lossless.format import (
    FORMAT_BYTES,
    MIN_RATE_HZ,
    PREDICTED_BITS,
    LosslessFormat,
    default_block_samples,
    sample_bytes,
)
from streamcodec.codec.lossless.raw_samples import (
    common_zero_bits,
    pack_low_bits,
    pack_samples,
    sample_width,
    samples_checksum,
    unpack_low_bits,
    unpack_samples,
    within_width,
)
from streamcodec.errors import AudioFormatError, DamagedPayload

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]

_CODED, _CONSTANT, _RAW = 0, 1, 2
_KIND, _KEY, _LENGTH, _SHIFT, _LOW, _UNKNOWN = 3, 4, 8, 16, 32, 192
_RAW_PAIR = 0xFFFF


def is_key_payload(payload: bytes) -> bool:
    """Whether a payload decodes without any earlier one."""
    return bool(payload) and bool(payload[0] & _KEY)


@dataclass(slots=True)
class _Adaptation:
    """What encoder and decoder keep in step: each pair's state, the shift it belongs to, the next block counter."""

    states: list[LosslessState]
    shift: int = 0
    counter: int = 0
    coder: Int64Array = field(default_factory=make_state)

    @classmethod
    def fresh(cls, channels: int, counter: int = 0) -> _Adaptation:
        pairs = [min(2, channels - first) for first in range(0, channels, 2)]
        return cls([make_lossless_state(pair) for pair in pairs], counter=counter)

    def copy(self) -> _Adaptation:
        return replace(self, states=[copy_state(state) for state in self.states], coder=self.coder.copy())

    def restart(self, shift: int) -> None:
        self.states = [make_lossless_state(state.channels) for state in self.states]
        self.shift = shift

    def encode(self, samples: Int32Array, bits: int, room: int) -> list[bytes | None]:
        """Residuals of each pair's shifted samples; None where they take more than ``room`` bytes."""
        bodies: list[bytes | None] = []
        for number, state in enumerate(self.states):
            pair = _pair(samples, number)
            buffer = np.zeros(max(room, 1), np.uint8)
            length = encode_samples(self.coder, buffer, state, pair, bits)
            bodies.append(buffer[:length].tobytes() if length >= 0 else None)
        return bodies


def _pair(samples: Int32Array, number: int) -> Int32Array:
    """Shape: ``[n, channels]`` -> ``[n, 1 or 2]``, contiguous."""
    return np.ascontiguousarray(samples[:, 2 * number : 2 * number + 2])


class LosslessEncoder:
    """Codes blocks of one stream; ``block_samples`` (0: 20 ms) is the longest block it takes.

    Errors: AudioFormatError for a rate, channel count, depth or block length out of range.
    """

    def __init__(
        self, sample_rate_hz: int, channels: int = 1, bits_per_sample: int = 16, block_samples: int = 0
    ) -> None:
        block_samples = block_samples or default_block_samples(sample_rate_hz, channels, bits_per_sample)
        self.format = LosslessFormat(sample_rate_hz, channels, bits_per_sample, block_samples)
        self._adaptation = _Adaptation.fresh(channels)
        self._started = False

    def copy(self) -> LosslessEncoder:
        """An encoder in the same state that shares nothing with this one."""
        twin = LosslessEncoder.__new__(LosslessEncoder)
        twin.format = self.format
        twin._adaptation = self._adaptation.copy()
        twin._started = self._started
        return twin

    def encode(self, block: NDArray[np.integer], key: bool = False) -> bytes:
        """Payload of one block; the first block of a stream is always a key block.

        Shape: ``block [n, channels]``, integers within the stream's depth, 1 <= n <= ``block_samples``.
        Errors: AudioFormatError for floating-point input, a wrong shape or samples out of range; the encoder's
        state is then as before.
        """
        samples = self._checked(block)
        key = key or not self._started
        self._started = True
        adaptation = self._adaptation
        flags = _KEY if key else 0
        header = bytes((adaptation.counter,))
        adaptation.counter = (adaptation.counter + 1) & 255
        if key:
            header += self.format.to_bytes()
        if len(samples) != self.format.block_samples:
            flags |= _LENGTH
            header += len(samples).to_bytes(2, "big")

        constant = bool((samples == samples[0]).all())
        shift = self._shift_for(samples, key, constant)
        if key or shift != adaptation.shift:
            adaptation.restart(shift)
            if shift or not key:
                flags |= _SHIFT
                header += bytes((shift,))
        if constant:
            flags |= _CONSTANT
            body = pack_samples(samples[:1], max(self.format.sample_bytes, 3)) if samples[0].any() else b""
        else:
            low = max(0, shift - common_zero_bits(samples))
            kind, body = self._body(samples, low)
            flags |= kind
            if low and kind == _CODED:
                flags |= _LOW
                header += bytes((low,))
        return bytes((flags,)) + header + samples_checksum(samples) + body

    def _shift_for(self, samples: Int32Array, key: bool, constant: bool) -> int:
        """How many bits to leave below what is predicted; another than before costs all that was learnt."""
        kept = self._adaptation.shift
        if constant:
            return 0 if key else kept
        zeros = common_zero_bits(samples)
        spare = self.format.bits_per_sample - PREDICTED_BITS
        if spare <= 0:
            return zeros if key else min(kept, zeros)
        needed = max(0, sample_width(samples) - PREDICTED_BITS)
        if key:
            return max(zeros, needed)
        if needed > kept:
            # All that it may come to, so that a sound that swells starts anew once.
            return spare
        return kept if kept <= max(zeros, spare) else max(zeros, needed)

    def _body(self, samples: Int32Array, low: int) -> tuple[int, bytes]:
        adaptation, form = self._adaptation, self.format
        raw_bytes = form.raw_bytes(len(samples))
        front = pack_low_bits(samples, adaptation.shift, low)
        shifted, bits = samples >> adaptation.shift, form.coded_bits(adaptation.shift)
        coded = adaptation.encode(shifted, bits, raw_bytes)
        if len(coded) == 1:
            body = coded[0]
        else:
            body = b"".join(
                _with_length(part, _pair(shifted, number), sample_bytes(bits)) for number, part in enumerate(coded)
            )
        if body is not None and len(front) + len(body) < raw_bytes:
            return _CODED, front + body
        return _RAW, pack_samples(samples, form.sample_bytes)

    def _checked(self, block: NDArray[np.integer]) -> Int32Array:
        form = self.format
        block = np.asarray(block)
        if not np.issubdtype(block.dtype, np.signedinteger):
            raise AudioFormatError(
                f"lossless coding takes signed integer samples, got {block.dtype}: convert it to integers first, or "
                "use the near-lossless tier for floating-point sound"
            )
        if block.ndim != 2 or block.shape[1] != form.channels or not 1 <= len(block) <= form.block_samples:
            raise AudioFormatError(
                f"a block has the shape [1 to {form.block_samples}, {form.channels}], got {list(block.shape)}"
            )
        limit = 1 << (form.bits_per_sample - 1)
        if int(block.min()) < -limit or int(block.max()) >= limit:
            raise AudioFormatError(
                f"samples of {form.bits_per_sample} bits lie within {-limit} to {limit - 1}, "
                f"got {int(block.min())} to {int(block.max())}"
            )
        return np.ascontiguousarray(block, np.int32)


class LosslessDecoder:
    """Decodes the payloads of one stream. After a gap or damage it waits for the next key block."""

    def __init__(self) -> None:
        self.format: LosslessFormat | None = None
        """Format of the stream, known from the first key block on."""
        self._adaptation: _Adaptation | None = None

    def copy(self) -> LosslessDecoder:
        """A decoder in the same state that shares nothing with this one."""
        twin = LosslessDecoder()
        twin.format = self.format
        twin._adaptation = self._adaptation.copy() if self._adaptation else None
        return twin

    def decode(self, payload: bytes) -> Int32Array:
        """Samples of one block.

        Shape: int32 ``[n, channels]``.
        Errors: DamagedPayload, and nothing else whatever the bytes, where the payload is damaged, is not the one
        after the last, or needs a key block first; payloads are then refused until the next key block.
        """
        adaptation, self._adaptation = self._adaptation, None
        reader = _Reader(payload)
        flags = reader.take(1, "its flags")[0]
        counter = reader.take(1, "its block counter")[0]
        if flags & _UNKNOWN or flags & _KIND > _RAW:
            raise DamagedPayload(f"lossless payload has flags {flags:#x} that this build does not know")
        if flags & _KEY:
            try:
                form = LosslessFormat.from_bytes(reader.take(FORMAT_BYTES, "its format"))
            except AudioFormatError as error:
                raise DamagedPayload(f"lossless payload has a damaged format: {error}") from error
            adaptation = _Adaptation.fresh(form.channels, counter)
        elif adaptation is None or self.format is None:
            raise DamagedPayload("lossless payload depends on blocks that are missing: wait for the next key block")
        else:
            form = self.format
            if counter != adaptation.counter:
                raise DamagedPayload(f"lossless block {adaptation.counter} is missing, block {counter} came instead")

        samples_count = form.block_samples
        if flags & _LENGTH:
            samples_count = int.from_bytes(reader.take(2, "its length"), "big")
            if not 1 <= samples_count <= form.block_samples:
                raise DamagedPayload(f"lossless payload claims {samples_count} samples of {form.block_samples}")
        if flags & _SHIFT:
            shift = reader.take(1, "its shift")[0]
            if shift >= form.bits_per_sample:
                raise DamagedPayload(f"lossless payload has a shift of {shift} for {form.bits_per_sample} bits")
            adaptation.restart(shift)
        low = reader.take(1, "its low bits")[0] if flags & _LOW else 0
        if low > adaptation.shift:
            raise DamagedPayload(f"lossless payload claims {low} low bits of {adaptation.shift}")
        checksum = reader.take(4, "its checksum")
        samples = _decoded(form, adaptation, flags & _KIND, samples_count, low, reader)
        if samples_checksum(samples) != checksum:
            raise DamagedPayload("lossless payload does not match its checksum: it is damaged")
        adaptation.counter = (counter + 1) & 255
        self.format = form
        self._adaptation = adaptation
        return samples


def warm_up() -> None:
    """Compile all kernels, or load them from the cache, before sound flows."""
    LosslessDecoder().decode(LosslessEncoder(MIN_RATE_HZ).encode(np.arange(100, dtype=np.int32)[:, None]))


def _decoded(
    form: LosslessFormat, adaptation: _Adaptation, kind: int, count: int, low: int, reader: _Reader
) -> Int32Array:
    samples = np.zeros((count, form.channels), np.int32)
    if kind == _CONSTANT:
        body = reader.rest()
        if body:
            samples[:] = unpack_samples(body, max(form.sample_bytes, 3), 1, form.channels)
        return samples
    bits, shift = form.coded_bits(adaptation.shift), adaptation.shift
    if kind == _RAW:
        samples[:] = unpack_samples(reader.rest(), form.sample_bytes, count, form.channels)
        adaptation.encode(within_width(samples >> shift, bits), bits, 1)
        return samples
    front = reader.take((count * form.channels * low + 7) // 8, "its low bits")
    for number, state in enumerate(adaptation.states):
        pair = np.zeros((count, state.channels), np.int32)
        if len(adaptation.states) == 1:
            body = reader.rest()
        else:
            length = int.from_bytes(reader.take(2, "the length of a pair"), "big")
            if length == _RAW_PAIR:
                width = sample_bytes(bits)
                pair[:] = unpack_samples(reader.take(pair.size * width, "a raw pair"), width, count, state.channels)
                within_width(pair, bits)
                encode_samples(adaptation.coder, np.zeros(1, np.uint8), state, pair, bits)
                samples[:, 2 * number : 2 * number + 2] = pair
                continue
            body = reader.take(length, "a pair of channels")
        decode_samples(adaptation.coder, np.frombuffer(body, np.uint8).copy(), state, pair, bits)
        samples[:, 2 * number : 2 * number + 2] = pair
    return (samples << shift) | unpack_low_bits(front, samples.shape, shift, low)


class _Reader:
    def __init__(self, payload: bytes) -> None:
        self._payload = bytes(payload)
        self._position = 0

    def take(self, count: int, what: str) -> bytes:
        end = self._position + count
        if end > len(self._payload):
            raise DamagedPayload(f"lossless payload of {len(self._payload)} bytes ends before {what}")
        chunk = self._payload[self._position : end]
        self._position = end
        return chunk

    def rest(self) -> bytes:
        return self._payload[self._position :]


def _with_length(body: bytes | None, pair: Int32Array, width: int) -> bytes:
    """A pair's residuals behind their length, or its samples where those are shorter."""
    if body is None or len(body) >= min(pair.size * width, _RAW_PAIR):
        return _RAW_PAIR.to_bytes(2, "big") + pack_samples(pair, width)
    return len(body).to_bytes(2, "big") + body
