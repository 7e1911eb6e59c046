"""What stands in for lost blocks: the sound before, repeated by its pitch, its treble as noise.

The idea of repeating pitch periods is ITU-T G.711 Appendix I's. What is repeated is transformed as the encoder would
have, so that it overlaps with the blocks on either side; where nothing repeats, the last spectrum goes on with signs
at random.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.filters.noise import INCREMENT, MASK, MULTIPLIER, STATE_BITS, make_noise_state
from native_dsp.jit import kernel, unordered_kernel
from native_dsp.transforms.mdct import MdctState, mdct_forward
from streamcodec.codec.near_lossless.format import NearLosslessFormat

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]

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


class ConcealmentControl(NamedTuple):
    """Each int64 ``[1]``."""

    sample_rate_hz: Int64Array
    known_samples: Int64Array
    """So far the block before a lost one is known: no window but its own reaches there."""
    lost_in_a_row: Int64Array
    lag_samples: Int64Array
    """0 where nothing repeats."""
    signs: Int64Array
    """Of noise: the state of its generator."""


class Concealment(NamedTuple):
    """Of one stream; sound in steps of 16 bits.

    Shape: ``heard [channels, samples]``, the last of what was played and what is known of the block after it; scratch
    ``mixed [samples]``, ``coming [2, block_samples]`` and ``found [block_samples]``.
    """

    control: ConcealmentControl
    heard: Float32Array
    mixed: Float32Array
    coming: Float32Array
    found: Float32Array


def make_concealment(form: NearLosslessFormat, overlap_samples: int) -> Concealment:
    """Of a stream that has been silent, whose blocks overlap by so much."""
    size, rate_hz = form.block_samples, form.sample_rate_hz
    known = (size - overlap_samples) // 2
    samples = round((LONGEST_LAG_S + COMPARED_S) * rate_hz) + 1 + known
    return Concealment(
        control=ConcealmentControl(
            sample_rate_hz=np.array([rate_hz]),
            known_samples=np.array([known]),
            lost_in_a_row=np.zeros(1, np.int64),
            lag_samples=np.zeros(1, np.int64),
            signs=make_noise_state(),
        ),
        heard=np.zeros((form.channels, samples), np.float32),
        mixed=np.zeros(samples, np.float32),
        coming=np.zeros((2, size), np.float32),
        found=np.zeros(size, np.float32),
    )


@kernel
def hear(state: Concealment, transform: MdctState, channel: int, block: Float32Array) -> None:
    """Take note of what is played of a channel, whose ``transform`` has just given it.

    Shape: ``block [block_samples]``.
    """
    heard, known = state.heard[channel], state.control.known_samples[0]
    played, size = len(heard) - known, len(block)
    for n in range(played):
        heard[n] = heard[n + size] if n + size < played else block[n + size - played]
    for n in range(known):
        heard[played + n] = transform.carried[n]


@kernel
def begin_lost_block(state: Concealment) -> None:
    """Before the channels of a lost block are made up: the first in a row decides what is repeated."""
    control = state.control
    if control.lost_in_a_row[0] == 0:
        channels, samples = state.heard.shape
        for n in range(samples):
            total = state.heard[0, n]
            for channel in range(1, channels):
                total += state.heard[channel, n]
            state.mixed[n] = total / np.float32(channels)
        control.lag_samples[0] = repeats_after(state.mixed, control.sample_rate_hz[0])
    control.lost_in_a_row[0] += 1


@kernel
def conceal(state: Concealment, transform: MdctState, channel: int, spectrum: Float32Array) -> None:
    """Make up a channel of a lost block: the ``spectrum`` before it becomes what its ``transform`` goes on with.

    Shape: ``spectrum [block_samples]``, changed in place.
    """
    control, heard, coming = state.control, state.heard[channel], state.coming
    size, known, lag = len(spectrum), control.known_samples[0], control.lag_samples[0]
    noise, x = np.float32(NOISE_FADE), control.signs[0]
    for k in range(size):
        x = (x * MULTIPLIER + INCREMENT) & MASK
        spectrum[k] *= noise if x >> (STATE_BITS - 1) else -noise
    control.signs[0] = x
    if lag == 0:
        return
    period = lag * -(-round(SHORTEST_REPEAT_S * control.sample_rate_hz[0]) // lag)
    begin, at = len(heard) - period, len(heard) - known
    first, last = _gain(control.lost_in_a_row[0]), _gain(control.lost_in_a_row[0] + 1)
    for half in range(2):
        for n in range(size):
            if at == len(heard):
                at = begin
            coming[half, n] = heard[at]
            at += 1
    for n in range(size):
        coming[1, n] *= np.float32(first + (last - first) * n / (size - 1))
    mdct_forward(MdctState(transform.dct, transform.window, coming[0], transform.folded), coming[1], state.found)
    for k in range(min(round(NOISE_FROM_HZ * 2 * size / control.sample_rate_hz[0]), size)):
        spectrum[k] = state.found[k]


@kernel
def _gain(lost_in_a_row: int) -> float:
    return max(0.0, 1.0 - FADE_PER_BLOCK * max(0, lost_in_a_row - FULL_BLOCKS))


@unordered_kernel
def repeats_after(sound: Float32Array, sample_rate_hz: int) -> int:
    """After how many samples the end of a sound is most like what was before; 0 where it is not much like any.

    Shape: ``[n]``, at least ``LONGEST_LAG_S`` and ``COMPARED_S`` together.
    """
    compared = round(COMPARED_S * sample_rate_hz)
    shortest, longest = round(SHORTEST_LAG_S * sample_rate_hz), round(LONGEST_LAG_S * sample_rate_hz)
    end = sound[len(sound) - compared :]
    power = 0.0
    for n in range(compared):
        power += np.float64(end[n]) ** 2
    best, found = 0.0, 0
    for lag in range(longest, shortest - 1, -1):
        before = sound[len(sound) - compared - lag :]
        product, power_before = 0.0, 0.0
        for n in range(compared):
            x = np.float64(before[n])
            product += x * end[n]
            power_before += x * x
        alike = product / np.sqrt(power_before * power + 1e-9)
        if alike > best:
            best, found = alike, lag
    return found if best >= LEAST_CORRELATION else 0
