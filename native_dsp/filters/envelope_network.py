"""The spectral-envelope post-filter's network: how loud each low band of a decoded packet is likely to have been.

It has two parts whose answers add up. One looks at a single band, the same for all of them: its levels and its
neighbours', as they were measured in what is about to be played. The other looks at the packet as a whole: at what
the decoder meant, spectrum and noise, before noise was drawn and frames were laid over each other. Both are fitted by
``streamcodec.training.level_fit``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import kernel, unordered_kernel

Float32Array = NDArray[np.float32]

BLOCKS = 4
"""Blocks of 5 ms in a packet: the network has a level for each."""
PAST_BLOCKS = 8
REACH = 4
"""How many bins to either side the network sees."""
LOWEST_BIN, TOP_BIN = 6, 37
BINS = TOP_BIN - LOWEST_BIN
COLUMNS = BINS + 2 * REACH
"""The bins whose levels are measured: those that are changed, and what the network sees beside them."""
LARGEST_DIFFERENCE = 4.0
"""Nepers that the network hears of at most."""
USUAL_LAG = 150.0
LEAK = 0.1
INPUTS = (PAST_BLOCKS + BLOCKS) * (2 * REACH + 1) + BLOCKS + 4
"""Levels around a bin, likeness of each block, lag, frequency, fineness of the quality index, loudness."""
HOPS = 2
STORED_BINS = 96
"""Bins of the decoder's spectra that the network sees, from 0 Hz on."""
STORED_FLOOR, STORED_MIDDLE = 0.01, 2.5
"""Companded amplitudes below which it is all the same; nepers added so that inputs lie about 0."""
PACKET_INPUTS = HOPS * 2 * STORED_BINS
"""Amplitude and noise of every bin in every hop."""


class EnvelopeWeights(NamedTuple):
    """The network's weights; without hidden units there is no network, and nothing is changed.

    Shape: hidden ``[INPUTS, hidden]``, hidden_bias ``[hidden]``, out ``[BLOCKS, hidden]``, out_bias ``[BLOCKS]`` of a
    single bin; packet_hidden ``[PACKET_INPUTS, packet_hidden]``, packet_hidden_bias ``[packet_hidden]``, packet_out
    ``[packet_hidden, BINS * BLOCKS]`` of the packet.
    """

    hidden: Float32Array
    hidden_bias: Float32Array
    out: Float32Array
    out_bias: Float32Array
    packet_hidden: Float32Array
    packet_hidden_bias: Float32Array
    packet_out: Float32Array


class EnvelopeFeatures(NamedTuple):
    """What the network is asked about, and room for the answer; of one stream.

    Shape: meant ``[HOPS, 3, STORED_BINS]``, what the decoder gave out; packet_inputs ``[PACKET_INPUTS]``, inputs
    ``[BINS, INPUTS]``; packet_hidden, hidden; answer ``[BINS, BLOCKS]``, nepers.
    """

    stored: Float32Array
    packet_inputs: Float32Array
    inputs: Float32Array
    packet_hidden: Float32Array
    hidden: Float32Array
    answer: Float32Array


def envelope_weight_shapes(hidden: int, packet_hidden: int) -> list[tuple[int, ...]]:
    """Shapes of the weights, in their order, for so many hidden units of each part."""
    of_bin = [(INPUTS, hidden), (hidden,), (BLOCKS, hidden), (BLOCKS,)]
    return [*of_bin, (PACKET_INPUTS, packet_hidden), (packet_hidden,), (packet_hidden, BINS * BLOCKS)]


def no_envelope_weights() -> EnvelopeWeights:
    """Weights of a model that has none."""
    return EnvelopeWeights(*(np.zeros(shape, np.float32) for shape in envelope_weight_shapes(0, 0)))


def make_envelope_features(hops: int, bins: int, weights: EnvelopeWeights) -> EnvelopeFeatures:
    """Nothing meant yet, by a decoder of so many hops a packet and bins; raises ValueError if it has not enough."""
    hidden, packet_hidden = weights.hidden_bias.size, weights.packet_hidden_bias.size
    if hidden and (hops != HOPS or bins < STORED_BINS):
        raise ValueError(f"packets must be of {HOPS} hops of {STORED_BINS} bins or more, got {hops} of {bins}")
    return EnvelopeFeatures(
        stored=np.zeros((hops, 3, min(bins, STORED_BINS)), np.float32),
        packet_inputs=np.zeros(PACKET_INPUTS, np.float32),
        inputs=np.zeros((BINS, INPUTS), np.float32),
        packet_hidden=np.zeros(packet_hidden, np.float32),
        hidden=np.zeros(hidden, np.float32),
        answer=np.zeros((BINS, BLOCKS), np.float32),
    )


