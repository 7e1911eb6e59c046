"""Spectral-envelope post-filter, after the pitch filter: gains in time and frequency that restore a voice's envelope.

At low bitrates the energy of single bands is off by several decibels, differently in every frame and where two frames
meet. Half of that can be inferred from the decoded sound and from the spectrum that the decoder network gave out: a
small network, fitted to decoded and original speech, says by how much (``native_dsp.filters.envelope_network``).
Voiced subframes are corrected by filters of linear phase.

It adds no delay: the frame is there as a whole, and for the 5 ms after it stands the half of them that overlap-add
has.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.filters.changing_filter import add_changing, room_for_change, sum_cosines
from native_dsp.filters.envelope_network import (
    BINS,
    COLUMNS,
    LOWEST_BIN,
    PAST_SUBFRAMES,
    REACH,
    SUBFRAMES,
    TOP_BIN,
    EnvelopeFeatures,
    EnvelopeWeights,
    bin_features,
    frame_features,
    infer,
)
from native_dsp.filters.memory import make_room
from native_dsp.filters.symmetric_filter import whole_blocks
from native_dsp.jit import kernel, outlined_unordered_kernel
from native_dsp.networks.elementary import exponential, logarithm
from native_dsp.state import copy_state
from native_dsp.transforms.fft import FftPlan, make_fft, rfft_inline
from native_dsp.transforms.windows import hann_periodic

Float32Array = NDArray[np.float32]

SUBFRAME_S = 0.005
FFT_SAMPLES = 512
SMOOTHING_HZ = 100.0
"""Half the width of the triangle by which powers are averaged over frequency."""
SPREAD = 2
"""Bins to either side that the triangle reaches."""
FIRST_BIN = LOWEST_BIN - REACH
FULL_FROM_HZ, FULL_TO_HZ, EDGE_HZ = 350.0, 1_600.0, 100.0
"""Between these frequencies gains are applied in full, fading out over the edges."""
POWER_FLOOR = 1e-7
LARGEST_CHANGE = 0.92
"""Nepers, 8 dB."""
NOT_VOICED, VOICED = 0.15, 0.35
"""Correlations of a subframe with the period before below which nothing is done, and from which all is."""
FADE_SAMPLES = 60


class EnvelopeFilterState(NamedTuple):
    """Memory, constants and scratch of one stream; not to be shared between streams or threads.

    Shape: sound ``[FFT_SAMPLES + frame_samples + FFT_SAMPLES / 2]`` or more; band_energy ``[PAST_SUBFRAMES +
    SUBFRAMES, COLUMNS]``, log amplitudes of the bins from ``FIRST_BIN`` on; excess ``[SUBFRAMES, bins]``, the gain of
    each bin less one; taps ``[2, half + 1]``, of the filters before and now, from the middle outwards; ahead
    ``[half]``, for the caller to fill; window ``[FFT_SAMPLES]``; smoothing ``[2 * SPREAD + 1]``; cosines ``[bins,
    half + 1]``; share ``[bins]``; frame, real, imaginary, power, changed: scratch.
    """

    sound: Float32Array
    band_energy: Float32Array
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
    features: EnvelopeFeatures
    fft: FftPlan

    def copy(self) -> EnvelopeFilterState:
        """An independent copy."""
        return copy_state(self)


def make_envelope_filter(sample_rate_hz: int, frame_samples: int, features: EnvelopeFeatures) -> EnvelopeFilterState:
    """A stream that has heard silence; with a network, frames must be of 20 ms, or ValueError."""
    half = round(SUBFRAME_S * sample_rate_hz)
    if features.bin_hidden.size and frame_samples != SUBFRAMES * half:
        raise ValueError(f"frames must be of {SUBFRAMES} subframes of {half} samples, got {frame_samples} samples")
    bins = np.arange(LOWEST_BIN, TOP_BIN)
    bins_hz = bins * (sample_rate_hz / FFT_SAMPLES)
    rise, fall = (bins_hz - FULL_FROM_HZ) / EDGE_HZ + 1.0, (FULL_TO_HZ - bins_hz) / EDGE_HZ + 1.0
    window = hann_periodic(FFT_SAMPLES)
    away_hz = np.abs(np.arange(-SPREAD, SPREAD + 1)) * (sample_rate_hz / FFT_SAMPLES)
    triangle = np.maximum(1.0 - away_hz / SMOOTHING_HZ, 0.0)
    distance = np.arange(half + 1)
    taper = np.sqrt(0.5 + 0.5 * np.cos(np.pi * distance / (half + 1)))
    cosines = np.cos(2.0 * np.pi * np.outer(bins, distance) / FFT_SAMPLES) * (2.0 / FFT_SAMPLES) * taper
    after = max(frame_samples + FFT_SAMPLES // 2, SUBFRAMES * half + whole_blocks(half))
    return EnvelopeFilterState(
        sound=np.zeros(FFT_SAMPLES + after, np.float32),
        band_energy=np.full((PAST_SUBFRAMES + SUBFRAMES, COLUMNS), 0.5 * np.log(POWER_FLOOR), np.float32),
        excess=np.zeros((SUBFRAMES, bins.size), np.float32),
        taps=np.zeros((2, half + 1), np.float32),
        ahead=np.zeros(half, np.float32),
        window=window / np.float32(np.sqrt(np.sum(np.square(window, dtype=np.float64)))),
        smoothing=(triangle / triangle.sum()).astype(np.float32),
        cosines=cosines.astype(np.float32),
        share=np.clip(np.minimum(rise, fall), 0.0, 1.0).astype(np.float32),
        frame=np.zeros(FFT_SAMPLES, np.float32),
        real=np.zeros(FIRST_BIN + COLUMNS + SPREAD, np.float32),
        imaginary=np.zeros(FIRST_BIN + COLUMNS + SPREAD, np.float32),
        power=np.zeros(COLUMNS + 2 * SPREAD, np.float32),
        changed=room_for_change(max(half, FADE_SAMPLES)),
        features=features,
        fft=make_fft(FFT_SAMPLES),
    )


@kernel
def _measure(state: EnvelopeFilterState, start: int, row: int) -> None:
    """Band energies in the window that begins at ``start``."""
    frame, window, power, smoothing = state.frame, state.window, state.power, state.smoothing
    for i in range(len(frame)):
        frame[i] = state.sound[start + i] * window[i]
    rfft_inline(state.fft, frame, state.real, state.imaginary)
    real, imaginary = state.real[FIRST_BIN - SPREAD :], state.imaginary[FIRST_BIN - SPREAD :]
    for k in range(len(power)):
        power[k] = real[k] * real[k] + imaginary[k] * imaginary[k]
    energy = state.band_energy[row]
    for k in range(len(energy)):
        mean = np.float32(POWER_FLOOR)
        for o in range(len(smoothing)):
            mean += smoothing[o] * power[k + o]
        energy[k] = mean
    for k in range(len(energy)):
        energy[k] = np.float32(0.5) * logarithm(energy[k])


@outlined_unordered_kernel
def take_in(state: EnvelopeFilterState, samples: Float32Array) -> None:
    """Move the memory on by a frame, and measure the band energies of its subframes.

    Those of the last two subframes before are measured anew, now that what follows them is known.

    Shape: ``samples [frame_samples]``, full scale 1, at the model's rate.
    """
    sound, energy, ahead = state.sound, state.band_energy, state.ahead
    frame_samples = len(samples)
    subframe = frame_samples // SUBFRAMES
    make_room(sound[: FFT_SAMPLES + frame_samples], frame_samples)
    for i in range(frame_samples):
        sound[FFT_SAMPLES + i] = samples[i]
    for i in range(len(ahead)):
        sound[FFT_SAMPLES + frame_samples + i] = ahead[i]
    for row in range(PAST_SUBFRAMES):
        for k in range(energy.shape[1]):
            energy[row, k] = energy[row + SUBFRAMES, k]
    first = FFT_SAMPLES // 2 + subframe // 2
    for j in range(-2, SUBFRAMES):
        _measure(state, first + j * subframe, PAST_SUBFRAMES + j)


@kernel
def filter_envelope(
    state: EnvelopeFilterState,
    weights: EnvelopeWeights,
    correlations: Float32Array,
    lags: NDArray[np.int64],
    quality: float,
    samples: Float32Array,
) -> None:
    """Filter one frame in place; the state goes on. Frames without a voice pass unchanged.

    ``state.ahead`` has to hold the best guess at what comes next, and ``state.features`` the decoder's spectrum
    (:func:`~native_dsp.filters.envelope_network.store_spectrum`); ``quality`` is 0 at the coarsest quality index and
    1 at the finest.

    Shape: correlations and lags ``[SUBFRAMES]``, as the pitch filter left them; samples ``[frame_samples]``.
    """
    if len(weights.bin_hidden_bias) == 0:
        return
    take_in(state, samples)
    excess, taps, cosines, features = state.excess, state.taps, state.cosines, state.features
    size = len(samples) // SUBFRAMES
    voiced = False
    for j in range(SUBFRAMES):
        voiced = voiced or correlations[j] > NOT_VOICED
    if voiced:
        frame_features(features)
        bin_features(state.band_energy, correlations, lags, quality, features.bin_inputs)
        infer(features, weights)
        for j in range(SUBFRAMES):
            share = np.float32(min(max((correlations[j] - NOT_VOICED) / (VOICED - NOT_VOICED), 0.0), 1.0))
            gains = excess[j]
            for i in range(BINS):
                change = min(
                    max(share * features.log_gain[i, j], np.float32(-LARGEST_CHANGE)), np.float32(LARGEST_CHANGE)
                )
                gains[i] = state.share[i] * change
            for i in range(BINS):
                gains[i] = exponential(gains[i]) - np.float32(1)
    for j in range(SUBFRAMES):
        before, now = j % 2, (j + 1) % 2
        new = taps[now]
        if correlations[j] > NOT_VOICED:
            sum_cosines(excess[j], cosines, new)
        else:
            for m in range(len(new)):
                new[m] = 0
        # Where both are zero the sound stays as it is to the last bit.
        if new[0] != 0 or taps[before, 0] != 0:
            here = samples[j * size : (j + 1) * size]
            add_changing(state.sound, FFT_SAMPLES + j * size, taps, now, FADE_SAMPLES, state.changed, here)
