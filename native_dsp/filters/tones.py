"""One or two steady tones taken out of a frame and made again at the other end: an alarm, a whistle, telephone keys.

What the codec's latents say of a waveform ends at about 1.5 kHz; above it the decoder draws phases, and a tone comes
out as a hiss. So a frame that is a tone or two, and has been for two frames, is told as frequencies and amplitudes
(McAulay and Quatieri, "Speech analysis/synthesis based on a sinusoidal representation", IEEE Trans. ASSP 1986) beside
the latents of what is left. Voices are not touched: they have more harmonics than two, or their strongest below the
band that is looked at.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.filters.memory import make_room
from native_dsp.filters.tonality import HALF_PEAK_BINS, TONAL_SHARE
from native_dsp.jit import kernel, shared
from native_dsp.state import copy_state
from native_dsp.transforms.fft import FftPlan, make_fft, rfft
from native_dsp.transforms.windows import hann_periodic

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

MOST_TONES = 2
LOWEST_HZ, HIGHEST_HZ = 600.0, 11_000.0
QUIET_POWER = 1e-4
"""Sum of squared magnitudes of a spectrum below which nothing is looked for: a tone at -80 dBFS."""
STEADY_HZ, STEADY_RATIO = 12.0, 1.4
"""How far frequency and amplitude of a tone may be from those of the frame before."""
LATENT_HZ, LATENT_FRAMES = 1_700.0, 8
"""Up to here latents tell a tone as well, and a telephone's keys come and go: such tones must have been steady for so
many frames, others for one."""
AGREEMENT_HZ = 6.0
"""How far apart the frequencies are that the bins on either side of a peak tell; of several harmonics they differ."""
FFT_SAMPLES = 512
POLE_RADIUS = 0.99
"""Of the notch that takes a tone out: 76 Hz wide at 24 kHz."""
INAUDIBLE = 1e-5
LOST_SHARE = 0.8
"""What is left of a tone with each frame that is lost."""
FREQUENCY, AMPLITUDE = range(2)

ESCAPE_BYTE, ESCAPE_BYTES = 0xFF, 2
ESCAPE = bytes((ESCAPE_BYTE,) * ESCAPE_BYTES)
"""What a payload with tones begins with."""
HEAD_BYTES, TONE_BYTES = 3, 3
LARGEST_SHARE = 0.75
"""Of the bits of a packet that may go into its tones."""
LEAST_CODED_HZ = 500.0
_FREQUENCY_HZ, _AMPLITUDE_DB = 0.35, 0.4
_MOST_FREQUENCY, _MOST_AMPLITUDE = (1 << 15) - 1, (1 << 8) - 1
_COUNT_BITS = 2


class ToneFinderState(NamedTuple):
    """Memory of one sender, and scratch; not to be shared between streams or threads.

    Shape: window, recent ``[FFT_SAMPLES]``; windowed ``[FFT_SAMPLES]``, samples, later powers of bins; re, im,
    re_before, im_before ``[FFT_SAMPLES / 2 + 1]``; found, peaks ``[MOST_TONES, 2]``, frequency in Hz and amplitude in
    this frame and the one before, amplitude 0 for none; tones, the same of those being taken out; notches
    ``[MOST_TONES, 2]``, their memory; steady_frames ``[1]``.
    """

    plan: FftPlan
    window: Float32Array
    recent: Float32Array
    windowed: Float32Array
    re: Float32Array
    im: Float32Array
    re_before: Float32Array
    im_before: Float32Array
    found: Float64Array
    peaks: Float64Array
    tones: Float64Array
    notches: Float64Array
    steady_frames: NDArray[np.int64]

    def copy(self) -> ToneFinderState:
        """An independent copy."""
        return copy_state(self)


class ToneBankState(NamedTuple):
    """Memory of one receiver; not to be shared between streams or threads.

    Shape: tones ``[MOST_TONES, 2]``, frequency in Hz and amplitude at the end of the last frame; phases
    ``[MOST_TONES]`` in turns; tail ``[lag_samples]``, made and not yet given out; recent ``[frame_samples]``, the
    frame given out last.
    """

    tones: Float64Array
    phases: Float64Array
    tail: Float32Array
    recent: Float32Array

    def copy(self) -> ToneBankState:
        """An independent copy."""
        return copy_state(self)


def no_tones(*frames: int) -> Float64Array:
    """What frames without tones tell.

    Shape: output ``[*frames, MOST_TONES, 2]``.
    """
    return np.zeros((*frames, MOST_TONES, 2))


def make_tone_finder() -> ToneFinderState:
    """State of a stream that has heard nothing."""
    bins = FFT_SAMPLES // 2 + 1
    return ToneFinderState(
        plan=make_fft(FFT_SAMPLES),
        window=hann_periodic(FFT_SAMPLES).astype(np.float32),
        recent=np.zeros(FFT_SAMPLES, np.float32),
        windowed=np.zeros(FFT_SAMPLES, np.float32),
        re=np.zeros(bins, np.float32),
        im=np.zeros(bins, np.float32),
        re_before=np.zeros(bins, np.float32),
        im_before=np.zeros(bins, np.float32),
        found=no_tones(),
        peaks=no_tones(),
        tones=no_tones(),
        notches=np.zeros((MOST_TONES, 2)),
        steady_frames=np.zeros(1, np.int64),
    )


def make_tone_bank(frame_samples: int, lag_samples: int) -> ToneBankState:
    """State of a stream without tones, whose sound lags by ``lag_samples`` what frames say."""
    return ToneBankState(
        no_tones(),
        np.zeros(MOST_TONES),
        np.zeros(lag_samples, np.float32),
        np.zeros(frame_samples, np.float32),
    )


@kernel
def copy_tone(source: Float64Array, target: Float64Array) -> None:
    """Frequency and amplitude; an assignment of arrays would take memory.

    Shape: ``[2]`` twice.
    """
    target[FREQUENCY], target[AMPLITUDE] = source[FREQUENCY], source[AMPLITUDE]


@kernel
def copy_tones(source: Float64Array, target: Float64Array) -> None:
    """Those of a frame.

    Shape: ``[MOST_TONES, 2]`` twice.
    """
    for k in range(MOST_TONES):
        copy_tone(source[k], target[k])


@kernel
def _powers(state: ToneFinderState) -> float:
    """Powers of all bins, in place of the samples; returns their sum."""
    powers, re, im = state.windowed, state.re, state.im
    total = 0.0
    for k in range(re.size):
        powers[k] = re[k] * re[k] + im[k] * im[k]
        total += powers[k]
    return total


@kernel
def _strongest(state: ToneFinderState, first: int, last: int, taken: int) -> int:
    """The strongest local peak from ``first`` to ``last`` that is not of the one at ``taken``; -1 for none."""
    powers = state.windowed
    best, found = np.float32(0.0), -1
    for k in range(first, last + 1):
        is_peak = powers[k] >= powers[k - 1] and powers[k] >= powers[k + 1]
        if powers[k] > best and is_peak and abs(k - taken) > 2 * HALF_PEAK_BINS:
            best, found = powers[k], k
    return found


@kernel
def _peak_power(state: ToneFinderState, peak: int) -> float:
    total = 0.0
    for k in range(peak - HALF_PEAK_BINS, peak + HALF_PEAK_BINS + 1):
        total += state.windowed[k]
    return total


@kernel
def _advance(state: ToneFinderState, k: int) -> float:
    """Turns by which bin ``k`` has gone on since the frame before, -0.5 to 0.5."""
    re, im = np.float64(state.re[k]), np.float64(state.im[k])
    re_before, im_before = np.float64(state.re_before[k]), np.float64(state.im_before[k])
    return math.atan2(im * re_before - re * im_before, re * re_before + im * im_before) / (2.0 * math.pi)


@kernel
def _frequency(state: ToneFinderState, peak: int, frame_s: float, coarse_hz: float) -> float:
    """Of the tone in bin ``peak``, by how far its phase has gone on since the frame before; near ``coarse_hz``."""
    turns = _advance(state, peak)
    whole = math.floor(coarse_hz * frame_s - turns + 0.5)
    return (whole + turns) / frame_s


@kernel
def _measure(state: ToneFinderState, peak: int, bin_hz: float, frame_s: float, tone: Float64Array) -> bool:
    """Frequency and amplitude of a peak, and whether its bins agree that it is one tone.

    Shape: tone ``[2]``, written.
    """
    at = np.float64(state.windowed[peak])
    low, high = math.log(state.windowed[peak - 1] + 1e-30), math.log(state.windowed[peak + 1] + 1e-30)
    middle = math.log(at + 1e-30)
    bend = low - 2.0 * middle + high
    offset = 0.5 * (low - high) / bend if bend < 0.0 else 0.0
    coarse_hz = (peak + offset) * bin_hz
    frequency = _frequency(state, peak, frame_s, coarse_hz)
    for side in (-1, 1):
        if abs(_frequency(state, peak + side, frame_s, coarse_hz) - frequency) > AGREEMENT_HZ:
            return False
    delta = frequency / bin_hz - peak
    gain = 1.0 if abs(delta) < 1e-6 else math.sin(math.pi * delta) / (math.pi * delta * (1.0 - delta * delta))
    tone[FREQUENCY] = frequency
    tone[AMPLITUDE] = math.sqrt(at) / (0.25 * FFT_SAMPLES * gain)
    return abs(delta) < 1.0


@kernel
def _find(state: ToneFinderState, sample_rate_hz: float, frame_s: float, found: Float64Array) -> int:
    """How many tones the spectrum is, 0 to ``MOST_TONES``; theirs are written to ``found``, lowest first.

    Shape: found ``[MOST_TONES, 2]``.
    """
    bins = state.re.size
    total = _powers(state)
    if total < QUIET_POWER:
        return 0
    bin_hz = sample_rate_hz / FFT_SAMPLES
    first, last = math.ceil(LOWEST_HZ / bin_hz), int(HIGHEST_HZ / bin_hz)
    peak = _strongest(state, first, last, -bins)
    if peak < 0:
        return 0
    strong = _peak_power(state, peak)
    if strong >= TONAL_SHARE * total:
        return 1 if _measure(state, peak, bin_hz, frame_s, found[0]) else 0
    second = _strongest(state, first, last, peak)
    if second < 0 or strong + _peak_power(state, second) < TONAL_SHARE * total:
        return 0
    low, high = min(peak, second), max(peak, second)
    together = _measure(state, low, bin_hz, frame_s, found[0]) and _measure(state, high, bin_hz, frame_s, found[1])
    return 2 if together else 0


@kernel
def take_tones(
    state: ToneFinderState, frame: Float32Array, sample_rate_hz: float, most: int, told: Float64Array
) -> int:
    """Take steady tones out of a frame, in place, where there are no more than ``most``; returns how many there are.

    ``told`` gets frequencies in Hz and amplitudes, 0 where there is no tone.

    Shape: frame ``[n]``, told ``[MOST_TONES, 2]``.
    """
    size = frame.size
    recent, window, windowed = state.recent, state.window, state.windowed
    kept = FFT_SAMPLES - size
    make_room(recent, size)
    for i in range(size):
        recent[kept + i] = frame[i]
    for i in range(FFT_SAMPLES):
        windowed[i] = recent[i] * window[i]
    for k in range(state.re.size):
        state.re_before[k], state.im_before[k] = state.re[k], state.im[k]
    rfft(state.plan, windowed, state.re, state.im)
    found = state.found
    found[:] = 0.0
    count = _find(state, sample_rate_hz, size / sample_rate_hz, found)
    steady = count > 0
    highest_hz = 0.0
    for k in range(count):
        ratio = found[k, AMPLITUDE] / max(state.peaks[k, AMPLITUDE], 1e-12)
        steady &= abs(found[k, FREQUENCY] - state.peaks[k, FREQUENCY]) < STEADY_HZ
        steady &= 1.0 / STEADY_RATIO < ratio < STEADY_RATIO
        highest_hz = max(highest_hz, found[k, FREQUENCY])
    if count < MOST_TONES and state.peaks[count, AMPLITUDE] > 0.0:
        steady = False
    state.steady_frames[0] = state.steady_frames[0] + 1 if steady else 0
    steady &= state.steady_frames[0] >= (1 if highest_hz > LATENT_HZ else LATENT_FRAMES) and count <= most
    state.peaks[:] = 0.0
    for k in range(count):
        copy_tone(found[k], state.peaks[k])
    told[:] = 0.0
    if steady:
        for k in range(count):
            copy_tone(found[k], told[k])
    for k in range(MOST_TONES):
        _take_out(state.tones[k], state.notches[k], told[k], frame, sample_rate_hz)
    return count if steady else 0


@kernel
def _take_out(
    tone: Float64Array, notch: Float64Array, told: Float64Array, frame: Float32Array, sample_rate_hz: float
) -> None:
    """A notch at the tone told, faded in where there was none before, and out where there is none now."""
    before, now = tone[AMPLITUDE] > 0.0, told[AMPLITUDE] > 0.0
    if not before and not now:
        return
    if not before:
        notch[:] = 0.0
    frequency = told[FREQUENCY] if now else tone[FREQUENCY]
    turn = 2.0 * math.cos(2.0 * math.pi * frequency / sample_rate_hz)
    size = frame.size
    for i in range(size):
        x = np.float64(frame[i])
        y = x + notch[0]
        notch[0] = notch[1] - turn * x + POLE_RADIUS * turn * y
        notch[1] = x - POLE_RADIUS * POLE_RADIUS * y
        share = 1.0 if before and now else (i + 1.0) / size if now else 1.0 - (i + 1.0) / size
        frame[i] = np.float32(x + share * (y - x))
    tone[FREQUENCY], tone[AMPLITUDE] = frequency, told[AMPLITUDE]


@kernel
def sine_of_turns(turns: float) -> float:
    """Sine of so many whole turns, to 4e-6: Taylor's series over a quarter of a turn."""
    x = turns - math.floor(turns + 0.5)
    if x > 0.25:
        x = 0.5 - x
    elif x < -0.25:
        x = -0.5 - x
    y = 2.0 * math.pi * x
    square = y * y
    return y * (1.0 - square / 6.0 * (1.0 - square / 20.0 * (1.0 - square / 42.0 * (1.0 - square / 72.0))))


