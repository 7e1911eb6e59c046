"""Spectra of near-lossless blocks to bytes and back: band energies, steps, quantiser, range coder and its contexts.

Plain streams have one step for every coefficient. Shaped ones send band energies first, and a bit that says whether
the block is split in time; steps follow from band energies, and the decoder fills zeros with noise of that energy.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from native_dsp.coding.adaptive_bits import decode_adaptive_bit, encode_adaptive_bit, make_models
from native_dsp.coding.band_energies import (
    Bands,
    hints_of_energies,
    make_bands,
    measure_band_energies,
    widths_of_energies,
)
from native_dsp.coding.band_energy_coder import (
    BandEnergyCoder,
    decode_band_energies,
    encode_band_energies,
    make_band_energy_coder,
    store_band_energies,
)
from native_dsp.coding.bit_mixing import BANKS, Mixer, restore_banks
from native_dsp.coding.coefficient_coder import (
    LARGEST,
    CoefficientCoder,
    decode_coefficients,
    encode_coefficients,
    make_coefficient_coder,
    remember_block,
)
from native_dsp.coding.noise_shape import USUAL_SHAPE, NoiseShape, tell_band_energies
from native_dsp.coding.quantiser import ZERO_THRESHOLD, ZERO_THRESHOLD_FILLED, dequantise, fill_zeros, quantise
from native_dsp.coding.range_coder import decoder_init, encoder_finish, encoder_init, make_state
from native_dsp.coding.rate_model import BINS, count_magnitudes, description_bits
from native_dsp.state import copy_state
from native_dsp.transforms.time_splitting import (
    SHORTEST_BLOCK,
    TimeSplitter,
    join_spectrum,
    make_splitter,
    split_spectrum,
)
from streamcodec.codec.near_lossless.format import NearLosslessFormat, step_log2, step_size
from streamcodec.codec.near_lossless.learnt_coefficients import learnt_models
from streamcodec.codec.packet import MAX_PAYLOAD_BYTES

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Layout:
    """What follows from a stream's format alone, and scratch; shared by its blocks.

    ``splitter`` is None where blocks are not split.
    """

    form: NearLosslessFormat
    shaped: bool
    bands: Bands
    splitter: TimeSplitter | None

    @classmethod
    def of(cls, form: NearLosslessFormat, shaped: bool) -> Layout:
        """Layout of a plain or a shaped stream."""
        size = form.block_samples
        if not shaped:
            return cls(form, False, Bands(np.array([0, size], np.int64), np.zeros(1), np.zeros(1)), None)
        splitter = make_splitter(size) if size >= SHORTEST_BLOCK else None
        return cls(form, True, make_bands(size, form.sample_rate_hz), splitter)

    def copy(self) -> Layout:
        """A layout with scratch of its own."""
        return replace(self, splitter=copy_state(self.splitter))

    @property
    def overlap_samples(self) -> int:
        """How many samples the windows of neighbouring blocks share."""
        return self.form.block_samples // 4 if self.shaped else self.form.block_samples

    @property
    def coded_coefficients(self) -> int:
        """How many coefficients lie within the bands; those above are zero."""
        return int(self.bands.edges[-1])

    @property
    def learnt_coefficients(self) -> Mixer:
        """What the coefficient coder's models know before the first block."""
        return learnt_models().shaped if self.shaped else learnt_models().plain

    def widths(self, energies: Int32Array, index: int) -> Float64Array:
        """Steps of all bands. Shape: ``energies [channels, bands]`` -> ``[channels, bands]``."""
        widths = np.full(energies.shape, step_size(index))
        if self.shaped:
            for channel in range(len(energies)):
                widths_of_energies(self.bands, energies[channel], step_size(index), widths[channel])
        return widths

    def hints(self, energies: Int32Array, index: int) -> Int32Array:
        """What band energies say of coefficients. Shape: ``energies [channels, bands]`` -> ``[channels, coded]``."""
        hints = np.zeros((len(energies), self.coded_coefficients), np.int32)
        if self.shaped:
            hints_of_energies(self.bands, energies, step_log2(index), hints)
        return hints


@dataclass(frozen=True, slots=True)
class ShapedBlock:
    """Spectra ready to be quantised. Shape: ``spectra [channels, coefficients]``, ``energies [channels, bands]``."""

    spectra: Float32Array
    energies: Int32Array
    split: bool = False


