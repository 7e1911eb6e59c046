"""The neural tier's two networks, each stepped by one packet in one call.

The forward passes of ``streamcodec.models.neural``, which is the reference, on packed weights and carried histories.
Streams are stepped a few at a time, so that weights are read once for all of them; nothing is allocated.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.jit import kernel, outlined_kernel
from native_dsp.kernel_arguments import KernelArguments
from native_dsp.networks.causal_trunk import Norm, Trunk, TrunkScratch, make_trunk_scratch, normalise_rows, step_trunk
from native_dsp.networks.elementary import sigmoid, softplus
from native_dsp.networks.matrix_product import Matrix, Workspace, make_workspace, multiply

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]

STREAMS_AT_ONCE = 8
ENVELOPE_FLOOR = np.float32(1e-3)
_TWO = np.float32(2)
# Literals would have the callees compiled once more, for these numbers alone.
_ONLY, _ONE_FRAME = np.int64(0), np.int64(1)


class EncoderWeights(NamedTuple):
    """What the encoder multiplies by; ``mel`` has a row for each band and no bias."""

    mel: Matrix
    enter: Matrix
    hop_trunk: Trunk
    down: Matrix
    packet_trunk: Trunk
    leave: Matrix
    envelope_path: Matrix
    waveform_path: Matrix


class EncoderScratch(NamedTuple):
    """Scratch of a few streams' packets; hops of a stream are consecutive rows.

    Shape: spectra ``[streams, hops * 2 * bins]``; power ``[streams * hops, bins]``; envelope ``[streams * hops,
    mel_bands]`` and the same memory, envelopes ``[streams, hops * mel_bands]``; features ``[streams * hops, 2 * bins
    + mel_bands]``; hop ``[streams * hops, dim]`` and the same memory, hops ``[streams, hops * dim]``; packet
    ``[streams, dim]``; learned ``[streams, latents]``, and what the two paths add to parts of it.
    """

    spectra: Float32Array
    power: Float32Array
    envelope: Float32Array
    envelopes: Float32Array
    features: Float32Array
    hop: Float32Array
    hops: Float32Array
    packet: Float32Array
    learned: Float32Array
    from_envelope: Float32Array
    from_waveform: Float32Array
    hop_trunk: TrunkScratch
    packet_trunk: TrunkScratch
    work: Workspace


class DecoderWeights(NamedTuple):
    """What the decoder multiplies by.

    Shape: input_scale ``[latents]``; level_embedding ``[qualities + 1, dim]``, the last row for lost packets.
    """

    input_scale: Float32Array
    level_embedding: Float32Array
    enter: Matrix
    packet_trunk: Trunk
    up: Matrix
    hop_trunk: Trunk
    norm: Norm
    gain: Matrix
    add: Matrix
    noise: Matrix
    waveform_path: Matrix


class DecoderScratch(NamedTuple):
    """Scratch of a few streams' packets; hops of a stream are consecutive rows.

    Shape: latents ``[streams, latents]``; waveform ``[streams, waveform_latents]``; packet ``[streams, dim]``; hop
    ``[streams * hops, dim]`` and the same memory, hops ``[streams, hops * dim]``; gain, noise ``[streams * hops,
    bins]``; add ``[streams * hops, 2 * bins]``; linear ``[streams, hops * 2 * bins]``.
    """

    latents: Float32Array
    waveform: Float32Array
    packet: Float32Array
    hop: Float32Array
    hops: Float32Array
    gain: Float32Array
    add: Float32Array
    noise: Float32Array
    linear: Float32Array
    packet_trunk: TrunkScratch
    hop_trunk: TrunkScratch
    work: Workspace


class EncoderStreams(NamedTuple):
    """All that steps of the encoder read and write.

    Shape: histories ``[streams, frames of all blocks, dim]``; companded ``[streams, hops, 2 * bins]``; latents
    ``[streams, 1, latents]``.
    """

    weights: EncoderWeights
    scratch: EncoderScratch
    hop_history: Float32Array
    packet_history: Float32Array
    companded: Float32Array
    latents: Float32Array


class DecoderStreams(NamedTuple):
    """All that steps of the decoder read and write.

    Shape: histories ``[streams, frames of all blocks, dim]``; latents ``[streams, 1, latents]``; quality_index
    ``[streams, 1]``, one past the last where a packet was lost; out ``[streams, hops, 3 * bins]``.
    """

    weights: DecoderWeights
    scratch: DecoderScratch
    packet_history: Float32Array
    hop_history: Float32Array
    latents: Float32Array
    quality_index: Int64Array
    out: Float32Array


def make_encoder_scratch(weights: EncoderWeights, hops: int, streams: int) -> EncoderScratch:
    """Scratch for packets of so many hops; more streams than are stepped at once need no more of it."""
    w, streams = weights, min(streams, STREAMS_AT_ONCE)
    rows, bins, bands = streams * hops, w.mel.inputs, w.mel.outputs
    envelope, hop = _zeros(rows, bands), _zeros(rows, w.enter.outputs)
    matrices = [w.mel, w.enter, w.down, w.leave, w.envelope_path, w.waveform_path]
    work = make_workspace(
        [*matrices, w.hop_trunk.widen, w.hop_trunk.narrow, w.packet_trunk.widen, w.packet_trunk.narrow], rows
    )
    return EncoderScratch(
        spectra=_zeros(streams, hops * 2 * bins),
        power=_zeros(rows, bins),
        envelope=envelope,
        envelopes=envelope.reshape(streams, -1),
        features=_zeros(rows, 2 * bins + bands),
        hop=hop,
        hops=hop.reshape(streams, -1),
        packet=_zeros(streams, w.down.outputs),
        learned=_zeros(streams, w.leave.outputs),
        from_envelope=_zeros(streams, w.envelope_path.outputs),
        from_waveform=_zeros(streams, w.waveform_path.outputs),
        hop_trunk=make_trunk_scratch(w.hop_trunk, rows),
        packet_trunk=make_trunk_scratch(w.packet_trunk, streams),
        work=work,
    )


def make_decoder_scratch(weights: DecoderWeights, hops: int, streams: int) -> DecoderScratch:
    """Scratch for packets of so many hops; more streams than are stepped at once need no more of it."""
    w, streams = weights, min(streams, STREAMS_AT_ONCE)
    rows, bins = streams * hops, w.noise.outputs
    hop = _zeros(rows, w.gain.inputs)
    matrices = [w.enter, w.up, w.gain, w.add, w.noise, w.waveform_path]
    work = make_workspace(
        [*matrices, w.hop_trunk.widen, w.hop_trunk.narrow, w.packet_trunk.widen, w.packet_trunk.narrow], rows
    )
    return DecoderScratch(
        latents=_zeros(streams, w.enter.inputs),
        waveform=_zeros(streams, w.waveform_path.inputs),
        packet=_zeros(streams, w.enter.outputs),
        hop=hop,
        hops=hop.reshape(streams, -1),
        gain=_zeros(rows, bins),
        add=_zeros(rows, 2 * bins),
        noise=_zeros(rows, bins),
        linear=_zeros(streams, hops * 2 * bins),
        packet_trunk=make_trunk_scratch(w.packet_trunk, streams),
        hop_trunk=make_trunk_scratch(w.hop_trunk, rows),
        work=work,
    )


def _zeros(rows: int, columns: int) -> Float32Array:
    return np.zeros((rows, columns), np.float32)


@kernel
def step_encoder(arguments: KernelArguments, rows: Int64Array) -> None:
    """One packet of each of these streams, at most :data:`STREAMS_AT_ONCE`; what they remember goes on.

    ``arguments`` holds :class:`EncoderStreams`.

    Shape: rows ``[n]``.
    """
    weights, scratch, hop_history, packet_history, companded, latents = arguments.parts
    count, hops, work = len(rows), companded.shape[1], scratch.work
    features, envelope, hop, packet = scratch.features, scratch.envelope, scratch.hop, scratch.packet
    _gather_spectra(companded, rows, scratch.spectra, scratch.power, features)
    multiply(weights.mel, _ONLY, scratch.power, count * hops, work, envelope)
    _take_logarithms(envelope, count * hops, features)
    multiply(weights.enter, _ONLY, features, count * hops, work, hop)
    step_trunk(weights.hop_trunk, hop_history, rows, hops, hop, scratch.hop_trunk, work)
    multiply(weights.down, _ONLY, scratch.hops, count, work, packet)
    step_trunk(weights.packet_trunk, packet_history, rows, _ONE_FRAME, packet, scratch.packet_trunk, work)
    multiply(weights.leave, _ONLY, packet, count, work, scratch.learned)
    multiply(weights.envelope_path, _ONLY, scratch.envelopes, count, work, scratch.from_envelope)
    multiply(weights.waveform_path, _ONLY, scratch.spectra, count, work, scratch.from_waveform)
    _add_paths(scratch.learned, scratch.from_envelope, scratch.from_waveform, rows, latents)


@outlined_kernel
def _gather_spectra(
    companded: Float32Array, rows: Int64Array, spectra: Float32Array, power: Float32Array, features: Float32Array
) -> None:
    """What the streams in step give, side by side: as it is, its power, and before its envelope."""
    hops, bins = companded.shape[1], power.shape[1]
    for s in range(len(rows)):
        for h in range(hops):
            spectrum, packet = companded[rows[s], h], spectra[s, 2 * bins * h :]
            imaginary = spectrum[bins:]
            hop_power, hop_features = power[s * hops + h], features[s * hops + h]
            for k in range(2 * bins):
                hop_features[k] = spectrum[k]
                packet[k] = spectrum[k]
            for k in range(bins):
                hop_power[k] = spectrum[k] * spectrum[k] + imaginary[k] * imaginary[k]


@outlined_kernel
def _take_logarithms(envelope: Float32Array, rows: int, features: Float32Array) -> None:
    """Powers of bands become their logarithms, which are the last features."""
    bands = envelope.shape[1]
    for r in range(rows):
        row, last = envelope[r], features[r, features.shape[1] - bands :]
        for k in range(bands):
            row[k] = np.log(row[k] + ENVELOPE_FLOOR)
            last[k] = row[k]


@outlined_kernel
def _add_paths(
    learned: Float32Array, envelope: Float32Array, waveform: Float32Array, rows: Int64Array, latents: Float32Array
) -> None:
    """The linear paths of envelope and waveform, one after the other, plus what was learned on top."""
    split = envelope.shape[1]
    for s in range(len(rows)):
        out = latents[rows[s], 0]
        for k in range(split):
            out[k] = learned[s, k] + envelope[s, k]
        for k in range(split, len(out)):
            out[k] = learned[s, k] + waveform[s, k - split]


@kernel
def step_decoder(arguments: KernelArguments, rows: Int64Array) -> None:
    """One packet of each of these streams, at most :data:`STREAMS_AT_ONCE`; what they remember goes on.

    ``arguments`` holds :class:`DecoderStreams`.

    Shape: rows ``[n]``.
    """
    weights, scratch, packet_history, hop_history, latents, quality_index, out = arguments.parts
    for s in range(len(rows)):
        if not 0 <= quality_index[rows[s], 0] < len(weights.level_embedding):
            raise ValueError("no such quality index")
    count, hops, work = len(rows), out.shape[1], scratch.work
    hop, packet = scratch.hop, scratch.packet
    _gather_latents(latents, rows, weights.input_scale, scratch.latents, scratch.waveform)
    multiply(weights.enter, _ONLY, scratch.latents, count, work, packet)
    _add_embeddings(weights.level_embedding, quality_index, rows, packet)
    step_trunk(weights.packet_trunk, packet_history, rows, _ONE_FRAME, packet, scratch.packet_trunk, work)
    multiply(weights.up, _ONLY, packet, count, work, scratch.hops)
    step_trunk(weights.hop_trunk, hop_history, rows, hops, hop, scratch.hop_trunk, work)
    normalise_rows(weights.norm, hop, count * hops)
    multiply(weights.gain, _ONLY, hop, count * hops, work, scratch.gain)
    multiply(weights.add, _ONLY, hop, count * hops, work, scratch.add)
    multiply(weights.noise, _ONLY, hop, count * hops, work, scratch.noise)
    multiply(weights.waveform_path, _ONLY, scratch.waveform, count, work, scratch.linear)
    _put_together(scratch.linear, scratch.gain, scratch.add, scratch.noise, rows, out)


@outlined_kernel
def _gather_latents(
    latents: Float32Array, rows: Int64Array, scale: Float32Array, scaled: Float32Array, waveform: Float32Array
) -> None:
    """What the streams in step give, side by side: scaled for the network, and as it is for the linear path."""
    split = scaled.shape[1] - waveform.shape[1]
    for s in range(len(rows)):
        given, row, last = latents[rows[s], 0], scaled[s], waveform[s]
        for k in range(len(row)):
            row[k] = given[k] * scale[k]
        for k in range(len(last)):
            last[k] = given[split + k]


@outlined_kernel
def _add_embeddings(embedding: Float32Array, quality_index: Int64Array, rows: Int64Array, x: Float32Array) -> None:
    """Tell the network each stream's quality index."""
    for s in range(len(rows)):
        row, own = x[s], embedding[quality_index[rows[s], 0]]
        for k in range(len(row)):
            row[k] += own[k]


@outlined_kernel
def _put_together(
    linear: Float32Array,
    gain: Float32Array,
    add: Float32Array,
    noise: Float32Array,
    rows: Int64Array,
    out: Float32Array,
) -> None:
    """The linear path, scaled and corrected, and the gain of the noise."""
    hops, bins = out.shape[1], noise.shape[1]
    for s in range(len(rows)):
        for h in range(hops):
            r = s * hops + h
            path, factor, change, noisy = linear[s, 2 * bins * h :], gain[r], add[r], noise[r]
            for k in range(bins):
                factor[k] = _TWO * sigmoid(factor[k])
            row = out[rows[s], h]
            for k in range(bins):
                row[k] = path[k] * factor[k] + change[k]
            row, path, change = row[bins:], path[bins:], change[bins:]
            for k in range(bins):
                row[k] = path[k] * factor[k] + change[k]
            row = row[bins:]
            for k in range(bins):
                row[k] = softplus(noisy[k])
