"""Temporal-envelope post-filter, the last one: noise above 1.6 kHz swells and fades with the pulses of a voice.

What the decoder draws between 1.6 and 4 kHz is even within a frame, where a voice has a burst at every closing of the
glottis; that is most of what makes it sound hoarse (``docs/research``). When the bursts come, the waveform of the low
band tells, which packets do carry: a small network, fitted to decoded and original speech by
``streamcodec.training.temporal_fit``, says by how much each of twelve narrow bands rises or falls in every block of
2.5 ms. Bands keep their power over 20 ms. Temporal noise shaping in MPEG codecs and the temporal envelope of EVS'
bandwidth extension do the like with an envelope that is sent.

It adds no delay: for the 5 ms after the frame stands the half of them that overlap-add has.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.filters.envelope_network import hidden_units
from native_dsp.filters.symmetric_filter import make_symmetric_filter, whole_blocks
from native_dsp.jit import kernel, outlined_unordered_kernel
from native_dsp.networks.elementary import exponential, logarithm
from native_dsp.state import copy_state
from native_dsp.transforms.fft import FftPlan, make_fft, rfft_inline
from native_dsp.transforms.windows import hann_periodic

Float32Array = NDArray[np.float32]

FFT_SAMPLES = 256
SUBFRAMES = 8
"""Blocks of 2.5 ms in a frame, each with gains of its own."""
PAST = 8
"""Blocks before a block whose spectra are features."""
LOW_BINS = 16
"""Bins of the low band, from the first above 0 Hz to 1.5 kHz."""
BANDS, BAND_BINS = 12, 2
FIRST_BIN = LOW_BINS + 1
TOP_BIN = FIRST_BIN + BANDS * BAND_BINS
"""Bands of 188 Hz, from 1.55 to 3.8 kHz."""
INPUTS = (PAST + 1) * LOW_BINS + BANDS + LOW_BINS + 2
"""Low band in each block against its mean, levels of both bands, quality, loudness."""
LEVEL_SCALE, LEVEL_OFFSET = np.float32(0.3), np.float32(1.8)
"""What brings the mean log power of the low band near 0."""
FLOOR = np.float32(1e-9)
"""Added to powers."""
LARGEST_CHANGE = 4.0
"""Nepers of power by which a block may be asked to rise or fall."""
LARGEST_GAIN = 3.0
"""In amplitude."""
NOT_VOICED, VOICED = 0.15, 0.35
"""Correlations with the period before below which nothing is done, and from which all is."""
HALF_TAPS, FADE_SAMPLES = 80, 30
_convolve = make_symmetric_filter(1)


class TemporalWeights(NamedTuple):
    """The network's weights; without hidden units there is no network, and nothing is changed.

    Shape: hidden ``[INPUTS, units]``, hidden_bias ``[units]``, out ``[BANDS, units]``, out_bias ``[BANDS]``; the
    output is in nepers of power.
    """

    hidden: Float32Array
    hidden_bias: Float32Array
    out: Float32Array
    out_bias: Float32Array


class TemporalFilterState(NamedTuple):
    """Memory, constants and scratch of one stream; not to be shared between streams or threads.

    Shape: sound ``[FFT_SAMPLES / 2 + frame_samples + whole blocks]``; low ``[PAST + SUBFRAMES, LOW_BINS]``, high
    ``[PAST + SUBFRAMES, BANDS]``, log powers; power ``[SUBFRAMES, BANDS]``, gains of power asked for in the frame;
    cosines ``[BANDS, half + 1]``; taps ``[2, half + 1]``, of the filters before and now, from the middle outwards;
    window ``[FFT_SAMPLES]``; inputs, units, frame, real, imaginary, changed: scratch.
    """

    sound: Float32Array
    low: Float32Array
    high: Float32Array
    power: Float32Array
    cosines: Float32Array
    taps: Float32Array
    window: Float32Array
    inputs: Float32Array
    units: Float32Array
    frame: Float32Array
    real: Float32Array
    imaginary: Float32Array
    changed: Float32Array
    fft: FftPlan

    def copy(self) -> TemporalFilterState:
        """An independent copy."""
        return copy_state(self)


def temporal_weight_shapes(units: int) -> list[tuple[int, ...]]:
    """Shapes of the weights, in their order, for so many hidden units."""
    return [(INPUTS, units), (units,), (BANDS, units), (BANDS,)]


def no_temporal_weights() -> TemporalWeights:
    """Weights of a model that has none."""
    return TemporalWeights(*(np.zeros(shape, np.float32) for shape in temporal_weight_shapes(0)))


def make_temporal_filter(sample_rate_hz: int, frame_samples: int, weights: TemporalWeights) -> TemporalFilterState:
    """A stream that has heard silence; with a network, frames must be of 20 ms at 24 kHz, or ValueError."""
    units = weights.hidden_bias.size
    if units and (sample_rate_hz != 24_000 or frame_samples != 480):
        raise ValueError(f"frames must be of 480 samples at 24 kHz, got {frame_samples} at {sample_rate_hz} Hz")
    distance = np.arange(HALF_TAPS + 1)
    taper = 0.5 + 0.5 * np.cos(np.pi * distance / (HALF_TAPS + 1))
    bins = np.arange(FIRST_BIN, TOP_BIN).reshape(BANDS, BAND_BINS)
    waves = np.cos(2.0 * np.pi * bins[..., None] * distance / FFT_SAMPLES).sum(1) * (2.0 / FFT_SAMPLES)
    window = hann_periodic(FFT_SAMPLES)
    return TemporalFilterState(
        sound=np.zeros(FFT_SAMPLES // 2 + frame_samples + whole_blocks(FFT_SAMPLES), np.float32),
        low=np.full((PAST + SUBFRAMES, LOW_BINS), np.log(FLOOR), np.float32),
        high=np.full((PAST + SUBFRAMES, BANDS), np.log(FLOOR), np.float32),
        power=np.ones((SUBFRAMES, BANDS), np.float32),
        cosines=(waves * taper).astype(np.float32),
        taps=np.zeros((2, HALF_TAPS + 1), np.float32),
        window=(window / np.sqrt(np.sum(np.square(window, dtype=np.float64)))).astype(np.float32),
        inputs=np.zeros(INPUTS, np.float32),
        units=np.zeros(units, np.float32),
        frame=np.zeros(FFT_SAMPLES, np.float32),
        real=np.zeros(TOP_BIN, np.float32),
        imaginary=np.zeros(TOP_BIN, np.float32),
        changed=np.zeros(whole_blocks(frame_samples // SUBFRAMES), np.float32),
        fft=make_fft(FFT_SAMPLES),
    )


@outlined_unordered_kernel
def take_in(state: TemporalFilterState, samples: Float32Array, ahead: Float32Array) -> None:
    """Move the memory on by a frame, and measure the log powers of its blocks.

    Shape: samples ``[frame_samples]``, full scale 1, at 24 kHz; ahead ``[120 or more]``, the best guess at what comes
    next.
    """
    sound, low, high, frame, window = state.sound, state.low, state.high, state.frame, state.window
    real, imaginary = state.real, state.imaginary
    frame_samples, before = len(samples), FFT_SAMPLES // 2
    block = frame_samples // SUBFRAMES
    for i in range(before):
        sound[i] = sound[i + frame_samples]
    for i in range(frame_samples):
        sound[before + i] = samples[i]
    known = min(len(ahead), before)
    for i in range(known):
        sound[before + frame_samples + i] = ahead[i]
    for r in range(PAST):
        for k in range(LOW_BINS):
            low[r, k] = low[r + SUBFRAMES, k]
        for k in range(BANDS):
            high[r, k] = high[r + SUBFRAMES, k]
    for j in range(SUBFRAMES):
        start = j * block + block // 2
        for i in range(FFT_SAMPLES):
            frame[i] = sound[start + i] * window[i]
        rfft_inline(state.fft, frame, real, imaginary)
        for k in range(TOP_BIN):
            real[k] = real[k] * real[k] + imaginary[k] * imaginary[k]
        row = low[PAST + j]
        for k in range(LOW_BINS):
            row[k] = logarithm(real[1 + k] + FLOOR)
        row = high[PAST + j]
        for k in range(BANDS):
            row[k] = logarithm(real[FIRST_BIN + 2 * k] + real[FIRST_BIN + 2 * k + 1] + FLOOR)


@outlined_unordered_kernel
def block_features(state: TemporalFilterState, j: int, quality: float) -> None:
    """Features of block ``j`` of the frame taken in: ``state.inputs``."""
    low, high, inputs = state.low, state.high, state.inputs
    share = np.float32(1.0 / (PAST + 1))
    levels = (PAST + 1) * LOW_BINS
    for k in range(BANDS):
        inputs[levels + k] = 0
    for k in range(LOW_BINS):
        inputs[levels + BANDS + k] = 0
    for r in range(PAST + 1):
        for k in range(BANDS):
            inputs[levels + k] += share * high[j + r, k]
        for k in range(LOW_BINS):
            inputs[levels + BANDS + k] += share * low[j + r, k]
    for r in range(PAST + 1):
        for k in range(LOW_BINS):
            inputs[r * LOW_BINS + k] = low[j + r, k] - inputs[levels + BANDS + k]
    mean_high, mean_low = np.float32(0), np.float32(0)
    for k in range(BANDS):
        mean_high += inputs[levels + k] * np.float32(1.0 / BANDS)
    for k in range(LOW_BINS):
        mean_low += inputs[levels + BANDS + k] * np.float32(1.0 / LOW_BINS)
    for k in range(BANDS):
        inputs[levels + k] -= mean_high
    for k in range(LOW_BINS):
        inputs[levels + BANDS + k] -= mean_low
    inputs[INPUTS - 2] = np.float32(quality)
    inputs[INPUTS - 1] = LEVEL_SCALE * mean_low + LEVEL_OFFSET


@outlined_unordered_kernel
def _ask(state: TemporalFilterState, weights: TemporalWeights, j: int, quality: float, share: np.float32) -> None:
    """Gains of power that the network asks of the bands of block ``j``."""
    row, units = state.power[j], state.units
    block_features(state, j, quality)
    hidden_units(state.inputs, weights.hidden, weights.hidden_bias, units)
    limit = np.float32(LARGEST_CHANGE)
    for b in range(BANDS):
        total, of_band = weights.out_bias[b], weights.out[b]
        for q in range(len(units)):
            total += units[q] * of_band[q]
        row[b] = share * min(max(total, -limit), limit)
    for b in range(BANDS):
        row[b] = exponential(row[b])


@outlined_unordered_kernel
def _apply(state: TemporalFilterState, middle: int, before: int, now: int, samples: Float32Array) -> None:
    """Add to one block what its filter and, fading, that of the block before make of it."""
    old, new, changed = state.taps[before], state.taps[now], state.changed
    step = np.float32(1.0 / FADE_SAMPLES)
    _convolve(state.sound, middle, old, HALF_TAPS, changed, 0, 0, FADE_SAMPLES)
    for i in range(FADE_SAMPLES):
        samples[i] += (np.float32(1) - step * (np.float32(i) + np.float32(0.5))) * changed[i]
    _convolve(state.sound, middle, new, HALF_TAPS, changed, 0, 0, len(samples))
    for i in range(FADE_SAMPLES):
        samples[i] += step * (np.float32(i) + np.float32(0.5)) * changed[i]
    for i in range(FADE_SAMPLES, len(samples)):
        samples[i] += changed[i]


@kernel
def filter_temporal_envelope(
    state: TemporalFilterState,
    weights: TemporalWeights,
    correlations: Float32Array,
    quality: float,
    ahead: Float32Array,
    samples: Float32Array,
) -> None:
    """Filter one frame in place; the state goes on. Frames without a voice pass unchanged.

    Shape: correlations ``[subframes of 5 ms]``, as the pitch filter left them; quality 0 at the coarsest quality
    index and 1 at the finest; ahead ``[120 or more]``, the best guess at what comes next; samples
    ``[frame_samples]``.
    """
    if len(weights.hidden_bias) == 0:
        return
    take_in(state, samples, ahead)
    power, taps, cosines = state.power, state.taps, state.cosines
    block = len(samples) // SUBFRAMES
    for j in range(SUBFRAMES):
        correlation = correlations[j * len(correlations) // SUBFRAMES]
        share = np.float32(min(max((correlation - NOT_VOICED) / (VOICED - NOT_VOICED), 0.0), 1.0))
        if share > 0:
            _ask(state, weights, j, quality, share)
        else:
            for b in range(BANDS):
                power[j, b] = 1
    for j in range(SUBFRAMES):
        before, now = j % 2, (j + 1) % 2
        new = taps[now]
        for m in range(len(new)):
            new[m] = 0
        changes = False
        for b in range(BANDS):
            # Power over the frame stays what it was.
            total = np.float32(0)
            for r in range(SUBFRAMES):
                total += power[r, b]
            gain = np.sqrt(power[j, b] * np.float32(SUBFRAMES) / total)
            excess = min(gain, np.float32(LARGEST_GAIN)) - np.float32(1)
            changes = changes or excess != 0
            row = cosines[b]
            for m in range(len(new)):
                new[m] += excess * row[m]
        # Where both are zero the sound stays as it is to the last bit.
        if changes or taps[before, 0] != 0:
            _apply(state, FFT_SAMPLES // 2 + j * block, before, now, samples[j * block : (j + 1) * block])