@kernel
def add_tones(
    state: ToneBankState, told: Float64Array, share: float, sample_rate_hz: float, out: Float32Array
) -> None:
    """Add the tones of a frame to its sound, from what they were along a line to a share of what is told, and hold
    the sum within full scale.

    Of a frame that is lost nothing is told: give ``state.tones`` and a share below 1.

    Shape: told ``[MOST_TONES, 2]``, amplitude 0 for none; out ``[n]``, in place.
    """
    size, lag = out.size, state.tail.size
    for i in range(lag):
        out[i] += state.tail[i]
        state.tail[i] = 0.0
    for k in range(MOST_TONES):
        before, now = state.tones[k, AMPLITUDE], share * told[k, AMPLITUDE]
        if now < INAUDIBLE:
            now = 0.0
        if before <= 0.0 and now <= 0.0:
            continue
        last_hz = told[k, FREQUENCY] if now > 0.0 else state.tones[k, FREQUENCY]
        first_hz = state.tones[k, FREQUENCY] if before > 0.0 else last_hz
        phase = state.phases[k] if before > 0.0 else _phase_after(state.recent, last_hz / sample_rate_hz, lag)
        for i in range(size):
            along = (i + 1.0) / size
            phase += (first_hz + along * (last_hz - first_hz)) / sample_rate_hz
            sample = np.float32((before + along * (now - before)) * sine_of_turns(phase))
            if i + lag < size:
                out[i + lag] += sample
            else:
                state.tail[i + lag - size] += sample
        state.phases[k] = phase - math.floor(phase)
        state.tones[k, FREQUENCY], state.tones[k, AMPLITUDE] = last_hz, now
    for i in range(size):
        state.recent[i] = out[i]
        out[i] = min(max(out[i], np.float32(-1.0)), np.float32(1.0))


