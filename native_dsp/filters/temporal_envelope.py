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

from native_dsp.filters.changing_filter import add_changing, room_for_change, sum_cosines
from native_dsp.filters.envelope_network import LEAK
from native_dsp.filters.memory import make_room
from native_dsp.filters.symmetric_filter import whole_blocks
from native_dsp.jit import kernel, outlined_unordered_kernel
from native_dsp.networks.elementary import exponential, logarithm
from native_dsp.networks.flat import flat
from native_dsp.networks.simd_product import PHASES, TILE, make_simd_product
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
COLUMNS = 16
"""Gains of a block in memory: a whole vector, of which those past the bands mean nothing."""
FIRST_BIN = LOW_BINS + 1
TOP_BIN = FIRST_BIN + BANDS * BAND_BINS
"""Bands of 188 Hz, from 1.55 to 3.8 kHz."""
LEVELS = LOW_BINS + BANDS
"""Log powers of a block: of the bins of the low band, then of the bands."""
INPUTS = (PAST + 1) * LEVELS
"""Levels of a block and those before it, the oldest first."""
UNITS = TILE
FLOOR, FLOOR_SHARE = np.float32(1e-9), np.float32(1e-6)
"""Added to powers: so much, and so much of the block's power, since beside a tone bands hold nothing but rounding."""
LEVEL_OFFSET = np.float32(12.0)
"""Nepers of power added to levels, which then lie about 0."""
LARGEST_CHANGE = 4.0
"""Nepers of power by which a block may be asked to rise or fall."""
LARGEST_GAIN = 3.0
"""In amplitude."""
NOT_VOICED, VOICED = 0.15, 0.35
"""Correlations with the period before below which nothing is done, and from which all is."""
HALF_TAPS, FADE_SAMPLES = 80, 30
_product = make_simd_product("floats", SUBFRAMES)
assert INPUTS % PHASES == UNITS % PHASES == 0
assert BANDS <= COLUMNS <= TILE


class TemporalWeights(NamedTuple):
    """The network's weights; without any there is no network, and nothing is changed.

    Shape: hidden ``[INPUTS, UNITS]``, hidden_bias and quality ``[UNITS]``, out ``[UNITS, TILE]``, of which the first
    ``BANDS`` of a row are used, nepers of power; or all of them empty.
    """

    hidden: Float32Array
    hidden_bias: Float32Array
    quality: Float32Array
    out: Float32Array


class TemporalFilterState(NamedTuple):
    """Memory, constants and scratch of one stream; not to be shared between streams or threads.

    Shape: sound ``[FFT_SAMPLES / 2 + frame_samples + whole blocks]``; levels ``[PAST + SUBFRAMES, LEVELS]``; units
    ``[SUBFRAMES, UNITS]``; asked ``[SUBFRAMES, TILE]``, of which the first ``BANDS`` of a row are used; gains
    ``[SUBFRAMES, COLUMNS]``, of power, then of amplitude less one; cosines ``[BANDS, half + 1]``; taps ``[2, half +
    1]``, of the filters before and now, from the middle outwards; window ``[FFT_SAMPLES]``; frame, real, imaginary,
    changed: scratch.
    """

    sound: Float32Array
    levels: Float32Array
    units: Float32Array
    asked: Float32Array
    gains: Float32Array
    cosines: Float32Array
    taps: Float32Array
    window: Float32Array
    frame: Float32Array
    real: Float32Array
    imaginary: Float32Array
    changed: Float32Array
    fft: FftPlan

    def copy(self) -> TemporalFilterState:
        """An independent copy."""
        return copy_state(self)


TEMPORAL_WEIGHT_SHAPES = ((INPUTS, UNITS), (UNITS,), (UNITS,), (UNITS, TILE))


def no_temporal_weights() -> TemporalWeights:
    """Weights of a model that has none."""
    return TemporalWeights(*(np.zeros((0,) * len(shape), np.float32) for shape in TEMPORAL_WEIGHT_SHAPES))


