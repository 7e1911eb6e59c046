"""What stands in for lost near-lossless blocks, once more in numpy, for the tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native_dsp.filters.noise import INCREMENT, MASK, MULTIPLIER, STATE_BITS
from native_dsp.transforms.mdct import MdctState, make_mdct, mdct_forward
from streamcodec.codec.near_lossless import concealment as own
from streamcodec.codec.near_lossless.format import NearLosslessFormat

Float32Array = NDArray[np.float32]


class ReferenceConcealment:
    """Of one stream; see :mod:`streamcodec.codec.near_lossless.concealment`."""

    def __init__(self, form: NearLosslessFormat, overlap_samples: int) -> None:
        self.form, self.overlap_samples = form, overlap_samples
        seconds = own.LONGEST_LAG_S + own.COMPARED_S
        self.heard = np.zeros((form.channels, round(seconds * form.sample_rate_hz) + 1), np.float32)
        self.lost_in_a_row = self.lag_samples = 0
        self.state = 1

    def hear(self, blocks: Float32Array) -> None:
        """Take note of what is played."""
        self.heard = np.concatenate([self.heard, blocks], axis=1)[:, -self.heard.shape[1] :]

    def spectra(self, last: Float32Array, transforms: list[MdctState]) -> Float32Array:
        """Spectra in place of a lost block's, the ``last`` ones being given. Shape: ``[channels, block_samples]``."""
        size, rate_hz = self.form.block_samples, self.form.sample_rate_hz
        known = (size - self.overlap_samples) // 2
        carried = np.stack([transform.carried[:known] for transform in transforms])
        past = np.concatenate([self.heard, carried], axis=1)
        if self.lost_in_a_row == 0:
            self.lag_samples = repeats_after(past.mean(axis=0), rate_hz)
        self.lost_in_a_row += 1
        noise = last * np.array([self._sign() for _ in range(last.size)]).reshape(last.shape) * own.NOISE_FADE
        if not self.lag_samples:
            return noise.astype(np.float32)
        count = -(-round(own.SHORTEST_REPEAT_S * rate_hz) // self.lag_samples)
        period = past[:, -count * self.lag_samples :]
        repeated = period[:, np.arange(2 * size - known) % period.shape[1]]
        coming = np.concatenate([carried, repeated], axis=1)
        coming[:, size:] *= np.linspace(*(gain(self.lost_in_a_row + k) for k in range(2)), size, dtype=np.float32)
        found = np.zeros_like(last)
        for channel, samples in enumerate(coming):
            transform = make_mdct(size, self.overlap_samples)
            for half in (samples[:size], samples[size:]):
                mdct_forward(transform, np.ascontiguousarray(half), found[channel])
        treble = round(own.NOISE_FROM_HZ * 2 * size / rate_hz)
        found[:, treble:] = noise[:, treble:]
        return found

    def _sign(self) -> int:
        self.state = (self.state * MULTIPLIER + INCREMENT) & MASK
        return 2 * (self.state >> (STATE_BITS - 1)) - 1


def gain(lost_in_a_row: int) -> float:
    """Of so manieth block in a row."""
    return max(0.0, 1.0 - own.FADE_PER_BLOCK * max(0, lost_in_a_row - own.FULL_BLOCKS))


def repeats_after(sound: Float32Array, sample_rate_hz: int) -> int:
    """As the kernel of this name: the lag of the highest normalised correlation."""
    compared = round(own.COMPARED_S * sample_rate_hz)
    shortest, longest = (round(lag_s * sample_rate_hz) for lag_s in (own.SHORTEST_LAG_S, own.LONGEST_LAG_S))
    end = sound[-compared:].astype(np.float64)
    before = np.lib.stride_tricks.sliding_window_view(sound, compared)[-1 - longest : -shortest].astype(np.float64)
    alike = before @ end / np.sqrt((before**2).sum(axis=1) * (end @ end) + 1e-9)
    best = int(np.argmax(alike))
    return longest - best if alike[best] >= own.LEAST_CORRELATION else 0