@kernel
def _phase_after(recent: Float32Array, turns_per_sample: float, lag: int) -> float:
    """Where a tone of the sound so far is in its period, in turns, just before ``lag`` samples after its end.

    Latents tell it up to 1.7 kHz; a tone that goes on from there does not cancel what fades out.
    """
    size = recent.size
    sines, cosines = 0.0, 0.0
    for i in range(size):
        turns = turns_per_sample * (i - size)
        window = sine_of_turns(0.5 * (i + 0.5) / size)
        sines += window * recent[i] * sine_of_turns(turns)
        cosines += window * recent[i] * sine_of_turns(turns + 0.25)
    phase = math.atan2(cosines, sines) / (2.0 * math.pi) if sines != 0.0 or cosines != 0.0 else 0.0
    return phase + turns_per_sample * (lag - 1)


@shared
def most_tones(bitrate_bps: float, packets_per_second: float) -> int:
    """How many tones packets may tell at a rate: what is left of them is sound, too."""
    tone_bytes = LARGEST_SHARE * bitrate_bps / packets_per_second / 8.0 - HEAD_BYTES
    return max(0, min(MOST_TONES, int(tone_bytes / TONE_BYTES)))


def write_tones(told: Float64Array, payload: bytes) -> bytes:
    """:func:`put_tones` for bytes.

    Shape: told ``[frames, MOST_TONES, 2]``.
    """
    if not told.any() and payload[:ESCAPE_BYTES] != ESCAPE:
        return payload
    room = np.zeros(len(payload) + HEAD_BYTES + TONE_BYTES * MOST_TONES, np.uint8)
    room[: len(payload)] = np.frombuffer(payload, np.uint8)
    return room[: put_tones(told, len(told), room, len(payload))].tobytes()