@kernel
def store_spectrum(features: EnvelopeFeatures, hop: int, decoded: Float32Array) -> None:
    """Remember what the decoder gave out for one hop.

    Shape: decoded ``[3 * bins]``, real and imaginary parts and gain of the noise, companded.
    """
    stored = features.stored[hop]
    bins = len(decoded) // 3
    for part in range(3):
        for k in range(stored.shape[1]):
            stored[part, k] = decoded[part * bins + k]


@unordered_kernel
def describe_packet(features: EnvelopeFeatures) -> None:
    """What the network is told of the packet as a whole: ``features.packet_inputs``."""
    stored, inputs = features.stored, features.packet_inputs
    floor, middle = np.float32(STORED_FLOOR), np.float32(STORED_MIDDLE)
    n = 0
    for hop in range(HOPS):
        real, imaginary, noise = stored[hop, 0], stored[hop, 1], stored[hop, 2]
        for k in range(STORED_BINS):
            power = real[k] * real[k] + imaginary[k] * imaginary[k]
            inputs[n + k] = np.float32(0.5) * np.log(power + floor * floor) + middle
            inputs[n + STORED_BINS + k] = np.log(noise[k] + floor) + middle
        n += 2 * STORED_BINS


@unordered_kernel
def describe_bins(
    levels: Float32Array, correlations: Float32Array, lags: NDArray[np.int64], quality: float, inputs: Float32Array
) -> None:
    """What the network is told of each bin.

    Shape: levels ``[PAST_BLOCKS + BLOCKS, COLUMNS]``, nepers; correlations and lags ``[BLOCKS]``, as the pitch filter
    left them -> inputs ``[BINS, INPUTS]``.
    """
    lag = np.float32(0)
    for j in range(BLOCKS):
        lag += np.float32(lags[j]) * np.float32(1.0 / BLOCKS)
    octaves = np.log2(lag / np.float32(USUAL_LAG))
    for i in range(len(inputs)):
        row, middle = inputs[i], i + REACH
        loudness = np.float32(0)
        for j in range(BLOCKS):
            loudness += levels[PAST_BLOCKS + j, middle] * np.float32(1.0 / BLOCKS)
        n = 0
        for block in range(PAST_BLOCKS + BLOCKS):
            for k in range(middle - REACH, middle + REACH + 1):
                difference = levels[block, k] - loudness
                row[n] = min(max(difference, np.float32(-LARGEST_DIFFERENCE)), np.float32(LARGEST_DIFFERENCE))
                n += 1
        for j in range(BLOCKS):
            row[n + j] = correlations[j]
        row[n + BLOCKS] = octaves
        row[n + BLOCKS + 1] = np.float32(0.05) * np.float32(LOWEST_BIN + i)
        row[n + BLOCKS + 2] = np.float32(2) * np.float32(quality)
        row[n + BLOCKS + 3] = np.float32(0.25) * loudness


@unordered_kernel
def _hidden_units(inputs: Float32Array, weights: Float32Array, bias: Float32Array, hidden: Float32Array) -> None:
    """A layer with a leaky rectifier after it.

    Shape: inputs ``[n]``, n a multiple of 4, weights ``[n, hidden]``, bias ``[hidden]`` -> hidden.
    """
    for q in range(len(hidden)):
        hidden[q] = bias[q]
    # Four inputs at a time: sums go to memory and back a quarter as often.
    for n in range(0, len(inputs), 4):
        x0, x1, x2, x3 = inputs[n], inputs[n + 1], inputs[n + 2], inputs[n + 3]
        row0, row1, row2, row3 = weights[n], weights[n + 1], weights[n + 2], weights[n + 3]
        for q in range(len(hidden)):
            hidden[q] += x0 * row0[q] + x1 * row1[q] + x2 * row2[q] + x3 * row3[q]
    for q in range(len(hidden)):
        hidden[q] = max(hidden[q], np.float32(LEAK) * hidden[q])


@unordered_kernel
def infer(features: EnvelopeFeatures, weights: EnvelopeWeights) -> None:
    """Nepers by which each block of each bin should change, from what has been described: ``features.answer``."""
    hidden, answer = features.packet_hidden, features.answer.ravel()
    _hidden_units(features.packet_inputs, weights.packet_hidden, weights.packet_hidden_bias, hidden)
    for n in range(len(answer)):
        answer[n] = 0
    for q in range(len(hidden)):
        unit, row = hidden[q], weights.packet_out[q]
        for n in range(len(answer)):
            answer[n] += unit * row[n]
    hidden = features.hidden
    for i in range(BINS):
        _hidden_units(features.inputs[i], weights.hidden, weights.hidden_bias, hidden)
        for j in range(BLOCKS):
            total, row = weights.out_bias[j] + features.answer[i, j], weights.out[j]
            for q in range(len(hidden)):
                total += hidden[q] * row[q]
            features.answer[i, j] = total
