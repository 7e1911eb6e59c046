"""Pitch filter after a decoder: sound between the harmonics of a voice gives way to the pitch period before.

A decoder of few bits that predicts spectra knows nothing of a waveform's period: what it cannot tell it fills with
noise, also between the harmonics, where a voice has none. Adding the sound of one period ago keeps what repeats and
halves what does not. As in Valin et al., "A perceptually-motivated approach for low-complexity, real-time enhancement
of fullband speech" (2020), that is done band by band, as far as a band repeats itself, and every band keeps its
energy. Here it works on samples, and the bands add up to the sound itself, so where nothing repeats nothing changes.

Harmonics of few bits flutter, too: their phases jump from frame to frame, and where two frames meet they cancel.
So a band keeps its energy on average, not in every subframe: a dip is filled by the period before. Half of what is
repeated is what was played, not what was decoded, so that phases go on; and what is left of a voice's ups and downs
from subframe to subframe is evened out a little.

It adds no delay: what bands need to know of the 1 ms to come is taken from the half of it that overlap-add has.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.filters.memory import make_room
from native_dsp.filters.symmetric_filter import make_symmetric_filter, whole_blocks
from native_dsp.jit import kernel, outlined_unordered_kernel, unordered_kernel
from native_dsp.networks.flat import flat
from native_dsp.state import copy_state

Float32Array = NDArray[np.float32]

BAND_EDGES_HZ = (500.0, 1_000.0, 1_800.0, 3_000.0, 4_500.0)
"""The lowest three bands together are what a pitch is looked for in."""
PITCH_EDGE = 2
LOWEST_PITCH_HZ, HIGHEST_PITCH_HZ = 58.5, 420.0
SUBFRAME_S, WINDOW_S, AHEAD_S = 0.005, 0.02, 0.001
COARSE_STEP = 3
"""Lags are looked for in every third sample first."""
LONG_LAG_PENALTY = 4.8
"""Per second of lag: two periods repeat as well as one."""
LEAST_PITCH, LEAST_BAND = 0.3, 0.6
"""Correlations below which nothing is done, of the low bands together and of each band."""
CORRELATION_SHARES = (0.95, 0.95, 0.8, 0.0, 0.0, 0.0)
"""A band below 1.8 kHz counts as repeating at least as well as this share of how well those bands together do: what a
jump of phase has spoilt belongs to the same voice. Above, noise is no harmonic's, and ViSQOL hears it flattened."""
FULL_GAIN = 0.5
"""Share of the period before, to one of the sound, in a band that repeats exactly."""
FEEDBACK = 0.5
"""Share of the period before that is taken as it was played; the rest is taken as it was decoded."""
ENERGY_MEMORY = 0.9
"""Share that a subframe's energies keep, a subframe later, in the averages which make a band keep its energy."""
LARGEST_LEVELLING = 1.2
"""How far a subframe is brought to the loudness of the period before."""
SILENCE_POWER = 1e-8
ENERGY_FLOOR = 1e-10
LARGEST_CORRECTION = 2.0
LEAST_POWER_SHARE = 1e-6
"""A period is taken for no softer than this beside the one after it."""
_split_bands = make_symmetric_filter(len(BAND_EDGES_HZ))


