"""Network of the spectral-envelope post-filter: what gain each low band of a decoded frame wants in each subframe.

Two parts add up. One takes the features of a single bin, the same weights for all bins: band energies around it, as
measured in what is about to be played. The other takes the features of the whole frame: the spectrum and noise gains
that the decoder network gave out, before noise was drawn and hops were added up. Both are fitted by
``streamcodec.training.envelope_fit``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import kernel, outlined_unordered_kernel, unordered_kernel
from native_dsp.networks.elementary import logarithm
from native_dsp.networks.flat import flat
from native_dsp.networks.simd_product import PHASES, TILE, make_simd_product

Float32Array = NDArray[np.float32]

SUBFRAMES = 4
"""Subframes of 5 ms in a frame, each with gains of its own."""
PAST_SUBFRAMES = 8
REACH = 4
"""Bins to either side of a bin that its features cover."""
LOWEST_BIN, TOP_BIN = 6, 37
BINS = TOP_BIN - LOWEST_BIN
PAIRED_BINS = BINS - BINS % 2
COLUMNS = BINS + 2 * REACH
"""The bins whose energy is measured: those that are changed, and ``REACH`` to either side."""
LARGEST_DIFFERENCE = 4.0
"""Nepers; features of band energy are clipped to it."""
USUAL_LAG = 150.0
LEAK = 0.1
BIN_FEATURES = (PAST_SUBFRAMES + SUBFRAMES) * (2 * REACH + 1) + SUBFRAMES + 4
"""Band energies around a bin, pitch correlation of each subframe, lag, frequency, quality, loudness."""
HOPS = 2
SPECTRUM_BINS = 96
"""Bins of the decoder's spectra that are features, from 0 Hz on."""
AMPLITUDE_FLOOR, LOG_OFFSET = 0.01, 2.5
"""Floor added to companded amplitudes; nepers added to their logarithms, which then lie about 0."""
FRAME_FEATURES = HOPS * 2 * SPECTRUM_BINS
"""Amplitude and noise of every bin in every hop."""


_two_bins = make_simd_product("floats", 2)
assert BIN_FEATURES % PHASES == 0


class EnvelopeWeights(NamedTuple):
    """The network's weights; without hidden units there is no network, and nothing is changed.

    Shape: of a single bin, bin_hidden ``[BIN_FEATURES, hidden]``, bin_hidden_bias ``[hidden]``, bin_out ``[SUBFRAMES,
    hidden]``, bin_out_bias ``[SUBFRAMES]``; of the frame, frame_hidden ``[FRAME_FEATURES, frame_hidden]``,
    frame_hidden_bias ``[frame_hidden]``, frame_out ``[frame_hidden, BINS * SUBFRAMES]``.
    """

    bin_hidden: Float32Array
    bin_hidden_bias: Float32Array
    bin_out: Float32Array
    bin_out_bias: Float32Array
    frame_hidden: Float32Array
    frame_hidden_bias: Float32Array
    frame_out: Float32Array


class EnvelopeFeatures(NamedTuple):
    """Inputs of the network and room for its output; of one stream.

    Shape: spectrum ``[HOPS, 3, SPECTRUM_BINS]``, as :func:`store_spectrum` left it; frame_inputs
    ``[FRAME_FEATURES]``, bin_inputs ``[BINS, BIN_FEATURES]``; frame_hidden ``[frame_hidden]``, bin_hidden ``[2,
    hidden]``, scratch; log_gain ``[BINS, SUBFRAMES]``, nepers.
    """

    spectrum: Float32Array
    frame_inputs: Float32Array
    bin_inputs: Float32Array
    frame_hidden: Float32Array
    bin_hidden: Float32Array
    log_gain: Float32Array


def envelope_weight_shapes(hidden: int, frame_hidden: int) -> list[tuple[int, ...]]:
    """Shapes of the weights, in their order, for so many hidden units of each part."""
    of_bin = [(BIN_FEATURES, hidden), (hidden,), (SUBFRAMES, hidden), (SUBFRAMES,)]
    return [*of_bin, (FRAME_FEATURES, frame_hidden), (frame_hidden,), (frame_hidden, BINS * SUBFRAMES)]


def no_envelope_weights() -> EnvelopeWeights:
    """Weights of a model that has none."""
    return EnvelopeWeights(*(np.zeros(shape, np.float32) for shape in envelope_weight_shapes(0, 0)))