@kernel
def any_tones(told: Float64Array, frames: int) -> bool:
    """Whether there is a tone in so many frames.

    Shape: told ``[frames or more, MOST_TONES, 2]``.
    """
    found = False
    for frame in range(frames):
        found |= told[frame, 0, AMPLITUDE] > 0.0
    return found


@kernel
def _count(told: Float64Array) -> int:
    """Tones of a frame; the lowest comes first."""
    count = 0
    for k in range(MOST_TONES):
        if told[k, AMPLITUDE] > 0.0:
            count = k + 1
    return count


@kernel
def put_tones(told: Float64Array, frames: int, payload: NDArray[np.uint8], length: int) -> int:
    """Tones before a payload of ``length`` bytes, in place; returns the length with them.

    Two bytes of 255; how many tones (2 bits, the lowest) and in which frames they are (6 bits); then three bytes for
    each tone, as it is in the last of these: 15 bits of its frequency in 0.35 Hz above 500, 8 of its amplitude in
    -0.4 dB. Frames with another number of tones have none. Without tones a payload stays as it is; one that happens
    to begin with two bytes of 255 follows upon a count of none.

    Shape: told ``[frames or more, MOST_TONES, 2]``, frequencies in Hz and amplitudes, amplitude 0 for none; payload
    ``[length and room for the tones]``.
    """
    last = -1
    for frame in range(frames):
        if _count(told[frame]) > 0:
            last = frame
    if last < 0 and (length < ESCAPE_BYTES or payload[0] != ESCAPE_BYTE or payload[1] != ESCAPE_BYTE):
        return length
    count = _count(told[last]) if last >= 0 else 0
    moved = HEAD_BYTES + TONE_BYTES * count
    for i in range(length - 1, -1, -1):
        payload[i + moved] = payload[i]
    head = count
    for frame in range(last + 1):
        if _count(told[frame]) == count:
            head |= 1 << (_COUNT_BITS + frame)
    payload[0] = payload[1] = ESCAPE_BYTE
    payload[2] = head
    for k in range(count):
        tone, at = told[last, k], HEAD_BYTES + TONE_BYTES * k
        frequency = _coded((tone[FREQUENCY] - LEAST_CODED_HZ) / _FREQUENCY_HZ, _MOST_FREQUENCY)
        amplitude = _coded(-20.0 * math.log10(tone[AMPLITUDE]) / _AMPLITUDE_DB, _MOST_AMPLITUDE)
        payload[at] = frequency >> 8
        payload[at + 1] = frequency & 255
        payload[at + 2] = amplitude
    return length + moved


