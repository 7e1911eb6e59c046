"""What JavaScript calls to decode the waveform tiers; headers and checksums are its own, as is lossless concealment.

Each function takes the address of a stream's table (:mod:`~streamcodec.web.table_view`) and returns an integer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray  # type: ignore[attr-defined,unused-ignore]
from numba.core import types

from native_dsp.coding.adaptive_bits import decode_adaptive_bit
from native_dsp.coding.band_energies import hints_of_energies, widths_of_energies
from native_dsp.coding.band_energy_coder import decode_band_energies, store_band_energies
from native_dsp.coding.coefficient_coder import decode_coefficients, remember_block
from native_dsp.coding.lossless_block import decode_samples, encode_samples
from native_dsp.coding.quantiser import dequantise, fill_zeros
from native_dsp.coding.range_coder import decoder_init
from native_dsp.transforms.mdct import mdct_backward
from native_dsp.transforms.time_splitting import join_spectrum
from streamcodec.codec.near_lossless.concealment import begin_lost_block, conceal, hear
from streamcodec.codec.near_lossless.format import SMALLEST_STEP_LOG2, STEPS_PER_OCTAVE
from streamcodec.web.cross_compile import Exports
from streamcodec.web.table_view import make_table_view
from streamcodec.web.waveform_streams import (
    BLOCK_SAMPLES,
    make_exact_stream,
    make_spectrum_stream,
    make_transform_stream,
)

ADDRESS, INTEGER = types.voidptr, types.int32


def lossless_exports() -> Exports:
    """Functions on an :class:`~streamcodec.web.waveform_streams.ExactStream`."""
    view = make_table_view(make_exact_stream(1))

    def lossless_decode(table: Any, length: int, count: int, bits: int, shift: int) -> int:
        """``count`` samples of the coded payload of ``length`` bytes that lies in the stream."""
        s = view(table)
        samples = s.samples[:count]
        decode_samples(s.coder, s.payload[:length], s.state, samples, np.int64(bits))
        for n in range(count):
            for channel in range(samples.shape[1]):
                samples[n, channel] <<= shift
        return 0

    def lossless_follow(table: Any, count: int, bits: int, shift: int) -> int:
        """Take in ``count`` samples that came uncoded and lie in the stream; they are shifted in place."""
        s = view(table)
        samples = s.samples[:count]
        for n in range(count):
            for channel in range(samples.shape[1]):
                samples[n, channel] >>= shift
        encode_samples(s.coder, s.payload[:1], s.state, samples, np.int64(bits))
        return 0

    a, i = ADDRESS, INTEGER
    return {"lossless_decode": (lossless_decode, [a, i, i, i, i]), "lossless_follow": (lossless_follow, [a, i, i, i])}


def spectrum_exports() -> Exports:
    """Functions on a :class:`~streamcodec.web.waveform_streams.SpectrumStream`."""
    view = make_table_view(make_spectrum_stream(24_000, 1, True))

    def spectrum_forget(table: Any) -> int:
        """As ``SpectrumContexts.forget``."""
        s = view(table)
        s.coefficients.last[:] = 0
        s.coefficients.before[:] = 0
        s.coefficients.mean[:] = 0
        s.energies.last[:] = 0
        s.energies.before[:] = 0
        s.energies.mean[:] = 0
        for k in range(len(s.split_models)):
            s.split_models[k, 0] = s.split_models[k, 1] = 1 << 15
            s.split_models[k, 2] = 0
        s.was_split[0] = 0
        return 0

    def spectrum_decode(table: Any, length: int, shaped: int, splits: int, index: int, key: int, seed: int) -> int:
        """Spectra of the payload of ``length`` bytes that lies in the stream; whether they are split in time.

        As ``SpectrumContexts.decode``, but for joining them.
        """
        s = view(table)
        channels = len(s.spectra)
        s.concealment.control.lost_in_a_row[0] = 0
        if length == 0:
            s.spectra[:] = 0
            s.coefficients.magnitudes[:] = 0
            remember_block(s.coefficients)
            s.levels[:] = 0
            store_band_energies(s.energies, s.levels)
            return 0
        payload = s.payload[:length]
        decoder_init(s.coder, payload, np.int64(length))
        split = np.int64(0)
        if splits:
            split = decode_adaptive_bit(s.coder, payload, s.split_models, s.was_split[0])
            s.was_split[0] = split
        step_log2 = index / STEPS_PER_OCTAVE + SMALLEST_STEP_LOG2
        step = 2.0**step_log2
        s.levels[:] = 0
        s.hints[:] = 0
        s.quantised[:] = 0
        if shaped:
            decode_band_energies(s.coder, payload, s.energies, s.levels, key != 0)
            hints_of_energies(s.bands, s.levels, step_log2, s.hints)
        decode_coefficients(s.coder, payload, s.coefficients, s.quantised, s.hints, key != 0)
        for channel in range(channels):
            if shaped:
                widths_of_energies(s.bands, s.levels[channel], step, s.widths[channel])
            else:
                s.widths[channel, :] = step
            dequantise(s.quantised[channel], s.bands.edges, s.widths[channel], s.spectra[channel])
            if shaped:
                fill_zeros(
                    s.quantised[channel],
                    s.bands.edges,
                    s.widths[channel],
                    s.levels[channel],
                    (np.int64(seed) & 0xFFFFFFFF) + channel,
                    s.spectra[channel],
                )
        answer: int = np.int32(split)
        return answer

    def spectrum_lose(table: Any) -> int:
        """One more block is lost, before its channels are made up."""
        begin_lost_block(view(table).concealment)
        return 0

    a, i = ADDRESS, INTEGER
    return {
        "spectrum_forget": (spectrum_forget, [a]),
        "spectrum_lose": (spectrum_lose, [a]),
        "spectrum_decode": (spectrum_decode, [a, i, i, i, i, i, i]),
    }


def transform_exports() -> Exports:
    """Functions on a :class:`~streamcodec.web.waveform_streams.TransformStream`, for every length of blocks."""
    exports: dict[str, Any] = {}
    for block_samples in BLOCK_SAMPLES:
        exports.update(_transforms(block_samples))
    return exports


def _transforms(block_samples: int) -> Exports:
    view = make_table_view(make_transform_stream(block_samples, True))
    view_spectra = make_table_view(make_spectrum_stream(24_000, 1, True))
    shape = (block_samples,)

    def join(table: Any, spectrum: Any) -> int:
        """The short spectra that lie there as the one of the whole block."""
        s = view(table)
        spectra = carray(spectrum, shape, np.float32)
        join_spectrum(s.splitter, spectra, s.whole)
        for k in range(len(s.whole)):
            spectra[k] = s.whole[k]
        return 0

    def block(table: Any, spectrum: Any, spectra: Any, channel: int) -> int:
        """Samples of the block before the one whose spectrum lies there, into ``out``; ``spectra``: their table."""
        s = view(table)
        mdct_backward(s.mdct, carray(spectrum, shape, np.float32), s.out)
        hear(view_spectra(spectra).concealment, s.mdct, channel, s.out)
        return 0

    def made_up(table: Any, spectrum: Any, spectra: Any, channel: int) -> int:
        """The spectrum of a channel of a lost block, in place of the one before, which lies there."""
        conceal(view_spectra(spectra).concealment, view(table).mdct, channel, carray(spectrum, shape, np.float32))
        return 0

    a, i = ADDRESS, INTEGER
    return {
        f"join_{block_samples}": (join, [a, a]),
        f"block_{block_samples}": (block, [a, a, a, i]),
        f"conceal_{block_samples}": (made_up, [a, a, a, i]),
    }
