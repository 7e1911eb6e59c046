"""What a lossless stream says about itself: rate, channels, depth and block length, and their bounds."""

from __future__ import annotations

from dataclasses import dataclass

from streamcodec.errors import AudioFormatError

MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 384_000
MIN_BITS, MAX_BITS = 8, 32
PREDICTED_BITS = 24
"""Width of the widest samples that are predicted whole."""
MAX_CHANNELS = 8
MAX_BLOCK_SAMPLES = 8_192
MAX_RAW_BYTES = 59_000
"""Of a block's samples, so that a payload of them fits into a packet whatever the sound."""
DEFAULT_BLOCK_MS = 20


def sample_bytes(bits_per_sample: int) -> int:
    """Bytes of one raw sample."""
    return (bits_per_sample + 7) // 8


def default_block_samples(
    sample_rate_hz: int, channels: int, bits_per_sample: int, block_ms: int = DEFAULT_BLOCK_MS
) -> int:
    """20 ms, or less where so many samples of so many channels would not fit into a packet."""
    most = MAX_RAW_BYTES // max(channels * sample_bytes(bits_per_sample), 1)
    return min(sample_rate_hz * block_ms // 1000, most, MAX_BLOCK_SAMPLES)


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
            raise AudioFormatError(f"lossless coding takes 1 to {MAX_CHANNELS} channels, got {self.channels}")
        if not MIN_BITS <= self.bits_per_sample <= MAX_BITS:
            raise AudioFormatError(
                f"lossless coding takes {MIN_BITS} to {MAX_BITS} bits per sample, got {self.bits_per_sample}"
            )
        if not 1 <= self.block_samples <= MAX_BLOCK_SAMPLES:
            raise AudioFormatError(f"a block has 1 to {MAX_BLOCK_SAMPLES} samples, got {self.block_samples}")
        if self.raw_bytes(self.block_samples) > MAX_RAW_BYTES:
            raise AudioFormatError(
                f"a block of {self.block_samples} samples has {self.raw_bytes(self.block_samples)} bytes, at most "
                f"{MAX_RAW_BYTES} fit: take shorter blocks"
            )

    @property
    def sample_bytes(self) -> int:
        """Bytes of one raw sample."""
        return sample_bytes(self.bits_per_sample)

    def coded_bits(self, shift: int) -> int:
        """Width of the samples that are predicted, at a shift."""
        return min(max(self.bits_per_sample - shift, MIN_BITS), PREDICTED_BITS)

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
