"""What stands in for lost blocks: the sound before, repeated by its pitch, its treble as noise.

The idea of repeating pitch periods is ITU-T G.711 Appendix I's. What is repeated is transformed as the encoder would
have, so that it overlaps with the blocks on either side; where nothing repeats, the last spectrum goes on with signs
at random.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from native_dsp.transforms.mdct import make_mdct, mdct_forward
from streamcodec.codec.near_lossless.format import NearLosslessFormat

Float32Array = NDArray[np.float32]

SHORTEST_LAG_S, LONGEST_LAG_S = 0.0025, 0.018
COMPARED_S = 0.010
SHORTEST_REPEAT_S = 0.008
"""Several short periods are repeated together: one alone buzzes."""
LEAST_CORRELATION = 0.7
NOISE_FROM_HZ = 3_000.0
"""Above, what is repeated would ring."""
NOISE_FADE = 0.85
FADE_PER_BLOCK, FULL_BLOCKS = 0.1, 2
# Chosen on six development clips at 24 kbps, 2 and 5 % of packets lost.


@dataclass(slots=True)
class Concealment:
    """Of one stream; sound in steps of 16 bits. Shape: ``heard [channels, samples]``, the last of what was played."""

    form: NearLosslessFormat
    overlap_samples: int
    heard: Float32Array = field(init=False)
    lost_in_a_row: int = 0
    lag_samples: int = 0
    """0 where nothing repeats."""
    signs: np.random.Generator = field(default_factory=lambda: np.random.Generator(np.random.PCG64(1)))

    def __post_init__(self) -> None:
        needed_s = LONGEST_LAG_S + COMPARED_S
        self.heard = np.zeros((self.form.channels, round(needed_s * self.form.sample_rate_hz) + 1), np.float32)

    def copy(self) -> Concealment:
        """One in the same state that shares nothing with this one."""
        twin = Concealment(self.form, self.overlap_samples, self.lost_in_a_row, self.lag_samples)
        twin.heard = self.heard.copy()
        twin.signs.bit_generator.state = self.signs.bit_generator.state
        return twin

    def hear(self, blocks: Float32Array) -> None:
        """Take note of what is played. Shape: ``[channels, block_samples]``."""
        self.heard = np.concatenate([self.heard, blocks], axis=1)[:, -self.heard.shape[1] :]

    def spectra(self, last: Float32Array, carried: Float32Array) -> Float32Array:
        """Spectra in place of a lost block's, the ``last`` ones and what transforms carry over being given.

        Shape: ``[channels, block_samples]``, all of them.
        """
        size = self.form.block_samples
        # So far the block before is known already: no window but its own reaches there.
        known = (size - self.overlap_samples) // 2
        past = np.concatenate([self.heard, carried[:, :known]], axis=1)
        if self.lost_in_a_row == 0:
            self.lag_samples = repeats_after(past.mean(axis=0), self.form.sample_rate_hz)
        self.lost_in_a_row += 1
        noise = last * (self.signs.integers(0, 2, last.shape).astype(np.float32) * 2 - 1) * np.float32(NOISE_FADE)
        if not self.lag_samples:
            return np.asarray(noise, np.float32)
        count = -(-round(SHORTEST_REPEAT_S * self.form.sample_rate_hz) // self.lag_samples)
        period = past[:, -count * self.lag_samples :]
        repeated = period[:, np.arange(2 * size - known) % period.shape[1]]
        coming = np.concatenate([carried[:, :known], repeated], axis=1)
        coming[:, size:] *= np.linspace(
            _gain(self.lost_in_a_row), _gain(self.lost_in_a_row + 1), size, dtype=np.float32
        )
        found = np.zeros_like(last)
        for channel, samples in enumerate(coming):
            transform = make_mdct(size, self.overlap_samples)
            for half in (samples[:size], samples[size:]):
                mdct_forward(transform, np.ascontiguousarray(half, np.float32), found[channel])
        treble = round(NOISE_FROM_HZ * 2 * size / self.form.sample_rate_hz)
        found[:, treble:] = noise[:, treble:]
        return found


def _gain(lost_in_a_row: int) -> float:
    return max(0.0, 1.0 - FADE_PER_BLOCK * max(0, lost_in_a_row - FULL_BLOCKS))


def repeats_after(sound: Float32Array, sample_rate_hz: int) -> int:
    """After how many samples the end of a sound is most like what was before; 0 where it is not much like any.

    Shape: ``[n]``, at least ``LONGEST_LAG_S`` and ``COMPARED_S`` together.
    """
    compared = round(COMPARED_S * sample_rate_hz)
    shortest, longest = (round(lag_s * sample_rate_hz) for lag_s in (SHORTEST_LAG_S, LONGEST_LAG_S))
    end = sound[-compared:].astype(np.float64)
    before = np.lib.stride_tricks.sliding_window_view(sound, compared)[-1 - longest : -shortest].astype(np.float64)
    alike = before @ end / np.sqrt((before**2).sum(axis=1) * (end @ end) + 1e-9)
    best = int(np.argmax(alike))
    return longest - best if alike[best] >= LEAST_CORRELATION else 0