class PitchFilterState(NamedTuple):
    """Memory and scratch of one stream; not to be shared between streams or threads.

    Shape, with F samples in a frame: taps ``[edges, ahead + 1]``, from the middle outwards; sound ``[ahead + F +
    ahead]`` and room for whole blocks; split ``[edges, whole blocks of F]``, scratch; squares ``[2, lags]``,
    scratch; products ``[subframes in a window, lags]``, of each subframe's coarse sound and that of a lag before;
    low ``[past + F]``, the low bands together; coarse, every third of it; bands ``[edges + 1, past + F]``;
    repeated, of each band as much as the longest lag needs, what a period later is added to them; lag int64
    ``[1]``, gains and corrections ``[edges + 1]``, as they were at the end of the last subframe; energies
    ``[edges + 1, 2]``, averages before and after the comb; mixed ``[subframe_samples]``; out ``[F]``; ahead
    ``[ahead]``, for the caller to fill; lags int64 and correlations ``[subframes]``, what was found in the frame,
    which tells others where there is a voice.
    """

    taps: Float32Array
    sound: Float32Array
    split: Float32Array
    squares: Float32Array
    products: Float32Array
    low: Float32Array
    coarse: Float32Array
    bands: Float32Array
    repeated: Float32Array
    lag: NDArray[np.int64]
    gains: Float32Array
    corrections: Float32Array
    energies: Float32Array
    mixed: Float32Array
    out: Float32Array
    ahead: Float32Array
    lags: NDArray[np.int64]
    correlations: Float32Array
    subframe_samples: int
    window_samples: int
    shortest_lag: int
    longest_lag: int

    def copy(self) -> PitchFilterState:
        """An independent copy."""
        return copy_state(self)


