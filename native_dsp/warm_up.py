"""Compile every kernel, or load it from the cache on disk, before sound flows.

A kernel is compiled for the types it is called with. So warming up is calling each kernel once with the types that
the stream will use: contiguous float32 samples, int32 tables, uint8 buffers, int64 numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any

import numpy as np

from native_dsp.coding import adaptive_bits, range_coder
from native_dsp.filters import (
    envelope_filter,
    envelope_network,
    lift,
    low_cut,
    mixdown,
    pitch_filter,
    post_filter,
    temporal_envelope,
    tones,
    voicing,
)
from native_dsp.transforms import companding, fft, polyphase, stft
from native_dsp.transforms.windows import hann_periodic

KERNEL_MODULES: tuple[ModuleType, ...] = tuple(
    member
    for member in tuple(globals().values())
    if isinstance(member, ModuleType) and member.__name__.startswith("native_dsp.")
)
"""The modules imported above, whose kernels are warmed up below."""


def compiled_signatures() -> dict[str, int]:
    """For how many types each kernel is compiled by now; a count that grows while sound flows is a fault."""
    return {
        f"{module.__name__}.{name}": len(member.signatures)
        for module in KERNEL_MODULES
        for name, member in vars(module).items()
        if hasattr(member, "signatures") and member.__module__ == module.__name__
    }


def warm_up(fft_samples: Iterable[int] = (512,)) -> None:
    """Make every kernel ready, the transforms for the sizes given; tens of milliseconds once the cache is filled."""
    for size in fft_samples:
        _warm_up_transform(size)
    _warm_up_companding()
    _warm_up_resampling()
    _warm_up_front_end()
    _warm_up_post_filter()
    _warm_up_coders()


def _warm_up_front_end() -> None:
    samples = np.zeros(8 * low_cut.STEP, np.float32)
    low_cut.cut_lows(low_cut.make_low_cut(24_000), samples)
    lift.raise_frame(lift.make_lift(), -60.0, 1.0, 0.02, True, samples)
    lift.factor(1)
    lift.follow(lift.make_lift().track, -60.0, 1.0, 0.02)
    lift.next_shift(-60.0, 0)
    lift.scale_along(samples, 1.0, 1.0, 0, True)
    _warm_up_tones()
    mixdown.mix_down(mixdown.make_mixdown(24_000), np.zeros((samples.size, 2), np.float32), samples)


def _warm_up_tones() -> None:
    told, frame = np.zeros((1, tones.MOST_TONES, 2)), np.zeros(480, np.float32)
    finder, bank = tones.make_tone_finder(), tones.make_tone_bank(480, 120)
    tones.take_tones(finder, frame, 24_000.0, tones.MOST_TONES, told[0])
    tones.add_tones(bank, told[0], 1.0, 24_000.0, frame)
    tones.add_tones(bank, bank.tones, tones.LOST_SHARE, 24_000.0, frame)
    told[0, 0] = 1_000.0, 0.1
    payload = np.frombuffer(tones.write_tones(told, b"\0"), np.uint8)
    tones.read_tones(payload, payload.size, 1, told)


def _warm_up_transform(fft_samples: int) -> None:
    window = hann_periodic(fft_samples)
    hop_samples = fft_samples // 4
    state = stft.make_stft(fft_samples, hop_samples, window, window, fft_samples)
    hop = np.zeros(hop_samples, np.float32)
    re = np.zeros(state.bins, np.float32)
    im = np.zeros(state.bins, np.float32)
    fft.rfft(state.plan, state.frame, re, im)
    fft.irfft(state.plan, re, im, state.frame)
    stft.analyse(state, hop, re, im)
    stft.synthesise(state, re, im, hop)
    stft.synthesise_frames(state, *stft.analyse_frames(state, hop))


def _warm_up_companding() -> None:
    re, im, companded = np.zeros(2, np.float32), np.zeros(2, np.float32), np.zeros(4, np.float32)
    companding.compand(re, im, companded)
    companding.expand(companded, re, im)


def _warm_up_resampling() -> None:
    state = polyphase.make_polyphase(48_000, 24_000, 2, 0.0005, 50.0)
    polyphase.resample_block(state, np.zeros(2, np.float32), np.zeros(1, np.float32))


def _warm_up_post_filter() -> None:
    frame, decoded = np.zeros(480, np.float32), np.zeros((2, 3 * envelope_network.SPECTRUM_BINS), np.float32)
    parameters = post_filter.neutral_parameters(2, envelope_network.SPECTRUM_BINS)
    state = post_filter.make_post_filter(parameters, 24_000, frame.size, len(decoded))
    pitch, envelope = state.pitch, state.envelope
    pitch_filter.filter_pitch(pitch, 1.0, frame)
    envelope_filter.take_in(envelope, frame)
    envelope_network.store_spectrum(envelope.features, 0, decoded[0])
    envelope_network.frame_features(envelope.features)
    envelope_network.bin_features(
        envelope.band_energy, pitch.correlations, pitch.lags, 0.0, envelope.features.bin_inputs
    )
    envelope_filter.filter_envelope(envelope, parameters.envelope, pitch.correlations, pitch.lags, 0.0, frame)
    weights = temporal_envelope.TemporalWeights(
        *(np.zeros(shape, np.float32) for shape in temporal_envelope.TEMPORAL_WEIGHT_SHAPES)
    )
    temporal = temporal_envelope.make_temporal_filter(24_000, frame.size, weights)
    temporal_envelope.take_in(temporal, frame, envelope.ahead)
    temporal_envelope.filter_temporal_envelope(temporal, weights, pitch.correlations, 0.0, envelope.ahead, frame)
    voicing.voicing(voicing.make_voicing(24_000, frame.size), frame)


def _warm_up_coders() -> None:
    state, buffer = range_coder.make_state(), np.zeros(16, np.uint8)
    cdf: Any = np.array([0, 1 << 15, 1 << 16], np.int32)
    models = adaptive_bits.make_models(1)
    adaptive_bits.adapt(models, 0, adaptive_bits.probability(models, 0) & 1)
    range_coder.encoder_init(state)
    range_coder.encode(state, buffer, 0, 1, 2)
    range_coder.encode_bits(state, buffer, 1, 3)
    range_coder.encode_bit(state, buffer, 1 << 15, 1)
    range_coder.encode_symbol(state, buffer, cdf, 1, 16)
    adaptive_bits.encode_adaptive_bit(state, buffer, models, 0, 1)
    range_coder.encoded_length_256(state)
    range_coder.log2_256(1)
    length = range_coder.encoder_finish(state, buffer)
    range_coder.encoder_finish_marked(state, buffer, 1, 3)
    range_coder.decoder_init(state, buffer, length)
    range_coder.decode_update(state, buffer, range_coder.decode_target(state, 2), 1, 2)
    range_coder.decode_bits(state, buffer, 3)
    range_coder.decode_bit(state, buffer, 1 << 15)
    range_coder.decode_symbol(state, buffer, cdf, 16)
    range_coder.decode_mark(state, buffer, 3)
    adaptive_bits.decode_adaptive_bit(state, buffer, adaptive_bits.make_models(1), 0)