def make_envelope_features(hops: int, bins: int, weights: EnvelopeWeights) -> EnvelopeFeatures:
    """Features of a decoder of so many hops a frame and bins, all zero; raises ValueError if those are too few."""
    hidden, frame_hidden = weights.bin_hidden_bias.size, weights.frame_hidden_bias.size
    if hidden and (hops != HOPS or bins < SPECTRUM_BINS):
        raise ValueError(f"frames must be of {HOPS} hops of {SPECTRUM_BINS} bins or more, got {hops} of {bins}")
    return EnvelopeFeatures(
        spectrum=np.zeros((hops, 3, min(bins, SPECTRUM_BINS)), np.float32),
        frame_inputs=np.zeros(FRAME_FEATURES, np.float32),
        bin_inputs=np.zeros((BINS, BIN_FEATURES), np.float32),
        frame_hidden=np.zeros(frame_hidden, np.float32),
        bin_hidden=np.zeros((2, hidden), np.float32),
        log_gain=np.zeros((BINS, SUBFRAMES), np.float32),
    )


@kernel
def store_spectrum(features: EnvelopeFeatures, hop: int, decoded: Float32Array) -> None:
    """Keep what the decoder network gave out for one hop, as features of the frame.

    Shape: decoded ``[3 * bins]``, real and imaginary parts and gain of the noise, companded.
    """
    spectrum = features.spectrum[hop]
    bins = len(decoded) // 3
    for part in range(3):
        for k in range(spectrum.shape[1]):
            spectrum[part, k] = decoded[part * bins + k]


@outlined_unordered_kernel
def frame_features(features: EnvelopeFeatures) -> None:
    """Features of the frame as a whole: ``features.frame_inputs``."""
    spectrum, inputs = features.spectrum, features.frame_inputs
    floor, middle = np.float32(AMPLITUDE_FLOOR), np.float32(LOG_OFFSET)
    n = 0
    for hop in range(HOPS):
        real, imaginary, noise = spectrum[hop, 0], spectrum[hop, 1], spectrum[hop, 2]
        for k in range(SPECTRUM_BINS):
            power = real[k] * real[k] + imaginary[k] * imaginary[k]
            inputs[n + k] = np.float32(0.5) * logarithm(power + floor * floor) + middle
        for k in range(SPECTRUM_BINS):
            inputs[n + SPECTRUM_BINS + k] = logarithm(noise[k] + floor) + middle
        n += 2 * SPECTRUM_BINS


@outlined_unordered_kernel
def bin_features(
    band_energy: Float32Array,
    correlations: Float32Array,
    lags: NDArray[np.int64],
    quality: float,
    inputs: Float32Array,
) -> None:
    """Features of each bin.

    Shape: band_energy ``[PAST_SUBFRAMES + SUBFRAMES, COLUMNS]``, nepers; correlations and lags ``[SUBFRAMES]``, as
    the pitch filter left them -> inputs ``[BINS, BIN_FEATURES]``.
    """
    lag = np.float32(0)
    for j in range(SUBFRAMES):
        lag += np.float32(lags[j]) * np.float32(1.0 / SUBFRAMES)
    octaves = np.log2(lag / np.float32(USUAL_LAG))
    for i in range(len(inputs)):
        row, middle = inputs[i], i + REACH
        loudness = np.float32(0)
        for j in range(SUBFRAMES):
            loudness += band_energy[PAST_SUBFRAMES + j, middle] * np.float32(1.0 / SUBFRAMES)
        n = 0
        for subframe in range(PAST_SUBFRAMES + SUBFRAMES):
            for k in range(middle - REACH, middle + REACH + 1):
                difference = band_energy[subframe, k] - loudness
                row[n] = min(max(difference, np.float32(-LARGEST_DIFFERENCE)), np.float32(LARGEST_DIFFERENCE))
                n += 1
        for j in range(SUBFRAMES):
            row[n + j] = correlations[j]
        row[n + SUBFRAMES] = octaves
        row[n + SUBFRAMES + 1] = np.float32(0.05) * np.float32(LOWEST_BIN + i)
        row[n + SUBFRAMES + 2] = np.float32(2) * np.float32(quality)
        row[n + SUBFRAMES + 3] = np.float32(0.25) * loudness