def make_pitch_filter(sample_rate_hz: int, frame_samples: int) -> PitchFilterState:
    """A stream that has heard silence; ``frame_samples`` must be whole subframes of 5 ms."""
    subframe, window = round(SUBFRAME_S * sample_rate_hz), round(WINDOW_S * sample_rate_hz)
    ahead = round(AHEAD_S * sample_rate_hz)
    if frame_samples % subframe or subframe % COARSE_STEP:
        raise ValueError(f"frames must be whole subframes of {subframe} samples, a multiple of {COARSE_STEP}")
    shortest, longest = int(sample_rate_hz / HIGHEST_PITCH_HZ), int(sample_rate_hz / LOWEST_PITCH_HZ)
    past = -(-(window + longest + COARSE_STEP) // subframe) * subframe
    bands, lags = len(BAND_EDGES_HZ) + 1, longest // COARSE_STEP - shortest // COARSE_STEP + 1
    return PitchFilterState(
        taps=np.stack([low_pass_taps(edge_hz / sample_rate_hz, ahead) for edge_hz in BAND_EDGES_HZ]),
        sound=np.zeros(ahead + whole_blocks(frame_samples) + ahead, np.float32),
        split=np.zeros((len(BAND_EDGES_HZ), whole_blocks(frame_samples)), np.float32),
        squares=np.zeros((2, lags), np.float32),
        products=np.zeros((window // subframe, lags), np.float32),
        low=np.zeros(past + frame_samples, np.float32),
        coarse=np.zeros((past + frame_samples) // COARSE_STEP, np.float32),
        bands=np.zeros((bands, past + frame_samples), np.float32),
        repeated=np.zeros((bands, -(-longest // subframe) * subframe + frame_samples), np.float32),
        lag=np.full(1, longest, np.int64),
        gains=np.zeros(bands, np.float32),
        corrections=np.ones(bands, np.float32),
        energies=np.zeros((bands, 2), np.float32),
        mixed=np.zeros(subframe, np.float32),
        out=np.zeros(frame_samples, np.float32),
        ahead=np.zeros(ahead, np.float32),
        lags=np.full(frame_samples // subframe, longest, np.int64),
        correlations=np.zeros(frame_samples // subframe, np.float32),
        subframe_samples=subframe,
        window_samples=window,
        shortest_lag=shortest,
        longest_lag=longest,
    )


def low_pass_taps(cycles_per_sample: float, half: int) -> Float32Array:
    """Second half of a symmetric low-pass filter, a windowed sinc that passes a constant unchanged.

    Shape: output ``[half + 1]``, the middle first.
    """
    n = np.arange(half + 1)
    taps = 2.0 * cycles_per_sample * np.sinc(2.0 * cycles_per_sample * n) * (0.54 + 0.46 * np.cos(np.pi * n / half))
    return np.asarray(taps / (2.0 * taps.sum() - taps[0]), np.float32)


@outlined_unordered_kernel
def _take_in(state: PitchFilterState, samples: Float32Array, ahead: Float32Array) -> None:
    """Move the memory on by a frame, and split that into bands."""
    sound, low, coarse, bands, taps = state.sound, state.low, state.coarse, state.bands, state.taps
    repeated = state.repeated
    frame_samples, reach = len(samples), len(ahead)
    edges, past = len(taps), len(low) - frame_samples
    make_room(sound[: reach + frame_samples], frame_samples)
    make_room(low, frame_samples)
    make_room(coarse, frame_samples // COARSE_STEP)
    for i in range(frame_samples):
        sound[reach + i] = samples[i]
    for i in range(reach):
        sound[reach + frame_samples + i] = ahead[i]
    for e in range(edges + 1):
        make_room(bands[e], frame_samples)
        make_room(repeated[e], frame_samples)
    split = state.split
    _split_bands(sound, reach, taps, reach, flat(split), 0, split.shape[1], frame_samples)
    # Each low-pass signal holds all bands below it: what is left of it is the band.
    newest, below = bands[0][past:], split[0]
    for i in range(frame_samples):
        newest[i] = below[i]
    for e in range(1, edges):
        newest, above, below = bands[e][past:], split[e], split[e - 1]
        for i in range(frame_samples):
            newest[i] = above[i] - below[i]
    newest, below = bands[edges][past:], split[edges - 1]
    for i in range(frame_samples):
        newest[i] = samples[i] - below[i]
    newest, below = low[past:], split[PITCH_EDGE]
    for i in range(frame_samples):
        newest[i] = below[i]
    for i in range(frame_samples // COARSE_STEP):
        coarse[past // COARSE_STEP + i] = newest[COARSE_STEP * i]


@unordered_kernel
def correlation_at(x: Float32Array, start: int, end: int, lag: int) -> float:
    """Correlation of a stretch of sound with that of ``lag`` samples before, -1 to 1.

    Shape: ``x [n]``, any unit; ``start``, ``end`` and ``lag`` in samples, ``lag <= start``.
    """
    here, there = x[start:end], x[start - lag : end - lag]
    product, own, other = np.float32(0), np.float32(0), np.float32(0)
    for i in range(end - start):
        product += here[i] * there[i]
        own += here[i] * here[i]
        other += there[i] * there[i]
    power = float(own) * float(other)
    return float(product) / np.sqrt(power) if power > 0.0 else 0.0


@unordered_kernel
def _correlation_near(x: Float32Array, start: int, end: int, own: float, lag: int) -> float:
    """:func:`correlation_at` for a stretch whose squares add up to ``own``."""
    here, there = x[start:end], x[start - lag : end - lag]
    product, other = np.float32(0), np.float32(0)
    for i in range(end - start):
        product += here[i] * there[i]
        other += there[i] * there[i]
    power = own * float(other)
    return float(product) / np.sqrt(power) if power > 0.0 else 0.0


@outlined_unordered_kernel
def squared_correlations(x: Float32Array, start: int, end: int, longest: int, squares: Float32Array) -> None:
    """Squares of :func:`correlation_at` for lag after lag from ``longest`` downwards, 0 where it is negative.

    Shape: ``x [n]``, the stretch not silent, ``longest <= start``; squares ``[2, lags]``, of which the second row is
    scratch.
    """
    lagged_products(x, start, end, longest, squares[0])
    _square(x, start, end, longest, squares)


@outlined_unordered_kernel
def lagged_products(x: Float32Array, start: int, end: int, longest: int, products: Float32Array) -> None:
    """Sums of a stretch of sound times that of so long before, lag after lag from ``longest`` downwards.

    All lags side by side, so that vectors of them are added up.

    Shape: ``x [n]``, ``longest <= start`` -> products ``[lags]``.
    """
    lags = len(products)
    for r in range(lags):
        products[r] = 0
    whole = start + (end - start) // 8 * 8
    for i in range(start, whole, 8):
        there = x[i - longest :]
        x0, x1, x2, x3, x4, x5, x6, x7 = x[i], x[i + 1], x[i + 2], x[i + 3], x[i + 4], x[i + 5], x[i + 6], x[i + 7]
        for r in range(lags):
            first = x0 * there[r] + x1 * there[r + 1] + x2 * there[r + 2] + x3 * there[r + 3]
            products[r] += first + x4 * there[r + 4] + x5 * there[r + 5] + x6 * there[r + 6] + x7 * there[r + 7]
    for i in range(whole, end):
        x0, there = x[i], x[i - longest :]
        for r in range(lags):
            products[r] += x0 * there[r]


@outlined_unordered_kernel
def _square(x: Float32Array, start: int, end: int, longest: int, squares: Float32Array) -> None:
    """Squared correlations in place of the products in the first row of ``squares``."""
    products, powers = squares[0], squares[1]
    lags = len(products)
    own = np.float32(0)
    for i in range(start, end):
        own += x[i] * x[i]
    # From lag to lag one sample enters the stretch before and one leaves it.
    other = 0.0
    for i in range(start - longest, end - longest):
        other += float(x[i]) * float(x[i])
    least = LEAST_POWER_SHARE * float(own)
    entering, leaving = x[end - longest :], x[start - longest :]
    for r in range(lags):
        powers[r] = own * np.float32(max(other, least))
        other += float(entering[r]) * float(entering[r]) - float(leaving[r]) * float(leaving[r])
    for r in range(lags):
        positive = max(products[r], np.float32(0))
        products[r] = positive * positive / powers[r]


@outlined_unordered_kernel
def _take_subframe(state: PitchFilterState, end: int) -> None:
    """Products of the subframe that ends at ``end``, beside those of the others in its window."""
    products, last, size = state.products, end // COARSE_STEP, state.subframe_samples // COARSE_STEP
    make_room(flat(products), products.shape[1])
    newest = products[len(products) - 1]
    lagged_products(state.coarse, last - size, last, state.longest_lag // COARSE_STEP, newest)


@outlined_unordered_kernel
def _find_lag(state: PitchFilterState, end: int) -> tuple[int, float]:
    """The period of the window that ends at ``end``, and how well the low bands repeat after it."""
    coarse, window = state.coarse, state.window_samples // COARSE_STEP
    last = end // COARSE_STEP
    own = np.float32(0)
    for i in range(last - window, last):
        own += coarse[i] * coarse[i]
    if own < SILENCE_POWER * window:
        return state.lag[0], 0.0
    longest = state.longest_lag // COARSE_STEP
    squares, products = state.squares, state.products
    for r in range(squares.shape[1]):
        squares[0, r] = 0
    for subframe in range(len(products)):
        for r in range(squares.shape[1]):
            squares[0, r] += products[subframe, r]
    _square(coarse, last - window, last, longest, squares)
    penalty = np.float32(LONG_LAG_PENALTY * SUBFRAME_S / state.subframe_samples * COARSE_STEP)
    scores, best = squares[0], np.float32(0)
    for r in range(len(scores)):
        share = np.float32(1) - penalty * np.float32(longest - r)
        scores[r] *= share * share
    for r in range(len(scores)):
        best = max(best, scores[r])
    if best <= 0:
        return state.lag[0], 0.0
    # The shortest lag of those that are best.
    last_best = len(scores) - 1
    while scores[last_best] < best:
        last_best -= 1
    found = longest - last_best
    highest, lag_found = 0.0, state.lag[0]
    around, start, low = COARSE_STEP * found, end - state.window_samples, state.low
    power = np.float32(0)
    for i in range(start, end):
        power += low[i] * low[i]
    for lag in range(max(around - 2, state.shortest_lag), min(around + 2, state.longest_lag) + 1):
        correlation = _correlation_near(low, start, end, float(power), lag)
        if correlation > highest:
            highest, lag_found = correlation, lag
    return lag_found, highest


@outlined_unordered_kernel
def _comb(state: PitchFilterState, start: int, b: int, lag: int, gain: np.float32, out: Float32Array) -> None:
    """Add one band of one subframe to ``out``, filtered; old lag and gain fade into the new ones.

    Shape: out ``[subframe]``.
    """
    subframe, mixed = len(out), state.mixed
    before_gain, before_lag = state.gains[b], state.lag[0]
    here, repeated = state.bands[b][start : start + subframe], state.repeated[b]
    # What was played goes less far back than what was decoded.
    start -= state.bands.shape[1] - state.repeated.shape[1]
    newest = repeated[start : start + subframe]
    energies = state.energies[b]
    if gain == 0 and before_gain == 0 and state.corrections[b] == 1:
        was = np.float32(ENERGY_FLOOR * subframe)
        for i in range(subframe):
            x = here[i]
            was += x * x
            out[i] += x
            newest[i] = x
        for k in range(2):
            energies[k] = np.float32(ENERGY_MEMORY) * energies[k] + was
        return
    # A period shorter than a subframe has some of this subframe a period before: that is repeated as decoded.
    for i in range(subframe):
        newest[i] = here[i]
    now = repeated[start - lag : start - lag + subframe]
    before = repeated[start - before_lag : start - before_lag + subframe]
    now_scale, before_scale = np.float32(1) / (1 + gain), np.float32(1) / (1 + before_gain)
    step = np.float32(1.0 / subframe)
    floor = np.float32(ENERGY_FLOOR * subframe)
    was, came, a_period_ago = floor, floor, floor
    for i in range(subframe):
        share = step * np.float32(i + 1)
        x = here[i]
        y = (1 - share) * before_scale * (x + before_gain * before[i]) + share * now_scale * (x + gain * now[i])
        was += x * x
        came += y * y
        a_period_ago += now[i] * now[i]
        mixed[i] = y
    energies[0] = np.float32(ENERGY_MEMORY) * energies[0] + was
    energies[1] = np.float32(ENERGY_MEMORY) * energies[1] + came
    correction = np.float32(1)
    # What is left alone is left alone to the last bit.
    if gain > 0 or before_gain > 0:
        levelling = (a_period_ago / came) ** (np.float32(0.5) * min(gain, before_gain, np.float32(1)))
        levelling = min(max(levelling, np.float32(1.0 / LARGEST_LEVELLING)), np.float32(LARGEST_LEVELLING))
        correction = levelling * np.sqrt(energies[0] / energies[1])
        correction = min(max(correction, np.float32(1.0 / LARGEST_CORRECTION)), np.float32(LARGEST_CORRECTION))
    before_correction = state.corrections[b]
    for i in range(subframe):
        share = step * np.float32(i + 1)
        y = (before_correction + share * (correction - before_correction)) * mixed[i]
        out[i] += y
        newest[i] = np.float32(FEEDBACK) * y + np.float32(1 - FEEDBACK) * here[i]
    state.corrections[b] = correction


@kernel
def filter_pitch(state: PitchFilterState, strength: float, samples: Float32Array) -> None:
    """Filter one frame in place; the state goes on. A ``strength`` of 0 changes nothing, 1 is what is usual.

    ``state.ahead`` has to hold the best guess at what comes next.

    Shape: samples ``[frame_samples]``.
    """
    _take_in(state, samples, state.ahead)
    bands, gains, subframe = len(state.bands), state.gains, state.subframe_samples
    past = len(state.low) - len(samples)
    for start in range(past, past + len(samples), subframe):
        end = start + subframe
        lag, correlation = state.lag[0], 0.0
        _take_subframe(state, end)
        if strength > 0.0:
            lag, correlation = _find_lag(state, end)
        here = state.out[start - past : end - past]
        for i in range(subframe):
            here[i] = 0
        changes = False
        for b in range(bands):
            gain = np.float32(0)
            if correlation > LEAST_PITCH:
                repeats = correlation_at(state.bands[b], end - state.window_samples, end, lag)
                repeats = max(repeats, CORRELATION_SHARES[b] * correlation)
                gain = np.float32(strength * FULL_GAIN * max(repeats - LEAST_BAND, 0.0) / (1.0 - LEAST_BAND))
            changes = changes or gain > 0 or gains[b] > 0 or state.corrections[b] != 1
            _comb(state, start, b, lag, gain, here)
            gains[b] = gain
        state.lag[0] = lag
        state.lags[(start - past) // subframe] = lag
        state.correlations[(start - past) // subframe] = correlation
        if changes:
            for i in range(subframe):
                samples[start - past + i] = here[i]
