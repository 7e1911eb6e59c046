"""Harmonic excitation: a pulse train that follows the pitch of decoded low bands, frame by frame as a spectrum.

A decoder of few bits knows where the low harmonics of a voice are and cannot place the high ones: their phases turn
too fast from frame to frame. Pulses at the pitch, in step with the peaks of the low bands' energy, put every harmonic
where it belongs at once; the decoder only has to shape them. Vocoders of the sixties knew that (Atal and Hanauer,
"Speech analysis and synthesis by linear prediction of the speech wave", 1971), the neural source-filter models say it
again (Wang, Takaki and Yamagishi, "Neural source-filter-based waveform model", 2019).

It adds no delay: the pitch of what has been decoded is carried on over the few milliseconds of overlap to come.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.filters.memory import make_room
from native_dsp.jit import kernel, unordered_kernel
from native_dsp.state import copy_state

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

LOWEST_PITCH_HZ, HIGHEST_PITCH_HZ = 60.0, 420.0
STEP = 4
"""The low bands are looked at in every fourth sample: they must hold nothing above an eighth of the rate."""
WINDOW_S, SHORT_WINDOW_S = 0.016, 0.008
LONG_LAG_PENALTY = 5.0
"""Per second of lag: two periods repeat as well as one."""
HALF_SHARE = 0.88
"""Half a lag is taken instead if it repeats at least so well in comparison."""
STEADY_BONUS = 0.04
"""What a lag near the last one has ahead of the others."""
UNVOICED, VOICED = 0.35, 0.8
"""Likenesses of a period to the one before at which a voice begins, and is all voice."""
PULL, FIRST_PULL = 0.3, 1.0
"""Share of the pulses' distance from the energy's peaks that is made up in each hop, and where a voice begins."""
SILENCE_POWER = 1e-9
MOST_PULSES = 32
LAG, PHASE, VOICING = range(3)


class ExcitationState(NamedTuple):
    """Memory and scratch of one stream; not to be shared between streams or threads.

    Shape: window ``[fft]``, the analysis window; low ``[past + hop / STEP]``; track float64 ``[3]``: lag in samples,
    phase at the end of the last hop in periods, voicing 0 to 1; pulses float64 ``[MOST_PULSES]``, places before the
    present hop, newest last; number int64 ``[1]``; correlation float64 ``[lags]``.
    """

    window: Float32Array
    low: Float32Array
    track: Float64Array
    pulses: Float64Array
    number: NDArray[np.int64]
    correlation: Float64Array
    hop_samples: int
    shortest: int
    longest: int
    wide: int
    short: int
    power: float

    def copy(self) -> ExcitationState:
        """An independent copy."""
        return copy_state(self)


def make_excitation(analysis_window: Float32Array, sample_rate_hz: int, hop_samples: int) -> ExcitationState:
    """A stream that has heard silence.

    Shape: analysis window ``[fft]``, of which the newest sample lies an overlap beyond the present hop.
    """
    if hop_samples % STEP:
        raise ValueError(f"a hop must be a multiple of {STEP} samples, got {hop_samples}")
    rate_hz = sample_rate_hz / STEP
    shortest, longest = int(rate_hz / HIGHEST_PITCH_HZ), int(rate_hz / LOWEST_PITCH_HZ)
    wide, short = round(WINDOW_S * rate_hz), round(SHORT_WINDOW_S * rate_hz)
    past = max(wide, longest) + longest + 4
    return ExcitationState(
        window=np.asarray(analysis_window, np.float32),
        low=np.zeros(past + hop_samples // STEP, np.float32),
        track=np.array([0.008 * sample_rate_hz, 0.0, 0.0]),
        pulses=np.zeros(MOST_PULSES),
        number=np.zeros(1, np.int64),
        correlation=np.zeros(longest + 2),
        hop_samples=hop_samples,
        shortest=shortest,
        longest=longest,
        wide=wide,
        short=short,
        power=float(np.sum(np.asarray(analysis_window, np.float64) ** 2)),
    )


@unordered_kernel
def _likeness(low: Float32Array, width: int, lag: int) -> float:
    """Correlation of the newest ``width`` samples with those ``lag`` before, -1 to 1."""
    end = len(low)
    here, there = low[end - width :], low[end - width - lag : end - lag]
    product, own, other = np.float32(0), np.float32(0), np.float32(0)
    for i in range(width):
        product += here[i] * there[i]
        own += here[i] * here[i]
        other += there[i] * there[i]
    power = float(own) * float(other)
    return float(product) / np.sqrt(power) if power > 0.0 else 0.0


@kernel
def _find_pitch(state: ExcitationState) -> tuple[float, float]:
    """Period in samples of the full rate, and how well the newest sound repeats after it."""
    low, correlation = state.low, state.correlation
    power = 0.0
    for i in range(len(low) - state.wide, len(low)):
        power += low[i] * low[i]
    last = state.track[LAG] / STEP
    if power < SILENCE_POWER * state.wide:
        return state.track[LAG], 0.0
    best, found = 0.0, 0
    for lag in range(state.shortest, state.longest + 1):
        value = _likeness(low, state.wide, lag)
        correlation[lag] = value
        score = value * (1.0 - LONG_LAG_PENALTY * lag * STEP / 24_000.0)
        if state.track[VOICING] > 0.0 and abs(lag - last) < 0.12 * last:
            score += STEADY_BONUS
        if score > best:
            best, found = score, lag
    if found == 0:
        return state.track[LAG], 0.0
    # Between samples a short lag falls short of what it has at its peak, a multiple of it does not.
    half = found // 2
    if half >= state.shortest:
        nearest = half if correlation[half] >= correlation[half + 1] else half + 1
        if correlation[nearest] > HALF_SHARE * correlation[found]:
            found = nearest
    # The shorter window is nearer to now: what a voice does at this moment.
    width = max(state.short, found)
    first = max(found - 2, state.shortest)
    peak, at = -2.0, found
    for lag in range(first, min(found + 2, state.longest) + 1):
        value = _likeness(low, width, lag)
        if value > peak:
            peak, at = value, lag
    before, after = _likeness(low, width, at - 1), _likeness(low, width, at + 1)
    bend = before - 2.0 * peak + after
    shift = 0.0
    if bend < 0.0:
        shift = min(max(0.5 * (before - after) / bend, -0.5), 0.5)
    return STEP * (at + shift), peak


@kernel
def excite(state: ExcitationState, low_hop: Float32Array, out: Float32Array) -> float:
    """Spectrum of the pulses in the frame whose sound begins with this hop; returns the voicing, 0 to 1.

    ``low_hop`` is the decoded sound of the hop, low bands only, out of the same frames up to this one. The spectrum
    is companded, and of unit power on average over frames.

    Shape: low_hop ``[hop]``, out ``[2 * bins]`` (real parts, then imaginary parts).
    """
    low, track, pulses = state.low, state.track, state.pulses
    hop = state.hop_samples
    few = hop // STEP
    kept = len(low) - few
    make_room(low, few)
    for i in range(few):
        low[kept + i] = low_hop[STEP * i]
    lag, correlation = _find_pitch(state)
    voicing = min(max((correlation - UNVOICED) / (VOICED - UNVOICED), 0.0), 1.0)
    begins = track[VOICING] == 0.0
    if voicing > 0.0:
        track[LAG] = lag
    lag = track[LAG]
    frequency = 1.0 / lag
    phase = track[PHASE]
    if voicing > 0.0:
        # Where in the period the energy of the last two periods has its centre.
        width = min(int(2.0 * lag / STEP + 0.5), len(low))
        real, imag = 0.0, 0.0
        for i in range(width):
            x = low[len(low) - width + i]
            place = hop - STEP * (width - i)
            weight = x * x * (1.0 - np.cos(2.0 * np.pi * (i + 0.5) / width))
            angle = 2.0 * np.pi * (phase + frequency * place)
            real += weight * np.cos(angle)
            imag += weight * np.sin(angle)
        error = np.arctan2(imag, real) / (2.0 * np.pi)
        if begins:
            phase -= FIRST_PULL * error
            state.number[0] = 0
        else:
            # Made up by a slightly other frequency, so that no period is broken.
            frequency -= PULL * error / hop
            frequency = max(frequency, 0.5 / lag)
    # Pulses of the frame: those of the past, then those of this hop and of the overlap to come.
    fft = len(state.window)
    bins = fft // 2 + 1
    ahead = 0
    while state.window[fft - 1 - ahead] < 1.0 and ahead < fft - hop - 1:
        ahead += 1
    reach = hop + ahead
    for k in range(2 * bins):
        out[k] = 0
    scale = np.sqrt(lag / state.power)
    count = state.number[0]
    for i in range(count):
        _add_pulse(state.window, pulses[i] + fft - reach, scale, out)
    whole = np.floor(phase)
    place = (whole + 1.0 - phase) / frequency
    while place < reach:
        _add_pulse(state.window, place + fft - reach, scale, out)
        if place < hop and count < MOST_PULSES:
            pulses[count] = place
            count += 1
        place += 1.0 / frequency
    # What the next frame still sees of them.
    kept_pulses = 0
    for i in range(count):
        if pulses[i] - hop + fft - reach > 0.0:
            pulses[kept_pulses] = pulses[i] - hop
            kept_pulses += 1
    state.number[0] = kept_pulses
    phase += frequency * hop
    track[PHASE] = phase - np.floor(phase)
    track[VOICING] = voicing
    for k in range(bins):
        magnitude = np.sqrt(np.sqrt(out[k] * out[k] + out[bins + k] * out[bins + k]))
        if magnitude > 0.0:
            out[k] /= np.float32(magnitude)
            out[bins + k] /= np.float32(magnitude)
    return voicing


@kernel
def _add_pulse(window: Float32Array, place: float, scale: float, out: Float32Array) -> None:
    """Add the spectrum of a pulse at a place in the window, between samples too."""
    fft = len(window)
    bins = fft // 2 + 1
    whole = int(place)
    if whole < 0 or whole >= fft - 1:
        return
    part = place - whole
    height = scale * (window[whole] * (1.0 - part) + window[whole + 1] * part)
    angle = -2.0 * np.pi * place / fft
    turn_real, turn_imag = np.cos(angle), np.sin(angle)
    real, imag = height, 0.0
    for k in range(bins):
        out[k] += np.float32(real)
        out[bins + k] += np.float32(imag)
        real, imag = real * turn_real - imag * turn_imag, real * turn_imag + imag * turn_real


@kernel
def excite_all(
    state: ExcitationState, low: Float32Array, out: Float32Array, voicing: Float32Array, lags: Float32Array
) -> None:
    """:func:`excite` for every hop of a stretch of sound.

    Shape: low ``[hops, hop]``, out ``[hops, 2 * bins]``, voicing and lags ``[hops]``.
    """
    for t in range(len(low)):
        voicing[t] = excite(state, low[t], out[t])
        lags[t] = state.track[LAG]
