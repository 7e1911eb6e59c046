"""Rate control of the near-lossless tier: what a stream aims at, and the step that gets there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding.noise_shape import USUAL_SHAPE, NoiseShape, noise_shape_at
from native_dsp.coding.rate_model import BINS, bits_of_bins
from streamcodec.codec.near_lossless.format import (
    SMALLEST_STEP_LOG2,
    STEP_INDEXES,
    STEPS_PER_OCTAVE,
    NearLosslessFormat,
)
from streamcodec.errors import BitrateError
from streamcodec.wording import named

Float64Array = NDArray[np.float64]

# Blocks quieter than this (mean square, in steps of 16-bit sound) say nothing about a stream that has only begun.
QUIET_POWER = 100.0
FIRST_INDEX = 150
MIN_BITRATE_BPS, MAX_BITRATE_BPS = 4_000, 6_000_000


@dataclass(frozen=True, slots=True)
class FixedStep:
    """The same step for every block: least mean squared error for the bytes of a whole stream.

    The first ``finer_blocks`` are coded one step index finer, which uses up bytes that lie between two steps.
    """

    index: int
    finer_blocks: int = 0
    noise: NoiseShape = USUAL_SHAPE

    def __post_init__(self) -> None:
        if not 0 <= self.index < STEP_INDEXES:
            raise BitrateError(f"a step index lies within 0 to {STEP_INDEXES - 1}, got {self.index}")


@dataclass(frozen=True, slots=True)
class TargetBitrate:
    """A bitrate held on average over about ``window_s`` seconds, whatever the sound."""

    bitrate_bps: float
    window_s: float = 3.0

    def __post_init__(self) -> None:
        if not MIN_BITRATE_BPS <= self.bitrate_bps <= MAX_BITRATE_BPS:
            raise BitrateError(
                f"near-lossless coding runs at {MIN_BITRATE_BPS // 1000} to {MAX_BITRATE_BPS // 1000} kbps, got "
                f"{self.bitrate_bps / 1000:g} kbps"
            )
        if not 0.05 <= self.window_s <= 60:
            raise BitrateError(f"a bitrate is averaged over 0.05 to 60 s, got {self.window_s:g}")

    @classmethod
    def from_ratio(cls, ratio: float, sample_rate_hz: int, channels: int, window_s: float = 3.0) -> TargetBitrate:
        """The bitrate of 16-bit samples divided by ``ratio``."""
        raw_bps = 16 * sample_rate_hz * channels
        least, most = raw_bps / MAX_BITRATE_BPS, raw_bps / MIN_BITRATE_BPS
        if not least <= ratio <= most:
            raise BitrateError(
                f"near-lossless coding at {sample_rate_hz} Hz and {channels} channel(s) takes a compression ratio "
                f"({named('ratio')}) of {least:.3g} to {most:.3g}, got {ratio:g}"
            )
        return cls(raw_bps / ratio, window_s)


@dataclass(frozen=True, slots=True)
class TargetSnr:
    """A signal-to-noise ratio held over about a second of sound."""

    snr_db: float

    def __post_init__(self) -> None:
        if not 0 <= self.snr_db <= 120:
            raise BitrateError(f"a signal-to-noise ratio lies within 0 to 120 dB, got {self.snr_db:g}")


RateTarget = FixedStep | TargetBitrate | TargetSnr


def noise_shape_of(target: RateTarget, form: NearLosslessFormat) -> NoiseShape:
    """How an encoder for the ear lets noise follow the spectrum."""
    if isinstance(target, TargetBitrate):
        return noise_shape_at(target.bitrate_bps / form.channels)
    return target.noise if isinstance(target, FixedStep) else USUAL_SHAPE


@cache
def _bits_of_steps() -> Float64Array:
    """Bits of a coefficient of each magnitude at each step index. Shape: ``[STEP_INDEXES, BINS]``."""
    return bits_of_bins(np.arange(STEP_INDEXES) / STEPS_PER_OCTAVE + SMALLEST_STEP_LOG2)


@dataclass(slots=True)
class NearLosslessRateControl:
    """Chooses the step of the next block from it and from what the blocks before took.

    For a bitrate it keeps a running mean of the magnitudes in a block, finds the step at which such blocks take the
    bytes wanted, and corrects for how far it was off: the step follows the sound over seconds, so that a loud
    syllable may take more than a pause.
    """

    target: RateTarget
    form: NearLosslessFormat
    index: int = FIRST_INDEX
    blocks: int = 0
    counts: Float64Array = field(default_factory=lambda: np.zeros(BINS))
    expected_bytes: float = 0.0
    spent_bytes: float = 0.0
    debt_bytes: float = 0.0
    snr_correction: float = 0.0
    signal_power: float = 0.0
    noise_power: float = 0.0

    def copy(self) -> NearLosslessRateControl:
        """A copy that shares nothing with this one."""
        return replace(self, counts=self.counts.copy())

    def next_index(self, counts: Float64Array, block_power: float) -> int:
        """Step index for a block of this mean power, whose magnitudes are counted in ``counts [BINS]``."""
        if isinstance(self.target, FixedStep):
            self.index = max(self.target.index - (self.blocks < self.target.finer_blocks), 0)
            self.blocks += 1
        elif isinstance(self.target, TargetSnr):
            share = self.form.block_samples / self.form.sample_rate_hz
            self.signal_power += max(share, 0.02) * (block_power - self.signal_power)
            power = max(self.signal_power, block_power * 0.1, 1e-3) * 10 ** (-self.target.snr_db / 10)
            wanted = STEPS_PER_OCTAVE * (0.5 * float(np.log2(12 * power)) - SMALLEST_STEP_LOG2)
            self.index = _clipped(wanted + self.snr_correction)
        else:
            self.index = self._index_for_bitrate(self.target, counts, block_power)
        return self.index

    def _index_for_bitrate(self, target: TargetBitrate, counts: Float64Array, block_power: float) -> int:
        if self.blocks == 0 and block_power < QUIET_POWER:
            return self.index
        window, wanted = self._window_blocks(target), self._wanted_bytes(target)
        self.blocks += 1
        self.counts += (counts - self.counts) * max(1 / self.blocks, 1 / window)
        wanted *= 2.0 ** -min(max(6 * self.debt_bytes / (wanted * window), -2.0), 2.0)
        # What was learnt about blocks so far, and a few blocks' worth of trust in the model itself.
        trust = 4 * wanted
        real_per_expected = (self.spent_bytes + trust) / (self.expected_bytes + trust)
        expected = _bits_of_steps() @ self.counts * (real_per_expected / 8)
        return _clipped(float(np.searchsorted(-expected, -wanted)))

    def learn(self, payload_bytes: int, counts: Float64Array, block_power: float, error_power: float) -> None:
        """Take in what a block took."""
        if isinstance(self.target, TargetBitrate) and self.blocks:
            window = self._window_blocks(self.target)
            wanted = self._wanted_bytes(self.target)
            fade = 1 - 1 / window
            self.expected_bytes = fade * self.expected_bytes + float(_bits_of_steps()[self.index] @ counts) / 8
            self.spent_bytes = fade * self.spent_bytes + payload_bytes
            # The debt never grows past two windows, so that silence is not saved up for minutes.
            limit = 2 * window * wanted
            self.debt_bytes = min(max(self.debt_bytes + payload_bytes - wanted, -limit), limit)
        elif isinstance(self.target, TargetSnr):
            # Zeroed coefficients make less noise than a uniform error would: measure, and correct slowly.
            self.noise_power += 0.05 * (error_power - self.noise_power)
            reference = self.signal_power * 10 ** (-self.target.snr_db / 10)
            if self.noise_power > 0 and reference > 0 and block_power > 1:
                pull = float(np.log2(reference / self.noise_power))
                self.snr_correction = min(max(self.snr_correction + 0.3 * min(max(pull, -4.0), 4.0), -50.0), 90.0)

    def _window_blocks(self, target: TargetBitrate) -> float:
        return max(target.window_s * self.form.sample_rate_hz / self.form.block_samples, 2.0)

    def _wanted_bytes(self, target: TargetBitrate) -> float:
        return target.bitrate_bps / 8 * self.form.block_samples / self.form.sample_rate_hz


def _clipped(index: float) -> int:
    return min(max(round(index), 0), STEP_INDEXES - 1)
