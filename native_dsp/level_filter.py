"""Level filter after the pitch filter: what a voice's bands flutter by from packet to packet is taken back.

Few bits leave the levels of single bands off by several decibels, by other ones in every packet and where two packets
meet. Much of that can be told from the decoded sound itself: from the levels of the same band before, of its
neighbours, and of the rest of the packet. A small network, the same for every band, has learnt from decoded and
original speech what the level is likely to have been (``streamcodec.training.level_fit``); voiced blocks are brought
there by a filter of linear phase.

It adds no delay: the packet is there as a whole, and for the 5 ms after it stands the half of them that overlap-add
has.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.fft import FftPlan, make_fft, rfft_inline
from native_dsp.jit import kernel, unordered_kernel
from native_dsp.state import copy_state
from native_dsp.windows import hann_periodic

Float32Array = NDArray[np.float32]

BLOCK_S = 0.005
BLOCKS = 4
"""Blocks in a packet: the network has a level for each."""
PAST_BLOCKS = 8
FFT_SAMPLES = 512
SMOOTHING_HZ = 100.0
"""Half the width of the triangle by which powers are averaged over frequency."""
SPREAD = 2
"""Bins to either side that the triangle reaches."""
REACH = 4
"""How many bins to either side the network sees."""
LOWEST_BIN, TOP_BIN = 6, 37
FULL_FROM_HZ, FULL_TO_HZ, EDGE_HZ = 350.0, 1_600.0, 100.0
"""Between these frequencies levels are changed, less and less over what is beyond."""
POWER_FLOOR = 1e-7
LARGEST_DIFFERENCE = 4.0
"""Nepers that the network hears of at most."""
LARGEST_CHANGE = 0.92
"""Nepers, 8 dB."""
NOT_VOICED, VOICED = 0.3, 0.5
"""Likenesses of a block to the period before below which nothing is done, and from which all is."""
FADE_SAMPLES = 60
USUAL_LAG = 150.0
LEAK = 0.1


class LevelWeights(NamedTuple):
    """The network's weights; without hidden units there is no network, and nothing is changed.

    Shape: hidden ``[inputs, hidden]``, hidden_bias ``[hidden]``, out ``[BLOCKS, hidden]``, out_bias ``[BLOCKS]``.
    """

    hidden: Float32Array
    hidden_bias: Float32Array
    out: Float32Array
    out_bias: Float32Array


class LevelFilterState(NamedTuple):
    """Memory, constants and scratch of one stream; not to be shared between streams or threads.

    Shape: sound ``[FFT_SAMPLES + packet + FFT_SAMPLES / 2]``; levels ``[PAST_BLOCKS + BLOCKS, COLUMNS]``, log
    amplitudes of the bins from ``FIRST_BIN`` on; excess ``[BLOCKS, bins]``, the gain of each bin less one; taps ``[2,
    half + 1]``, of the filters before and now, from the middle outwards; ahead ``[half]``, for the caller to fill;
    window ``[FFT_SAMPLES]``; smoothing ``[2 * SPREAD + 1]``; cosines ``[bins, half + 1]``; share ``[bins]``; frame,
    real, imaginary, power, changed, inputs, hidden, out: scratch.
    """

    sound: Float32Array
    levels: Float32Array
    excess: Float32Array
    taps: Float32Array
    ahead: Float32Array
    window: Float32Array
    smoothing: Float32Array
    cosines: Float32Array
    share: Float32Array
    frame: Float32Array
    real: Float32Array
    imaginary: Float32Array
    power: Float32Array
    changed: Float32Array
    inputs: Float32Array
    hidden: Float32Array
    out: Float32Array
    fft: FftPlan

    def copy(self) -> LevelFilterState:
        """An independent copy."""
        return copy_state(self)


INPUTS = (PAST_BLOCKS + BLOCKS) * (2 * REACH + 1) + BLOCKS + 4
"""Levels around a bin, likeness of each block, lag, frequency, fineness of the rate level, loudness."""
FIRST_BIN, COLUMNS = LOWEST_BIN - REACH, TOP_BIN - LOWEST_BIN + 2 * REACH
"""The bins whose levels are measured: those that are changed, and what the network sees beside them."""


def no_level_weights() -> LevelWeights:
    """Weights of a model that has none."""
    return LevelWeights(
        np.zeros((INPUTS, 0), np.float32),
        np.zeros(0, np.float32),
        np.zeros((BLOCKS, 0), np.float32),
        np.zeros(BLOCKS, np.float32),
    )


def make_level_filter(sample_rate_hz: int, packet_samples: int, hidden: int) -> LevelFilterState:
    """A stream that has heard silence, for a network of ``hidden`` units; with any, packets must be of 20 ms."""
    half = round(BLOCK_S * sample_rate_hz)
    if hidden and packet_samples != BLOCKS * half:
        raise ValueError(f"packets must be of {BLOCKS} blocks of {half} samples, got {packet_samples} samples")
    bins = np.arange(LOWEST_BIN, TOP_BIN)
    bins_hz = bins * (sample_rate_hz / FFT_SAMPLES)
    rise, fall = (bins_hz - FULL_FROM_HZ) / EDGE_HZ + 1.0, (FULL_TO_HZ - bins_hz) / EDGE_HZ + 1.0
    window = hann_periodic(FFT_SAMPLES)
    away_hz = np.abs(np.arange(-SPREAD, SPREAD + 1)) * (sample_rate_hz / FFT_SAMPLES)
    triangle = np.maximum(1.0 - away_hz / SMOOTHING_HZ, 0.0)
    distance = np.arange(half + 1)
    taper = np.sqrt(0.5 + 0.5 * np.cos(np.pi * distance / (half + 1)))
    cosines = np.cos(2.0 * np.pi * np.outer(bins, distance) / FFT_SAMPLES) * (2.0 / FFT_SAMPLES) * taper
    return LevelFilterState(
        sound=np.zeros(FFT_SAMPLES + packet_samples + FFT_SAMPLES // 2, np.float32),
        levels=np.full((PAST_BLOCKS + BLOCKS, COLUMNS), 0.5 * np.log(POWER_FLOOR), np.float32),
        excess=np.zeros((BLOCKS, bins.size), np.float32),
        taps=np.zeros((2, half + 1), np.float32),
        ahead=np.zeros(half, np.float32),
        window=window / np.float32(np.sqrt(np.sum(np.square(window, dtype=np.float64)))),
        smoothing=(triangle / triangle.sum()).astype(np.float32),
        cosines=cosines.astype(np.float32),
        share=np.clip(np.minimum(rise, fall), 0.0, 1.0).astype(np.float32),
        frame=np.zeros(FFT_SAMPLES, np.float32),
        real=np.zeros(FFT_SAMPLES // 2 + 1, np.float32),
        imaginary=np.zeros(FFT_SAMPLES // 2 + 1, np.float32),
        power=np.zeros(COLUMNS + 2 * SPREAD, np.float32),
        changed=np.zeros(half, np.float32),
        inputs=np.zeros(INPUTS, np.float32),
        hidden=np.zeros(hidden, np.float32),
        out=np.zeros(BLOCKS, np.float32),
        fft=make_fft(FFT_SAMPLES),
    )


@kernel
def _measure(state: LevelFilterState, start: int, row: int) -> None:
    """Levels of the bins in the window that begins at ``start``."""
    frame, window, power, smoothing = state.frame, state.window, state.power, state.smoothing
    for i in range(len(frame)):
        frame[i] = state.sound[start + i] * window[i]
    rfft_inline(state.fft, frame, state.real, state.imaginary)
    real, imaginary = state.real[FIRST_BIN - SPREAD :], state.imaginary[FIRST_BIN - SPREAD :]
    for k in range(len(power)):
        power[k] = real[k] * real[k] + imaginary[k] * imaginary[k]
    level = state.levels[row]
    for k in range(len(level)):
        mean = np.float32(POWER_FLOOR)
        for o in range(len(smoothing)):
            mean += smoothing[o] * power[k + o]
        level[k] = np.float32(0.5) * np.log(mean)


@unordered_kernel
def take_in(state: LevelFilterState, samples: Float32Array) -> None:
    """Move the memory on by a packet, and measure the levels of its blocks.

    Those of the last two blocks before are measured anew, now that what follows them is known.
    """
    sound, levels, ahead = state.sound, state.levels, state.ahead
    packet = len(samples)
    block = packet // BLOCKS
    for i in range(FFT_SAMPLES):
        sound[i] = sound[i + packet]
    for i in range(packet):
        sound[FFT_SAMPLES + i] = samples[i]
    for i in range(len(ahead)):
        sound[FFT_SAMPLES + packet + i] = ahead[i]
    for row in range(PAST_BLOCKS):
        for k in range(levels.shape[1]):
            levels[row, k] = levels[row + BLOCKS, k]
    first = FFT_SAMPLES // 2 + block // 2
    for j in range(-2, BLOCKS):
        _measure(state, first + j * block, PAST_BLOCKS + j)


@unordered_kernel
def describe(
    state: LevelFilterState, i: int, likenesses: Float32Array, lags: NDArray[np.int64], fineness: float
) -> None:
    """What the network is told of the ``i``-th bin: ``state.inputs``.

    Shape: likenesses and lags ``[BLOCKS]``, as the pitch filter left them.
    """
    levels, inputs = state.levels, state.inputs
    middle = i + REACH
    loudness, lag = np.float32(0), np.float32(0)
    for j in range(BLOCKS):
        loudness += levels[PAST_BLOCKS + j, middle] * np.float32(1.0 / BLOCKS)
        lag += np.float32(lags[j]) * np.float32(1.0 / BLOCKS)
    n = 0
    for row in range(PAST_BLOCKS + BLOCKS):
        for k in range(middle - REACH, middle + REACH + 1):
            difference = levels[row, k] - loudness
            inputs[n] = min(max(difference, np.float32(-LARGEST_DIFFERENCE)), np.float32(LARGEST_DIFFERENCE))
            n += 1
    for j in range(BLOCKS):
        inputs[n + j] = likenesses[j]
    inputs[n + BLOCKS] = np.log2(lag / np.float32(USUAL_LAG))
    inputs[n + BLOCKS + 1] = np.float32(0.05) * np.float32(LOWEST_BIN + i)
    inputs[n + BLOCKS + 2] = np.float32(2) * np.float32(fineness)
    inputs[n + BLOCKS + 3] = np.float32(0.25) * loudness


@unordered_kernel
def _ask_network(state: LevelFilterState, weights: LevelWeights) -> None:
    """Nepers by which each block of a bin should change: ``state.out``."""
    inputs, hidden, out = state.inputs, state.hidden, state.out
    for q in range(len(hidden)):
        hidden[q] = weights.hidden_bias[q]
    for n in range(len(inputs)):
        x, row = inputs[n], weights.hidden[n]
        for q in range(len(hidden)):
            hidden[q] += x * row[q]
    for q in range(len(hidden)):
        hidden[q] = max(hidden[q], np.float32(LEAK) * hidden[q])
    for j in range(BLOCKS):
        total, row = weights.out_bias[j], weights.out[j]
        for q in range(len(hidden)):
            total += hidden[q] * row[q]
        out[j] = total


@unordered_kernel
def _convolve(sound: Float32Array, middle: int, taps: Float32Array, out: Float32Array) -> None:
    """What a symmetric filter makes of the sound from ``middle`` on.

    Shape: taps ``[half + 1]``, the middle first -> out, as many samples as it has room for.
    """
    here, first = sound[middle:], taps[0]
    for i in range(len(out)):
        out[i] = first * here[i]
    for m in range(1, len(taps)):
        tap, before, after = taps[m], sound[middle - m :], sound[middle + m :]
        for i in range(len(out)):
            out[i] += tap * (before[i] + after[i])


@unordered_kernel
def _apply(state: LevelFilterState, middle: int, before: int, now: int, samples: Float32Array) -> None:
    """Add to one block what its filter and, fading, that of the block before make of it."""
    old, new, changed = state.taps[before], state.taps[now], state.changed
    fading = changed[:FADE_SAMPLES]
    _convolve(state.sound, middle, old, fading)
    step = np.float32(1.0 / FADE_SAMPLES)
    for i in range(FADE_SAMPLES):
        samples[i] += (np.float32(1) - step * (np.float32(i) + np.float32(0.5))) * fading[i]
    _convolve(state.sound, middle, new, changed)
    for i in range(FADE_SAMPLES):
        samples[i] += step * (np.float32(i) + np.float32(0.5)) * changed[i]
    for i in range(FADE_SAMPLES, len(samples)):
        samples[i] += changed[i]


@kernel
def filter_levels(
    state: LevelFilterState,
    weights: LevelWeights,
    likenesses: Float32Array,
    lags: NDArray[np.int64],
    fineness: float,
    samples: Float32Array,
) -> None:
    """Filter one packet in place; the state goes on. Packets without a voice pass unchanged.

    ``state.ahead`` has to hold the best guess at what comes next; ``fineness`` is 0 at the coarsest rate level and 1
    at the finest.

    Shape: likenesses and lags ``[BLOCKS]``, as the pitch filter left them; samples ``[packet]``.
    """
    if len(weights.hidden_bias) == 0:
        return
    take_in(state, samples)
    excess, taps, cosines = state.excess, state.taps, state.cosines
    bins, size = excess.shape[1], len(samples) // BLOCKS
    voiced = False
    for j in range(BLOCKS):
        voiced = voiced or likenesses[j] > NOT_VOICED
    if voiced:
        for i in range(bins):
            describe(state, i, likenesses, lags, fineness)
            _ask_network(state, weights)
            for j in range(BLOCKS):
                share = min(max((likenesses[j] - NOT_VOICED) / (VOICED - NOT_VOICED), 0.0), 1.0)
                change = min(
                    max(np.float32(share) * state.out[j], np.float32(-LARGEST_CHANGE)), np.float32(LARGEST_CHANGE)
                )
                excess[j, i] = np.exp(state.share[i] * change) - np.float32(1)
    for j in range(BLOCKS):
        before, now = j % 2, (j + 1) % 2
        new = taps[now]
        for m in range(len(new)):
            new[m] = 0
        if likenesses[j] > NOT_VOICED:
            for i in range(bins):
                gain, row = excess[j, i], cosines[i]
                for m in range(len(new)):
                    new[m] += gain * row[m]
        # Where both are zero the sound stays as it is to the last bit.
        if new[0] != 0 or taps[before, 0] != 0:
            _apply(state, FFT_SAMPLES + j * size, before, now, samples[j * size : (j + 1) * size])
