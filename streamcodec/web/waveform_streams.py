"""What streams of the waveform tiers are made of in a browser, as far as shapes and constants go."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding.adaptive_bits import make_models
from native_dsp.coding.band_energies import Bands
from native_dsp.coding.band_energy_coder import BandEnergyCoder, make_band_energy_coder
from native_dsp.coding.coefficient_coder import CoefficientCoder, make_coefficient_coder
from native_dsp.coding.lossless_block import LosslessState, make_lossless_state
from native_dsp.coding.range_coder import make_state
from native_dsp.transforms.mdct import MdctState, make_mdct
from native_dsp.transforms.time_splitting import TimeSplitter, make_splitter
from streamcodec.codec.lossless.format import MAX_BLOCK_SAMPLES
from streamcodec.codec.near_lossless.concealment import Concealment, make_concealment
from streamcodec.codec.near_lossless.format import RATES_HZ, NearLosslessFormat, default_block_samples
from streamcodec.codec.near_lossless.learnt_coefficients import learnt_models
from streamcodec.codec.near_lossless.spectra import Layout
from streamcodec.codec.packet import MAX_PAYLOAD_BYTES

CHANNELS = (1, 2)
BLOCK_SAMPLES = tuple(sorted({default_block_samples(rate_hz) for rate_hz in RATES_HZ}))
"""Lengths of near-lossless blocks that there are transforms for: those that encoders make at the usual rates."""


class ExactStream(NamedTuple):
    """A lossless stream. Shape: payload ``[MAX_PAYLOAD_BYTES]``; samples ``[MAX_BLOCK_SAMPLES, channels]``."""

    state: LosslessState
    coder: NDArray[np.int64]
    payload: NDArray[np.uint8]
    samples: NDArray[np.int32]


class SpectrumStream(NamedTuple):
    """The coded side of a near-lossless stream.

    Shape: quantised and hints ``[channels, coded]``; levels and widths ``[channels, bands]``; spectra
    ``[channels, block_samples]``; was_split ``[1]``.
    """

    bands: Bands
    coefficients: CoefficientCoder
    energies: BandEnergyCoder
    split_models: NDArray[np.int32]
    was_split: NDArray[np.int64]
    coder: NDArray[np.int64]
    payload: NDArray[np.uint8]
    quantised: NDArray[np.int32]
    hints: NDArray[np.int32]
    levels: NDArray[np.int32]
    widths: NDArray[np.float64]
    spectra: NDArray[np.float32]
    concealment: Concealment


class TransformStream(NamedTuple):
    """The transform of one channel. Shape: whole and out ``[block_samples]``."""

    mdct: MdctState
    splitter: TimeSplitter
    whole: NDArray[np.float32]
    out: NDArray[np.float32]


def make_exact_stream(channels: int) -> ExactStream:
    """A lossless stream at a key block."""
    return ExactStream(
        state=make_lossless_state(channels),
        coder=make_state(),
        payload=np.zeros(MAX_PAYLOAD_BYTES, np.uint8),
        samples=np.zeros((MAX_BLOCK_SAMPLES, channels), np.int32),
    )


def make_spectrum_stream(rate_hz: int, channels: int, shaped: bool) -> SpectrumStream:
    """A near-lossless stream at a key block."""
    form = NearLosslessFormat(rate_hz, channels, default_block_samples(rate_hz))
    layout = Layout.of(form, shaped)
    bands = len(layout.bands.edges) - 1
    coded = (channels, layout.coded_coefficients)
    return SpectrumStream(
        bands=layout.bands,
        coefficients=make_coefficient_coder(*coded, layout.learnt_coefficients),
        energies=make_band_energy_coder(channels, bands, learnt_models().energies),
        split_models=make_models(2),
        was_split=np.zeros(1, np.int64),
        coder=make_state(),
        payload=np.zeros(MAX_PAYLOAD_BYTES, np.uint8),
        quantised=np.zeros(coded, np.int32),
        hints=np.zeros(coded, np.int32),
        levels=np.zeros((channels, bands), np.int32),
        widths=np.zeros((channels, bands)),
        spectra=np.zeros((channels, form.block_samples), np.float32),
        concealment=make_concealment(form, layout.overlap_samples),
    )


def make_transform_stream(block_samples: int, shaped: bool) -> TransformStream:
    """A transform that has given nothing yet; shaped streams overlap by a quarter."""
    overlap = block_samples // 4 if shaped else block_samples
    return TransformStream(
        mdct=make_mdct(block_samples, overlap),
        splitter=make_splitter(block_samples),
        whole=np.zeros(block_samples, np.float32),
        out=np.zeros(block_samples, np.float32),
    )


def every_format() -> dict[str, Any]:
    """Every kind of stream that there are tables for, by the name that JavaScript knows it by."""
    found: dict[str, Any] = {f"lossless-{channels}": make_exact_stream(channels) for channels in CHANNELS}
    for shaped in (False, True):
        word = "shaped" if shaped else "plain"
        for block_samples in BLOCK_SAMPLES:
            found[f"transform-{word}-{block_samples}"] = make_transform_stream(block_samples, shaped)
        for rate_hz in RATES_HZ:
            for channels in CHANNELS:
                found[f"spectrum-{word}-{rate_hz}-{channels}"] = make_spectrum_stream(rate_hz, channels, shaped)
    return found