@kernel
def _coded(value: float, most: int) -> int:
    return min(max(math.floor(value + 0.5), 0), most)


@kernel
def read_tones(payload: NDArray[np.uint8], size: int, frames: int, told: Float64Array) -> int:
    """Tones of a payload of ``size`` bytes; returns where its latents begin, -1 where it cannot be read.

    Shape: payload ``[size or more]``; told ``[frames or more, MOST_TONES, 2]``, written.
    """
    told[:] = 0.0
    if size < ESCAPE_BYTES or payload[0] != ESCAPE_BYTE or payload[1] != ESCAPE_BYTE:
        return 0
    if size <= HEAD_BYTES:
        return -1
    count, there = int(payload[2]) & ((1 << _COUNT_BITS) - 1), int(payload[2]) >> _COUNT_BITS
    start = HEAD_BYTES + TONE_BYTES * count
    if count > MOST_TONES or (count > 0) != (there > 0) or there >> frames or size <= start:
        return -1
    for k in range(count):
        at = HEAD_BYTES + TONE_BYTES * k
        frequency = int(payload[at]) << 8 | int(payload[at + 1])
        if frequency > _MOST_FREQUENCY:
            return -1
        for frame in range(frames):
            if there >> frame & 1:
                told[frame, k, FREQUENCY] = LEAST_CODED_HZ + _FREQUENCY_HZ * frequency
                told[frame, k, AMPLITUDE] = 10.0 ** (-_AMPLITUDE_DB / 20.0 * int(payload[at + 2]))
    return start
