"""Lossless engine: blocks of integer samples in, payloads out, and back, bit for bit.

Payload, big-endian::

    byte 0      bits 0-1 kind (0 coded, 1 constant, 2 raw), bit 2 key, bit 3 length follows, bit 4 shift follows
    byte 1      block counter, modulo 256
    key only    bits per sample (1), channels (1), sample rate in Hz (3), nominal block length in samples (2)
    length      2 bytes, where the block is not of nominal length
    shift       1 byte, where it changes: zero bits below every sample; the adaptive state starts anew
    CRC-32      4 bytes, of the samples as little-endian int32, interleaved
    body        coded: range-coded residuals; constant: 3 bytes per channel, or nothing for silence;
                raw: 2 or 3 bytes per sample, interleaved

A key block carries the format and starts from fresh adaptive state, so that it decodes without what came before.
The predictors adapt from decoded samples alone, in integers: nothing but residuals travels.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding.lossless_block import LosslessState, decode_samples, encode_samples, make_lossless_state
from native_dsp.coding.range_coder import make_state
from native_dsp.state import copy_state
from streamcodec.errors import AudioFormatError, DamagedPayload

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]

MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 96_000
MIN_BITS, MAX_BITS = 8, 24
MAX_CHANNELS = 2
# Keeps a raw stereo block of 24 bits below the packet format's 60,000 bytes.
MAX_BLOCK_SAMPLES = 8_192
DEFAULT_BLOCK_MS = 20

_CODED, _CONSTANT, _RAW = 0, 1, 2
_KIND, _KEY, _LENGTH, _SHIFT, _UNKNOWN = 3, 4, 8, 16, 224


@dataclass(frozen=True, slots=True)
class LosslessFormat:
    """What a key block says about the stream; constructing one out of range raises AudioFormatError."""

    sample_rate_hz: int
    channels: int
    bits_per_sample: int
    block_samples: int

    def __post_init__(self) -> None:
        if not MIN_RATE_HZ <= self.sample_rate_hz <= MAX_RATE_HZ:
            raise AudioFormatError(
                f"lossless coding takes {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz, got {self.sample_rate_hz}"
            )
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise AudioFormatError(f"lossless coding takes 1 or 2 channels, got {self.channels}")
        if not MIN_BITS <= self.bits_per_sample <= MAX_BITS:
            raise AudioFormatError(
                f"lossless coding takes {MIN_BITS} to {MAX_BITS} bits per sample, got {self.bits_per_sample}"
            )
        if not 1 <= self.block_samples <= MAX_BLOCK_SAMPLES:
            raise AudioFormatError(f"a block has 1 to {MAX_BLOCK_SAMPLES} samples, got {self.block_samples}")

    @property
    def sample_bytes(self) -> int:
        """Bytes of one raw sample."""
        return (self.bits_per_sample + 7) // 8

    def raw_bytes(self, samples: int) -> int:
        """Bytes of so many samples of every channel, uncompressed."""
        return samples * self.channels * self.sample_bytes

    def to_bytes(self) -> bytes:
        """The seven bytes of a key block's header."""
        return (
            bytes((self.bits_per_sample, self.channels))
            + self.sample_rate_hz.to_bytes(3, "big")
            + self.block_samples.to_bytes(2, "big")
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> LosslessFormat:
        """Inverse of :meth:`to_bytes`; raises AudioFormatError where a field is out of range."""
        return cls(int.from_bytes(data[2:5], "big"), data[1], data[0], int.from_bytes(data[5:7], "big"))


FORMAT_BYTES = 7


def is_key_payload(payload: bytes) -> bool:
    """Whether a payload decodes without any earlier one."""
    return bool(payload) and bool(payload[0] & _KEY)


@dataclass(slots=True)
class _Adaptation:
    """What encoder and decoder keep in step: the kernels' state, the shift it belongs to, the next block counter."""

    state: LosslessState
    shift: int = 0
    counter: int = 0
    coder: Int64Array = field(default_factory=make_state)

    def copy(self) -> _Adaptation:
        return replace(self, state=copy_state(self.state), coder=self.coder.copy())

    def restart(self, shift: int) -> None:
        self.state = make_lossless_state(self.state.channels)
        self.shift = shift


class LosslessEncoder:
    """Codes blocks of one stream; ``block_samples`` (0: 20 ms) is the longest block it takes.

    Errors: AudioFormatError for a rate, channel count, depth or block length out of range.
    """

    def __init__(
        self, sample_rate_hz: int, channels: int = 1, bits_per_sample: int = 16, block_samples: int = 0
    ) -> None:
        block_samples = block_samples or sample_rate_hz * DEFAULT_BLOCK_MS // 1000
        self.format = LosslessFormat(sample_rate_hz, channels, bits_per_sample, block_samples)
        self._adaptation = _Adaptation(make_lossless_state(channels))
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
        needed = adaptation.shift if constant else _common_zero_bits(samples)
        if key and constant:
            needed = 0
        shift = needed if key else min(adaptation.shift, needed)
        if key or shift != adaptation.shift:
            adaptation.restart(shift)
            if shift or not key:
                flags |= _SHIFT
                header += bytes((shift,))
        if constant:
            flags |= _CONSTANT
            body = _pack(samples[:1], 3) if samples[0].any() else b""
        else:
            kind, body = self._body(samples)
            flags |= kind
        return bytes((flags,)) + header + _checksum(samples) + body

    def _body(self, samples: Int32Array) -> tuple[int, bytes]:
        adaptation = self._adaptation
        buffer = np.zeros(self.format.raw_bytes(len(samples)), np.uint8)
        shifted = samples >> adaptation.shift
        bits = self.format.bits_per_sample - adaptation.shift
        length = encode_samples(adaptation.coder, buffer, adaptation.state, shifted, max(bits, MIN_BITS))
        if 0 <= length < len(buffer):
            return _CODED, buffer[:length].tobytes()
        return _RAW, _pack(samples, self.format.sample_bytes)

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
            adaptation = _Adaptation(make_lossless_state(form.channels), counter=counter)
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
        checksum = reader.take(4, "its checksum")
        samples = _decoded(form, adaptation, flags & _KIND, samples_count, reader.rest())
        if _checksum(samples) != checksum:
            raise DamagedPayload("lossless payload does not match its checksum: it is damaged")
        adaptation.counter = (counter + 1) & 255
        self.format = form
        self._adaptation = adaptation
        return samples


def warm_up() -> None:
    """Compile all kernels, or load them from the cache, before sound flows."""
    LosslessDecoder().decode(LosslessEncoder(MIN_RATE_HZ).encode(np.arange(100, dtype=np.int32)[:, None]))


def _decoded(form: LosslessFormat, adaptation: _Adaptation, kind: int, count: int, body: bytes) -> Int32Array:
    samples = np.zeros((count, form.channels), np.int32)
    if kind == _CONSTANT:
        if body:
            samples[:] = _unpack(body, 3, 1, form.channels)
        return samples
    bits = max(form.bits_per_sample - adaptation.shift, MIN_BITS)
    if kind == _RAW:
        samples[:] = _unpack(body, form.sample_bytes, count, form.channels)
        scratch = np.zeros(1, np.uint8)
        encode_samples(adaptation.coder, scratch, adaptation.state, samples >> adaptation.shift, bits)
        return samples
    decode_samples(adaptation.coder, np.frombuffer(body, np.uint8).copy(), adaptation.state, samples, bits)
    return samples << adaptation.shift


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


def _common_zero_bits(samples: Int32Array) -> int:
    """Zero bits below every sample."""
    union = int(np.bitwise_or.reduce(samples, axis=None))
    return (union & -union).bit_length() - 1 if union else 0


def _checksum(samples: Int32Array) -> bytes:
    return zlib.crc32(np.ascontiguousarray(samples, "<i4").data).to_bytes(4, "big")


def _pack(samples: Int32Array, sample_bytes: int) -> bytes:
    """Big-endian bytes of every sample, interleaved."""
    wide = np.ascontiguousarray(samples, ">i4").view(np.uint8).reshape(-1, 4)
    return wide[:, 4 - sample_bytes :].tobytes()


def _unpack(body: bytes, sample_bytes: int, count: int, channels: int) -> Int32Array:
    if len(body) != count * channels * sample_bytes:
        raise DamagedPayload(
            f"lossless payload has {len(body)} bytes of raw samples where {count * channels * sample_bytes} belong"
        )
    wide = np.zeros((count * channels, 4), np.uint8)
    wide[:, :sample_bytes] = np.frombuffer(body, np.uint8).reshape(-1, sample_bytes)
    samples = wide.view(">i4").astype(np.int32) >> (32 - 8 * sample_bytes)
    return samples.reshape(count, channels)
