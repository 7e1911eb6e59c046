"""What runs after the decoder network, in this order: gains on its spectrum; pitch filter, spectral-envelope filter,
temporal-envelope filter.

Parameters are of a model, state is of a stream. The decoder and training run the same kernels on both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.filters.envelope_filter import EnvelopeFilterState, filter_envelope, make_envelope_filter
from native_dsp.filters.envelope_network import (
    EnvelopeWeights,
    make_envelope_features,
    no_envelope_weights,
    store_spectrum,
)
from native_dsp.filters.pitch_filter import PitchFilterState, filter_pitch, make_pitch_filter
from native_dsp.filters.temporal_envelope import (
    TemporalFilterState,
    TemporalWeights,
    filter_temporal_envelope,
    make_temporal_filter,
    no_temporal_weights,
)
from native_dsp.jit import kernel
from native_dsp.state import copy_state

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]

NOTHING_DECODED = -1
"""Quality index of a stream that has not decoded a frame yet: its sound is left as it is."""
ALREADY_SCALED = -1
"""In place of a row of gains: the spectrum has had them."""


class PostFilterParameters(NamedTuple):
    """All that is tuned or fitted of a model's post-filter.

    Shape: band_gains and noise_gains float32 ``[qualities + 1, bins]``, what the companded spectrum and the drawn
    noise are multiplied by at each quality index, the last row where a frame was lost; pitch_strengths float64
    ``[qualities]``, 0 for no pitch filter.
    """

    band_gains: Float32Array
    noise_gains: Float32Array
    pitch_strengths: NDArray[np.float64]
    envelope: EnvelopeWeights
    temporal: TemporalWeights


class PostFilterState(NamedTuple):
    """What one stream remembers."""

    pitch: PitchFilterState
    envelope: EnvelopeFilterState
    temporal: TemporalFilterState

    def copy(self) -> PostFilterState:
        """An independent copy."""
        return copy_state(self)


def neutral_parameters(qualities: int, bins: int) -> PostFilterParameters:
    """Parameters that change nothing."""
    ones = np.ones((qualities + 1, bins), np.float32)
    return PostFilterParameters(ones, ones.copy(), np.zeros(qualities), no_envelope_weights(), no_temporal_weights())


def make_post_filter(
    parameters: PostFilterParameters, sample_rate_hz: int, frame_samples: int, hops: int
) -> PostFilterState:
    """A stream that has heard silence; raises ValueError where the frames do not fit the filters."""
    features = make_envelope_features(hops, parameters.band_gains.shape[1], parameters.envelope)
    return PostFilterState(
        pitch=make_pitch_filter(sample_rate_hz, frame_samples),
        envelope=make_envelope_filter(sample_rate_hz, frame_samples, features),
        temporal=make_temporal_filter(sample_rate_hz, frame_samples, parameters.temporal),
    )


@kernel
def scale_spectrum(parameters: PostFilterParameters, state: PostFilterState, row: int, decoded: Float32Array) -> None:
    """Apply the gains of one quality index to what the decoder network gave out, in place, before noise is drawn.

    The envelope filter keeps the result, for :func:`filter_frame`.

    Shape: decoded ``[hops, 3 * bins]``.
    """
    bins = parameters.band_gains.shape[1]
    for h in range(len(decoded)):
        if row >= 0:
            band_gain, scale = parameters.band_gains[row], parameters.noise_gains[row]
            real, imaginary, noise_gain = decoded[h], decoded[h][bins:], decoded[h][2 * bins :]
            for k in range(bins):
                real[k] *= band_gain[k]
                imaginary[k] *= band_gain[k]
                noise_gain[k] *= scale[k]
        store_spectrum(state.envelope.features, h, decoded[h])


@kernel
def filter_frame(
    parameters: PostFilterParameters, state: PostFilterState, quality_index: int, samples: Float32Array
) -> None:
    """Filter one frame in place; the state goes on.

    ``state.envelope.ahead`` has to hold the best guess at the 5 ms that come next.

    Shape: samples ``[frame_samples]``.
    """
    pitch, envelope = state.pitch, state.envelope
    for i in range(len(pitch.ahead)):
        pitch.ahead[i] = envelope.ahead[i]
    strength, quality = 0.0, 0.0
    if quality_index >= 0:
        strength = parameters.pitch_strengths[quality_index]
        quality = quality_index / max(len(parameters.pitch_strengths) - 1, 1)
    filter_pitch(pitch, strength, samples)
    filter_envelope(envelope, parameters.envelope, pitch.correlations, pitch.lags, quality, samples)
    filter_temporal_envelope(
        state.temporal, parameters.temporal, pitch.correlations, quality, envelope.ahead, samples
    )


@kernel
def filter_frames(
    parameters: PostFilterParameters,
    state: PostFilterState,
    quality_index: Int64Array,
    spectra: Float32Array,
    ahead: Float32Array,
    samples: Float32Array,
) -> None:
    """:func:`filter_frame` over consecutive frames whose spectra have been scaled already, as in training.

    Shape: quality_index ``[frames]``; spectra ``[frames, hops, 3, bins]``, as many bins as the envelope filter keeps;
    ahead ``[frames, block]``; samples ``[frames, frame_samples]``.
    """
    kept = state.envelope.features.spectrum
    for f in range(len(samples)):
        for h in range(spectra.shape[1]):
            for part in range(3):
                for k in range(kept.shape[2]):
                    kept[h, part, k] = spectra[f, h, part, k]
        for i in range(ahead.shape[1]):
            state.envelope.ahead[i] = ahead[f, i]
        filter_frame(parameters, state, quality_index[f], samples[f])