def make_temporal_filter(sample_rate_hz: int, frame_samples: int, weights: TemporalWeights) -> TemporalFilterState:
    """A stream that has heard silence; with a network, frames must be of 20 ms at 24 kHz, or ValueError."""
    if weights.hidden.size and (sample_rate_hz != 24_000 or frame_samples != 480):
        raise ValueError(f"frames must be of 480 samples at 24 kHz, got {frame_samples} at {sample_rate_hz} Hz")
    distance = np.arange(HALF_TAPS + 1)
    taper = 0.5 + 0.5 * np.cos(np.pi * distance / (HALF_TAPS + 1))
    bins = np.arange(FIRST_BIN, TOP_BIN).reshape(BANDS, BAND_BINS)
    waves = np.cos(2.0 * np.pi * bins[..., None] * distance / FFT_SAMPLES).sum(1) * (2.0 / FFT_SAMPLES)
    window = hann_periodic(FFT_SAMPLES)
    return TemporalFilterState(
        sound=np.zeros(FFT_SAMPLES // 2 + frame_samples + whole_blocks(FFT_SAMPLES), np.float32),
        levels=np.full((PAST + SUBFRAMES, LEVELS), np.log(FLOOR) + LEVEL_OFFSET, np.float32),
        units=np.zeros((SUBFRAMES, UNITS), np.float32),
        asked=np.zeros((SUBFRAMES, TILE), np.float32),
        gains=np.zeros((SUBFRAMES, COLUMNS), np.float32),
        cosines=(waves * taper).astype(np.float32),
        taps=np.zeros((2, HALF_TAPS + 1), np.float32),
        window=(window / np.sqrt(np.sum(np.square(window, dtype=np.float64)))).astype(np.float32),
        frame=np.zeros(FFT_SAMPLES, np.float32),
        real=np.zeros(TOP_BIN, np.float32),
        imaginary=np.zeros(TOP_BIN, np.float32),
        changed=room_for_change(frame_samples // SUBFRAMES),
        fft=make_fft(FFT_SAMPLES),
    )


@outlined_unordered_kernel
def take_in(state: TemporalFilterState, samples: Float32Array, ahead: Float32Array) -> None:
    """Move the memory on by a frame, and measure the levels of its blocks.

    Shape: samples ``[frame_samples]``, full scale 1, at 24 kHz; ahead ``[120 or more]``, the best guess at what comes
    next.
    """
    sound, levels, frame, window = state.sound, state.levels, state.frame, state.window
    real, imaginary = state.real, state.imaginary
    frame_samples, before = len(samples), FFT_SAMPLES // 2
    block = frame_samples // SUBFRAMES
    make_room(sound[: before + frame_samples], frame_samples)
    for i in range(frame_samples):
        sound[before + i] = samples[i]
    known = min(len(ahead), before)
    for i in range(known):
        sound[before + frame_samples + i] = ahead[i]
    make_room(flat(levels), SUBFRAMES * LEVELS)
    for j in range(SUBFRAMES):
        start = j * block + block // 2
        for i in range(FFT_SAMPLES):
            frame[i] = sound[start + i] * window[i]
        rfft_inline(state.fft, frame, real, imaginary)
        for k in range(TOP_BIN):
            real[k] = real[k] * real[k] + imaginary[k] * imaginary[k]
        floor = np.float32(0)
        for k in range(1, TOP_BIN):
            floor += real[k]
        floor = FLOOR + FLOOR_SHARE * floor
        row = levels[PAST + j]
        for k in range(LOW_BINS):
            row[k] = floor + real[1 + k]
        for k in range(BANDS):
            row[LOW_BINS + k] = floor + real[FIRST_BIN + 2 * k] + real[FIRST_BIN + 2 * k + 1]
    newest = flat(levels)[PAST * LEVELS :]
    for k in range(SUBFRAMES * LEVELS):
        newest[k] = logarithm(newest[k]) + LEVEL_OFFSET


@outlined_unordered_kernel
def _ask(state: TemporalFilterState, weights: TemporalWeights, quality: float) -> None:
    """What the network asks of all blocks: ``state.asked``."""
    units, bias, scale = state.units, weights.hidden_bias, weights.quality
    _product(weights.hidden, 0, flat(state.levels), 0, LEVELS, units, 0, UNITS, INPUTS // PHASES)
    for j in range(SUBFRAMES):
        row = units[j]
        for q in range(UNITS):
            total = row[q] + bias[q] + np.float32(quality) * scale[q]
            row[q] = max(total, np.float32(LEAK) * total)
    _product(weights.out, 0, flat(units), 0, UNITS, state.asked, 0, TILE, UNITS // PHASES)


@outlined_unordered_kernel
def _choose_gains(state: TemporalFilterState, correlations: Float32Array) -> None:
    """Gains of amplitude less one, after which every band has the power over the frame that it had."""
    gains, mean, limit = state.gains, state.frame[:COLUMNS], np.float32(LARGEST_CHANGE)
    for j in range(SUBFRAMES):
        correlation = correlations[j * len(correlations) // SUBFRAMES]
        share = np.float32(min(max((correlation - NOT_VOICED) / (VOICED - NOT_VOICED), 0.0), 1.0))
        asked, row = state.asked[j], gains[j]
        for b in range(COLUMNS):
            row[b] = exponential(share * min(max(asked[b], -limit), limit))
    for b in range(COLUMNS):
        mean[b] = 0
    for j in range(SUBFRAMES):
        row = gains[j]
        for b in range(COLUMNS):
            mean[b] += np.float32(1.0 / SUBFRAMES) * row[b]
    for j in range(SUBFRAMES):
        row = gains[j]
        for b in range(COLUMNS):
            row[b] = min(np.sqrt(row[b] / mean[b]), np.float32(LARGEST_GAIN)) - np.float32(1)


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
    if len(weights.hidden) == 0:
        return
    take_in(state, samples, ahead)
    gains, taps = state.gains, state.taps
    block = len(samples) // SUBFRAMES
    voiced = False
    for j in range(len(correlations)):
        voiced = voiced or correlations[j] > NOT_VOICED
    if voiced:
        _ask(state, weights, quality)
        _choose_gains(state, correlations)
    for j in range(SUBFRAMES):
        now = (j + 1) % 2
        new = taps[now]
        changes = False
        if voiced:
            for b in range(BANDS):
                changes = changes or gains[j, b] != 0
        if changes:
            sum_cosines(gains[j, :BANDS], state.cosines, new)
        else:
            for m in range(len(new)):
                new[m] = 0
        # Where both are zero the sound stays as it is to the last bit.
        if changes or taps[1 - now, 0] != 0:
            here = samples[j * block : (j + 1) * block]
            add_changing(state.sound, FFT_SAMPLES // 2 + j * block, taps, now, FADE_SAMPLES, state.changed, here)
