"""What a near-lossless stream says about itself: rate, channels, block length, and the scale of its steps."""

from __future__ import annotations

from dataclasses import dataclass

from streamcodec.errors import AudioFormatError

MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 96_000
MAX_CHANNELS = 2
MIN_LOG2_BLOCK, MAX_LOG2_BLOCK = 6, 11
LONGEST_DEFAULT_MS = 20
# Spectra are in steps of 16-bit sound; step index i is a step of 2^(i / 16 - 8) of them.
FULL_SCALE = 32_768.0
STEPS_PER_OCTAVE = 16
SMALLEST_STEP_LOG2 = -8
STEP_INDEXES = 400
RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000)
_OTHER_RATE = 15


def step_log2(index: float) -> float:
    """Logarithm of the quantiser step of a step index."""
    return index / STEPS_PER_OCTAVE + SMALLEST_STEP_LOG2


def step_size(index: float) -> float:
    """Quantiser step, in steps of 16-bit sound, of a step index."""
    return float(2.0 ** step_log2(index))


def check_rate(sample_rate_hz: int) -> None:
    """Raise AudioFormatError for a rate that near-lossless coding does not take."""
    if not MIN_RATE_HZ <= sample_rate_hz <= MAX_RATE_HZ:
        raise AudioFormatError(f"near-lossless coding takes {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz, got {sample_rate_hz}")


def default_block_samples(sample_rate_hz: int) -> int:
    """The longest block of a power of two of samples that lasts 20 ms at most (10.7 to 16 ms at usual rates).

    Errors: AudioFormatError for a rate that near-lossless coding does not take.
    """
    check_rate(sample_rate_hz)
    return 1 << ((sample_rate_hz * LONGEST_DEFAULT_MS // 1000).bit_length() - 1)


@dataclass(frozen=True, slots=True)
class NearLosslessFormat:
    """What a key block says about the stream; constructing one out of range raises AudioFormatError."""

    sample_rate_hz: int
    channels: int
    block_samples: int

    def __post_init__(self) -> None:
        check_rate(self.sample_rate_hz)
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise AudioFormatError(f"near-lossless coding takes 1 or 2 channels, got {self.channels}")
        lengths = [1 << log2 for log2 in range(MIN_LOG2_BLOCK, MAX_LOG2_BLOCK + 1)]
        if self.block_samples not in lengths:
            raise AudioFormatError(f"a near-lossless block has one of {lengths} samples, got {self.block_samples}")

    @property
    def delay_samples(self) -> int:
        """How far the decoder's output lags behind its input, beyond the block itself."""
        return self.block_samples

    def to_bytes(self) -> bytes:
        """One byte, or four where the rate is an unusual one."""
        usual = self.sample_rate_hz in RATES_HZ
        rate = RATES_HZ.index(self.sample_rate_hz) if usual else _OTHER_RATE
        log2_block = self.block_samples.bit_length() - 1 - MIN_LOG2_BLOCK
        mark = bytes((rate | (self.channels - 1) << 4 | log2_block << 5,))
        return mark if usual else mark + self.sample_rate_hz.to_bytes(3, "big")

    @classmethod
    def from_bytes(cls, data: bytes) -> tuple[NearLosslessFormat, int]:
        """Inverse of :meth:`to_bytes`: the format and how many bytes it took; AudioFormatError where out of range."""
        if not data:
            raise AudioFormatError("the format is missing")
        length, rate = 1, data[0] & 15
        if rate == _OTHER_RATE:
            length, rate_hz = 4, int.from_bytes(data[1:4], "big")
        elif rate < len(RATES_HZ):
            rate_hz = RATES_HZ[rate]
        else:
            raise AudioFormatError(f"sample rate code {rate} is not known to this build")
        return cls(rate_hz, (data[0] >> 4 & 1) + 1, 1 << (MIN_LOG2_BLOCK + (data[0] >> 5))), length
