"""What a stream in a browser is made of: the state that kernels work on, and the constants that all streams share.

Plain named tuples, in place of the objects that hold the same in Python.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding import range_coder
from native_dsp.filters.lift import make_lift
from native_dsp.filters.low_cut import make_low_cut
from native_dsp.filters.noise import COSINES, SINES
from native_dsp.filters.post_filter import PostFilterParameters
from native_dsp.filters.tones import make_tone_bank, make_tone_finder, no_tones
from native_dsp.filters.voicing import make_voicing
from native_dsp.networks import codec_networks as networks
from native_dsp.networks.causal_trunk import Trunk, history_frames
from native_dsp.networks.matrix_product import KINDS, Matrix
from streamcodec.codec.neural import entropy
from streamcodec.codec.neural.model import NeuralModel
from streamcodec.codec.neural.rate_control import CREDIT_S, PRIOR_S
from streamcodec.codec.neural.synthesis import make_background, not_raised
from streamcodec.codec.neural.voicing import START_DBFS
from streamcodec.codec.options import DEFAULT_BITRATE_BPS, DEFAULT_KEY_PERIOD_S
from streamcodec.codec.packet import MAX_FRAMES
from streamcodec.codec.registry import RECENT_PACKETS

PAYLOAD_BYTES = 8192
"""Room for one payload; none of the neural tier comes near it."""
NO_TIMESTAMP, NO_QUALITY = -1, -1


class Parts(NamedTuple):
    """Arguments of a stepped network, as kernels look for them."""

    parts: Any


class Constants(NamedTuple):
    """What both directions share.

    Shape: steps ``[qualities, latents]``; kbps ``[2, MAX_FRAMES, qualities]``, usual rates of packets by themselves
    and in a stream.
    """

    tables: entropy.EntropyTables
    cosines: NDArray[np.float32]
    sines: NDArray[np.float32]
    post_filter: PostFilterParameters
    steps: NDArray[np.float32]
    kbps: NDArray[np.float64]
    envelope_latents: NDArray[np.int64]


class CoderScratch(NamedTuple):
    """What the entropy coder works on; ``context`` goes on from packet to packet."""

    context: NDArray[np.int32]
    prediction: entropy.Prediction
    coder: NDArray[np.int64]
    payload: NDArray[np.uint8]


class DecoderControl(NamedTuple):
    """Each int64 ``[1]``; see :class:`~streamcodec.codec.neural.decoder.NeuralDecoder`."""

    context_frames: NDArray[np.int64]
    expected_timestamp: NDArray[np.int64]
    quality_index: NDArray[np.int64]
    """Of the packet read last."""
    last_quality_index: NDArray[np.int64]
    """Of the frame played last."""
    lost_in_a_row: NDArray[np.int64]
    in_silence: NDArray[np.int64]
    shift: NDArray[np.int64]
    """By how many powers of four the sound of the packet read last was raised."""
    timestamp: NDArray[np.int64]
    """Of the packet read last."""
    last_timestamp: NDArray[np.int64]
    """Of the frame played last."""
    frames_left: NDArray[np.int64]
    """From the next frame, which is missing, to the one behind the gap; 0 where that is not known."""


class DecoderStream(NamedTuple):
    """One stream that is heard.

    Shape: indices int32 ``[MAX_FRAMES, latents]``; rows, of the network, ``[1]``; told, tones of the packet read,
    ``[MAX_FRAMES, MOST_TONES, 2]``; out ``[frame_samples]``. ahead, ahead_told and ahead_context are of the packet
    behind a gap; following, latents of its frame.
    """

    constants: Constants
    coding: CoderScratch
    control: DecoderControl
    indices: NDArray[np.int32]
    network: Parts
    rows: NDArray[np.int64]
    latents: NDArray[np.float32]
    network_quality_index: NDArray[np.int64]
    decoded: NDArray[np.float32]
    background: Any
    stft: Any
    post_filter: Any
    raised: NDArray[np.float32]
    tones: Any
    told: NDArray[np.float64]
    ahead: NDArray[np.int32]
    ahead_told: NDArray[np.float64]
    ahead_context: NDArray[np.int32]
    following: NDArray[np.float32]
    out: NDArray[np.float32]


class EncoderControl(NamedTuple):
    """Settings, then memory; each float64 or int64 ``[1]``."""

    bitrate_bps: NDArray[np.float64]
    frames: NDArray[np.int64]
    inter_coded: NDArray[np.int64]
    dtx: NDArray[np.int64]
    key_period_s: NDArray[np.float64]
    context_frames: NDArray[np.int64]
    since_key: NDArray[np.int64]
    reservoir_bits: NDArray[np.float64]
    coded_bits: NDArray[np.float64]
    usual_bits: NDArray[np.float64]
    dither: NDArray[np.float64]
    elapsed_s: NDArray[np.float64]
    floor_dbfs: NDArray[np.float64]
    quiet_packets: NDArray[np.int64]
    peak_dbfs: NDArray[np.float64]
    power: NDArray[np.float64]
    """Squares of the packet being collected, added up."""
    voiced: NDArray[np.float64]
    """Voiced shares of its frames, added up."""
    tonal: NDArray[np.float64]
    """How many of its frames are steady tones."""
    was_silent: NDArray[np.int64]
    """Whether the packet before it was nothing but zeros, or next to it."""
    shift: NDArray[np.int64]
    """By how many powers of four its sound was raised."""
    quality_index: NDArray[np.int64]
    """Of the packet coded last, as are its flags."""
    flags: NDArray[np.int64]
    recent_packets: NDArray[np.int64]
    """How many have been coded, as far as ``recent`` goes back."""
    copy_quality_index: NDArray[np.int64]
    """Of the redundant copy coded last."""


class EncoderStream(NamedTuple):
    """One stream that is sent.

    Shape: block ``[frame_samples]``; packet ``[MAX_FRAMES, latents]``, latents of the frames collected; copied, those
    of the frames that are coded once more; told, recent_told, copied_told ``[..., MOST_TONES, 2]``, their tones.
    """

    constants: Constants
    coding: CoderScratch
    control: EncoderControl
    network: Parts
    rows: NDArray[np.int64]
    block: NDArray[np.float32]
    real: NDArray[np.float32]
    imaginary: NDArray[np.float32]
    companded: NDArray[np.float32]
    latents: NDArray[np.float32]
    packet: NDArray[np.float32]
    recent: NDArray[np.float32]
    recent_shifts: NDArray[np.int64]
    recent_frames: NDArray[np.int64]
    copied: NDArray[np.float32]
    copy_context: NDArray[np.int32]
    indices: NDArray[np.int32]
    stft: Any
    low_cut: Any
    lift: Any
    voicing: Any
    tones: Any
    told: NDArray[np.float64]
    recent_told: NDArray[np.float64]
    copied_told: NDArray[np.float64]


def make_constants(runtime: NeuralModel) -> Constants:
    """Tables of a model."""
    model = runtime.model
    kbps = [[model.kbps_of_packets(mode, 1 + k) for k in range(MAX_FRAMES)] for mode in ("independent", "stream")]
    return Constants(
        tables=runtime.tables,
        cosines=COSINES,
        sines=SINES,
        post_filter=runtime.post_filter.parameters,
        steps=runtime.tables.step.astype(np.float32) / np.float32(1 << entropy.STEP_BITS),
        kbps=np.array(kbps, np.float64),
        envelope_latents=np.array([runtime.model.config.envelope_latents]),
    )


def make_decoder_stream(
    runtime: NeuralModel, weights: networks.DecoderWeights, constants: Constants
) -> DecoderStream:
    """A stream that has heard nothing."""
    config = runtime.model.config
    hops = config.hops_per_frame
    latents, quality_index = np.zeros((1, 1, config.latents), np.float32), np.zeros((1, 1), np.int64)
    decoded = np.zeros((1, hops, 3 * config.bins), np.float32)
    scratch = networks.make_decoder_scratch(weights, hops, 1)
    packet_history, hop_history = _history(weights.packet_trunk, 1), _history(weights.hop_trunk, hops)
    return DecoderStream(
        constants=constants,
        coding=_make_coding(runtime),
        control=DecoderControl(*(np.array([value]) for value in (0, NO_TIMESTAMP, 0, NO_QUALITY, 0, 0, 0, 0, 0, 0))),
        indices=np.zeros((MAX_FRAMES, config.latents), np.int32),
        network=Parts(
            networks.DecoderStreams(weights, scratch, packet_history, hop_history, latents, quality_index, decoded)
        ),
        rows=np.zeros(1, np.int64),
        latents=latents[0, 0],
        network_quality_index=quality_index[0],
        decoded=decoded[0],
        background=make_background(config.bins),
        stft=runtime.new_stft(),
        post_filter=runtime.post_filter.new_state(),
        raised=not_raised(),
        tones=make_tone_bank(config.frame_samples, config.overlap_samples),
        told=no_tones(MAX_FRAMES),
        ahead=np.zeros((MAX_FRAMES, config.latents), np.int32),
        ahead_told=no_tones(MAX_FRAMES),
        ahead_context=np.zeros((entropy.CONTEXT_FRAMES + 1) * config.latents, np.int32),
        following=np.zeros(config.latents, np.float32),
        out=np.zeros(config.frame_samples, np.float32),
    )


def make_encoder_stream(
    runtime: NeuralModel, weights: networks.EncoderWeights, constants: Constants
) -> EncoderStream:
    """A stream that has sent nothing, with the settings that Python's encoder has unless told otherwise."""
    config = runtime.model.config
    hops = config.hops_per_frame
    companded = np.zeros((1, hops, 2 * config.bins), np.float32)
    latents = np.zeros((1, 1, config.latents), np.float32)
    scratch = networks.make_encoder_scratch(weights, hops, 1)
    hop_history, packet_history = _history(weights.hop_trunk, hops), _history(weights.packet_trunk, 1)
    settings = {"bitrate_bps": DEFAULT_BITRATE_BPS, "key_period_s": DEFAULT_KEY_PERIOD_S, "frames": 1}
    memory = {
        "reservoir_bits": CREDIT_S * DEFAULT_BITRATE_BPS,
        "coded_bits": PRIOR_S * DEFAULT_BITRATE_BPS,
        "usual_bits": PRIOR_S * DEFAULT_BITRATE_BPS,
        "floor_dbfs": -50.0,
        "peak_dbfs": START_DBFS,
    }
    integers = {
        "frames",
        "inter_coded",
        "dtx",
        "context_frames",
        "since_key",
        "quiet_packets",
        "was_silent",
        "shift",
        "quality_index",
        "flags",
        "recent_packets",
        "copy_quality_index",
    }
    start: dict[str, float] = {**settings, **memory}
    control: list[Any] = [
        np.array([start.get(name, 0)], np.int64 if name in integers else np.float64)
        for name in EncoderControl._fields
    ]
    return EncoderStream(
        constants=constants,
        coding=_make_coding(runtime),
        control=EncoderControl(*control),
        network=Parts(networks.EncoderStreams(weights, scratch, hop_history, packet_history, companded, latents)),
        rows=np.zeros(1, np.int64),
        block=np.zeros(config.frame_samples, np.float32),
        real=np.zeros(config.bins, np.float32),
        imaginary=np.zeros(config.bins, np.float32),
        companded=companded[0],
        latents=latents[0, 0],
        packet=np.zeros((MAX_FRAMES, config.latents), np.float32),
        recent=np.zeros((RECENT_PACKETS, MAX_FRAMES, config.latents), np.float32),
        recent_shifts=np.zeros(RECENT_PACKETS, np.int64),
        recent_frames=np.zeros(RECENT_PACKETS, np.int64),
        copied=np.zeros((MAX_FRAMES, config.latents), np.float32),
        copy_context=np.zeros((entropy.CONTEXT_FRAMES + 1) * config.latents, np.int32),
        indices=np.zeros(config.latents, np.int32),
        stft=runtime.new_stft(),
        low_cut=make_low_cut(config.sample_rate_hz),
        lift=make_lift(),
        voicing=make_voicing(config.sample_rate_hz, config.frame_samples),
        tones=make_tone_finder(),
        told=no_tones(MAX_FRAMES),
        recent_told=no_tones(RECENT_PACKETS, MAX_FRAMES),
        copied_told=no_tones(MAX_FRAMES),
    )


def _make_coding(runtime: NeuralModel) -> CoderScratch:
    config = runtime.model.config
    return CoderScratch(
        context=np.zeros((entropy.CONTEXT_FRAMES + 1) * config.latents, np.int32),
        prediction=entropy.make_prediction(config.latents, config.entropy_hidden),
        coder=range_coder.make_state(),
        payload=np.zeros(PAYLOAD_BYTES, np.uint8),
    )


def _history(trunk: Trunk, frames: int) -> NDArray[np.float32]:
    return np.zeros((1, history_frames(trunk, frames)[-1].stop, trunk.taps.shape[2]), np.float32)


def without_denormals(weights: Any) -> Any:
    """The same weights, but that 16-bit numbers too small to be normal are zero.

    They are widened by way of float32 denormals, which some browsers' audio threads take for zero and others do not.
    """
    if isinstance(weights, Matrix):
        if KINDS[weights.kind] != "halves":
            return weights
        bits = weights.weights.view(np.uint16).copy()
        bits[(bits & 0x7C00) == 0] = 0
        return weights._replace(weights=bits.view(np.int8))
    if isinstance(weights, tuple):
        return type(weights)(*map(without_denormals, weights))
    return weights