@unordered_kernel
def hidden_units(inputs: Float32Array, weights: Float32Array, bias: Float32Array, hidden: Float32Array) -> None:
    """A layer with a leaky rectifier after it.

    Shape: inputs ``[n]``, weights ``[n, hidden]``, bias ``[hidden]`` -> hidden.
    """
    for q in range(len(hidden)):
        hidden[q] = bias[q]
    # Eight inputs at a time: sums go to memory and back an eighth as often.
    whole = len(inputs) - len(inputs) % 8
    for n in range(0, whole, 8):
        x0, x1, x2, x3 = inputs[n], inputs[n + 1], inputs[n + 2], inputs[n + 3]
        x4, x5, x6, x7 = inputs[n + 4], inputs[n + 5], inputs[n + 6], inputs[n + 7]
        row0, row1, row2, row3 = weights[n], weights[n + 1], weights[n + 2], weights[n + 3]
        row4, row5, row6, row7 = weights[n + 4], weights[n + 5], weights[n + 6], weights[n + 7]
        for q in range(len(hidden)):
            first = x0 * row0[q] + x1 * row1[q] + x2 * row2[q] + x3 * row3[q]
            hidden[q] += first + x4 * row4[q] + x5 * row5[q] + x6 * row6[q] + x7 * row7[q]
    for n in range(whole, len(inputs)):
        x0, row0 = inputs[n], weights[n]
        for q in range(len(hidden)):
            hidden[q] += x0 * row0[q]
    for q in range(len(hidden)):
        hidden[q] = max(hidden[q], np.float32(LEAK) * hidden[q])


@unordered_kernel
def _activate(hidden: Float32Array, bias: Float32Array) -> None:
    """Bias and leaky rectifier of sums made elsewhere."""
    for q in range(len(hidden)):
        x = hidden[q] + bias[q]
        hidden[q] = max(x, np.float32(LEAK) * x)


@unordered_kernel
def _add_bin(hidden: Float32Array, weights: EnvelopeWeights, log_gain: Float32Array) -> None:
    """Add what the units of one bin say of its subframes."""
    for j in range(SUBFRAMES):
        total, row = weights.bin_out_bias[j] + log_gain[j], weights.bin_out[j]
        for q in range(len(hidden)):
            total += hidden[q] * row[q]
        log_gain[j] = total


@outlined_unordered_kernel
def infer(features: EnvelopeFeatures, weights: EnvelopeWeights) -> None:
    """Gain of each subframe of each bin in nepers, from the features: ``features.log_gain``."""
    hidden, log_gain = features.frame_hidden, flat(features.log_gain)
    hidden_units(features.frame_inputs, weights.frame_hidden, weights.frame_hidden_bias, hidden)
    for n in range(len(log_gain)):
        log_gain[n] = 0
    whole = len(hidden) - len(hidden) % 4
    for q in range(0, whole, 4):
        a, b, c, d = hidden[q], hidden[q + 1], hidden[q + 2], hidden[q + 3]
        row0, row1 = weights.frame_out[q], weights.frame_out[q + 1]
        row2, row3 = weights.frame_out[q + 2], weights.frame_out[q + 3]
        for n in range(len(log_gain)):
            log_gain[n] += a * row0[n] + b * row1[n] + c * row2[n] + d * row3[n]
    for q in range(whole, len(hidden)):
        unit, row = hidden[q], weights.frame_out[q]
        for n in range(len(log_gain)):
            log_gain[n] += unit * row[n]
    hidden = features.bin_hidden
    in_tiles = hidden.shape[1] == TILE
    if in_tiles:
        steps = BIN_FEATURES // PHASES
        for i in range(0, PAIRED_BINS, 2):
            first = i * BIN_FEATURES
            _two_bins(weights.bin_hidden, 0, features.bin_inputs, first, BIN_FEATURES, hidden, 0, TILE, steps)
            for r in range(2):
                _activate(hidden[r], weights.bin_hidden_bias)
                _add_bin(hidden[r], weights, features.log_gain[i + r])
    for i in range(PAIRED_BINS if in_tiles else 0, BINS):
        hidden_units(features.bin_inputs[i], weights.bin_hidden, weights.bin_hidden_bias, hidden[0])
        _add_bin(hidden[0], weights, features.log_gain[i])