@dataclass(slots=True)
class SpectrumContexts:
    """What encoder and decoder keep in step from block to block."""

    layout: Layout
    coefficients: CoefficientCoder
    energies: BandEnergyCoder
    split_models: Int32Array
    was_split: bool = False
    chained: bool = False
    """Whether a block that is no key block was coded since the last key block."""
    noise: NoiseShape = USUAL_SHAPE
    """Of an encoder alone."""
    coder: Int64Array = field(default_factory=make_state)

    @classmethod
    def fresh(cls, layout: Layout) -> SpectrumContexts:
        """Contexts of a key block."""
        channels, bands = layout.form.channels, len(layout.bands.edges) - 1
        return cls(
            layout,
            make_coefficient_coder(channels, layout.coded_coefficients, layout.learnt_coefficients),
            make_band_energy_coder(channels, bands, learnt_models().energies),
            make_models(2),
        )

    def restart(self) -> None:
        """Back to the contexts of a key block.

        Models are megabytes; where every block is a key block only the half that key blocks use is made good.
        """
        banks = BANKS if self.chained else 1
        restore_banks(self.coefficients.mixer, self.layout.learnt_coefficients, banks)
        restore_banks(self.energies.mixer, learnt_models().energies, banks)
        self.chained = False
        self.forget()

    def forget(self) -> None:
        """Know nothing of earlier blocks; what models have learnt from them stays."""
        for coder in (self.coefficients, self.energies):
            for memory in (coder.last, coder.before, coder.mean):
                memory[:] = 0
        self.split_models[:] = make_models(2)
        self.was_split = False

    def copy(self) -> SpectrumContexts:
        """Contexts that share nothing with these."""
        return replace(
            self,
            layout=self.layout.copy(),
            coefficients=copy_state(self.coefficients),
            energies=copy_state(self.energies),
            split_models=self.split_models.copy(),
            coder=self.coder.copy(),
        )

    def shape(self, spectra: Float32Array, index: int, key: bool) -> ShapedBlock:
        """Band energies of a block, which is split where that promises fewer bits at about this step."""
        whole = self._measured(spectra, index, key, False)
        splitter = self.layout.splitter
        if splitter is None:
            return whole
        pieces = np.zeros_like(spectra)
        for channel in range(len(spectra)):
            split_spectrum(splitter, spectra[channel], pieces[channel])
        edges, widths = self.layout.bands.edges, self.layout.widths(whole.energies, index)
        gain = 0.0
        for channel in range(len(spectra)):
            gain += description_bits(spectra[channel], edges, widths[channel])
            gain -= description_bits(pieces[channel], edges, widths[channel])
        return self._measured(pieces, index, key, True) if gain > 0 else whole

    def _measured(self, spectra: Float32Array, index: int, key: bool, split: bool) -> ShapedBlock:
        bands, last, energies = self.layout.bands, self.energies.last, np.zeros_like(self.energies.last)
        for channel in range(len(spectra) if self.layout.shaped else 0):
            if self.noise == USUAL_SHAPE:
                measure_band_energies(bands, spectra[channel], last[channel], key, energies[channel])
            else:
                step = step_log2(index)
                tell_band_energies(bands, spectra[channel], last[channel], key, self.noise, step, energies[channel])
        return ShapedBlock(spectra, energies, split)

    def magnitudes(self, block: ShapedBlock) -> Float64Array:
        """Histogram of the magnitudes, in units of each band's step where the base step is one. Shape: ``[BINS]``."""
        counts = np.zeros(BINS)
        widths = self.layout.widths(block.energies, 0) / step_size(0)
        for channel in range(len(block.spectra)):
            count_magnitudes(block.spectra[channel], self.layout.bands.edges, widths[channel], counts)
        return counts

    def encode(self, block: ShapedBlock, index: int, key: bool) -> tuple[bytes, float]:
        """Bytes of a block, none for silence, and the squared error; more than a packet holds where it overflows."""
        edges, widths = self.layout.bands.edges, self.layout.widths(block.energies, index)
        quantised = np.zeros((len(block.spectra), self.layout.coded_coefficients), np.int32)
        threshold = ZERO_THRESHOLD_FILLED if self.layout.shaped else ZERO_THRESHOLD
        error = 0.0
        for channel in range(len(quantised)):
            error += quantise(block.spectra[channel], edges, widths[channel], threshold, LARGEST, quantised[channel])
        if not quantised.any() and not block.energies.any():
            self._remember_silence()
            return b"", error
        self.chained |= not key
        buffer = np.zeros(MAX_PAYLOAD_BYTES, np.uint8)
        encoder_init(self.coder)
        if self.layout.splitter is not None:
            encode_adaptive_bit(self.coder, buffer, self.split_models, int(self.was_split), int(block.split))
            self.was_split = block.split
        if self.layout.shaped:
            encode_band_energies(self.coder, buffer, self.energies, block.energies, key)
        hints = self.layout.hints(block.energies, index)
        encode_coefficients(self.coder, buffer, self.coefficients, quantised, hints, key)
        length = encoder_finish(self.coder, buffer)
        return (buffer[:length].tobytes() if length >= 0 else bytes(MAX_PAYLOAD_BYTES + 1)), error

    def decode(self, body: bytes, index: int, key: bool) -> Float32Array:
        """Spectra of a block, whatever the bytes. Shape: ``[channels, coefficients]``."""
        form, layout = self.layout.form, self.layout
        spectra = np.zeros((form.channels, form.block_samples), np.float32)
        if not body:
            self._remember_silence()
            return spectra
        self.chained |= not key
        quantised = np.zeros((form.channels, layout.coded_coefficients), np.int32)
        energies = np.zeros_like(self.energies.last)
        data = np.frombuffer(body, np.uint8).copy()
        decoder_init(self.coder, data, len(data))
        split = False
        if layout.splitter is not None:
            split = bool(decode_adaptive_bit(self.coder, data, self.split_models, int(self.was_split)))
            self.was_split = split
        if layout.shaped:
            decode_band_energies(self.coder, data, self.energies, energies, key)
        hints = layout.hints(energies, index)
        decode_coefficients(self.coder, data, self.coefficients, quantised, hints, key)
        edges, widths = layout.bands.edges, layout.widths(energies, index)
        # Noise that depends on the payload alone is the same wherever decoding began.
        seed = zlib.crc32(body)
        for channel in range(form.channels):
            dequantise(quantised[channel], edges, widths[channel], spectra[channel])
            if layout.shaped:
                fill_zeros(
                    quantised[channel], edges, widths[channel], energies[channel], seed + channel, spectra[channel]
                )
        if split and layout.splitter is not None:
            whole = np.zeros_like(spectra)
            for channel in range(form.channels):
                join_spectrum(layout.splitter, spectra[channel], whole[channel])
            return whole
        return spectra

    def _remember_silence(self) -> None:
        self.coefficients.magnitudes[:] = 0
        remember_block(self.coefficients)
        store_band_energies(self.energies, np.zeros_like(self.energies.last))
