"""Band energies, their coder, time splitting, quantiser and noise filling."""

from __future__ import annotations

import numpy as np
import pytest

from native_dsp.coding import band_energies, noise_shape, quantiser, rate_model
from native_dsp.coding.band_energy_coder import (
    HIGHEST_ENERGY,
    decode_band_energies,
    encode_band_energies,
    make_band_energy_coder,
)
from native_dsp.coding.coefficient_coder import HIGHEST_HINT
from native_dsp.coding.range_coder import decoder_init, encoder_finish, encoder_init, make_state
from native_dsp.coding.rate_model import BINS, bits_of_bins, count_magnitudes
from native_dsp.transforms.time_splitting import (
    PARTS,
    join_spectrum,
    make_splitter,
    split_spectrum,
    splitting_reference,
)
from tests.reference.range_coder_reference import ReferenceEncoder
from tests.reference.spectrum_reference import ReferenceBandEnergies


def coded_bytes(blocks: np.ndarray, key_every: int = 0) -> int:
    """Code levels ``[n, channels, bands]`` as the reference does, decode them; returns the bytes they took."""
    _, channels, bands = blocks.shape
    ours, theirs = make_band_energy_coder(channels, bands), make_band_energy_coder(channels, bands)
    reference = ReferenceBandEnergies(channels, bands)
    coder, buffer, total = make_state(), np.zeros(4096, np.uint8), 0
    for number, block in enumerate(blocks):
        key = number == 0 or bool(key_every and number % key_every == 0)
        encoder_init(coder)
        encode_band_energies(coder, buffer, ours, block, key)
        data = buffer[: encoder_finish(coder, buffer)].copy()
        long_code = ReferenceEncoder()
        reference.encode(long_code, block.tolist(), key)
        assert data.tobytes() == long_code.finish()
        found = np.zeros_like(block)
        decoder_init(coder, data, len(data))
        decode_band_energies(coder, data, theirs, found, key)
        assert np.array_equal(found, block)
        total += len(data)
    return total


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("key_every", [0, 1, 3])
def test_levels_are_coded_as_by_the_reference_and_come_back(channels: int, key_every: int) -> None:
    rng = np.random.default_rng(5)
    wild = rng.integers(0, HIGHEST_ENERGY + 1, (9, channels, 23))
    calm = np.clip(20 + rng.integers(-1, 2, (9, channels, 23)).cumsum(axis=2), 0, HIGHEST_ENERGY)
    coded_bytes(np.concatenate([wild, calm]).astype(np.int32), key_every)


def test_steady_levels_cost_next_to_nothing() -> None:
    steady = np.tile(np.arange(20, 40, dtype=np.int32)[None, None], (200, 1, 1))
    assert coded_bytes(steady) - coded_bytes(steady[:100]) < 2 * 100


def test_any_bytes_give_levels_within_bounds() -> None:
    rng = np.random.default_rng(6)
    models, coder, energies = make_band_energy_coder(2, 21), make_state(), np.zeros((2, 21), np.int32)
    for number in range(300):
        data = rng.integers(0, 256, 40).astype(np.uint8)
        decoder_init(coder, data, len(data))
        decode_band_energies(coder, data, models, energies, number % 3 == 0)
        assert energies.min() >= 0
        assert energies.max() <= HIGHEST_ENERGY


@pytest.mark.parametrize(("coefficients", "rate_hz"), [(64, 96_000), (128, 8_000), (512, 44_100), (2048, 48_000)])
def test_bands_rise_without_gaps_to_what_is_heard(coefficients: int, rate_hz: int) -> None:
    bands = band_energies.make_bands(coefficients, rate_hz)
    hz = bands.edges * rate_hz / (2 * coefficients)
    assert hz[0] == 0
    assert hz[-1] == pytest.approx(min(rate_hz / 2, band_energies.TOP_HZ), abs=rate_hz / coefficients)
    assert (np.diff(bands.edges) >= 4).all()
    assert (np.diff(bands.tilt_log2) >= 0).all()


def test_levels_follow_the_sound_but_not_every_ripple() -> None:
    bands = band_energies.make_bands(512, 44_100)
    count = len(bands.edges) - 1
    energies, last = np.zeros(count, np.int32), np.zeros(count, np.int32)
    band_energies.measure_band_energies(bands, np.full(512, 256.0, np.float32), last, True, energies)
    assert (energies == 16 - band_energies.LOWEST_LOG2).all()
    again = np.zeros(count, np.int32)
    band_energies.measure_band_energies(bands, np.full(512, 320.0, np.float32), energies, False, again)
    assert np.array_equal(again, energies)
    band_energies.measure_band_energies(bands, np.full(512, 512.0, np.float32), energies, False, again)
    assert (again == energies + 2).all()
    band_energies.measure_band_energies(bands, np.zeros(512, np.float32), energies, False, again)
    assert not again.any()


def test_steps_are_wider_where_it_is_louder_or_higher() -> None:
    bands = band_energies.make_bands(512, 44_100)
    widths = np.zeros((2, len(bands.edges) - 1))
    for row, energy in enumerate((20, 30)):
        band_energies.widths_of_energies(bands, np.full(widths.shape[1], energy, np.int32), 0.5, widths[row])
    assert np.allclose(widths[1] / widths[0], 2 ** (0.5 * band_energies.GAMMA * 10))
    assert (np.diff(widths[0]) > 0).all()
    assert widths.min() >= 0.5


def test_hints_say_how_many_steps_a_coefficient_of_the_band_measures() -> None:
    bands = band_energies.make_bands(512, 48_000)
    count = len(bands.edges) - 1
    energies, widths = np.zeros((2, count), np.int32), np.zeros(count)
    energies[0] = np.linspace(60, 0, count)
    energies[1] = 25
    hints = np.zeros((2, bands.edges[-1]), np.int32)
    band_energies.hints_of_energies(bands, energies, -1.0, hints)
    for row, energy in zip(hints, energies, strict=True):
        band_energies.widths_of_energies(bands, energy, 0.5, widths)
        amplitude = 2.0 ** (0.5 * (energy * band_energies.RESOLUTION + band_energies.LOWEST_LOG2))
        exact = 4 * np.log2(amplitude / widths) + 13
        expected = np.repeat(np.clip(exact, 1, HIGHEST_HINT), np.diff(bands.edges))
        assert (np.abs(row - expected + 0.5) <= 0.5 + 1e-3).all()


def rough_spectrum(seed: int, size: int = 512) -> np.ndarray:
    """Loud at the bottom, silent at the top, in steps of 16-bit sound."""
    falling = np.geomspace(20_000, 0.05, size)
    falling[-size // 8 :] = 0
    return (np.random.default_rng(seed).laplace(size=size) * falling).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_levels_widths_and_rate_equal_their_definitions(rate_hz: int) -> None:
    bands = band_energies.make_bands(512, rate_hz)
    count = len(bands.edges) - 1
    last, energies, widths = np.zeros(count, np.int32), np.zeros(count, np.int32), np.zeros(count)
    for seed in range(20):
        spectrum = rough_spectrum(seed) * np.float32(1 + 0.2 * seed)
        key = seed % 5 == 0
        band_energies.measure_band_energies(bands, spectrum, last, key, energies)
        assert np.array_equal(energies, band_energies.measure_band_energies_reference(bands, spectrum, last, key))
        last[:] = energies
        band_energies.widths_of_energies(bands, energies, 0.3, widths)
        assert np.allclose(widths, band_energies.widths_of_energies_reference(bands, energies, 0.3), rtol=1e-12)
        counts = np.zeros(BINS)
        count_magnitudes(spectrum, bands.edges, widths, counts)
        assert np.array_equal(counts, rate_model.count_magnitudes_reference(spectrum, bands.edges, widths))
        bits = rate_model.description_bits(spectrum, bands.edges, widths)
        assert bits == pytest.approx(rate_model.description_bits_reference(spectrum, bands.edges, widths), rel=1e-12)


@pytest.mark.parametrize("bitrate_bps", [24_000, 40_000, 64_000, 128_000])
def test_told_energies_give_the_steps_wanted(bitrate_bps: float) -> None:
    bands = band_energies.make_bands(512, 44_100)
    count = len(bands.edges) - 1
    shape = noise_shape.noise_shape_at(bitrate_bps)
    last, told, widths, usual = np.zeros(count, np.int32), np.zeros(count, np.int32), np.zeros(count), np.zeros(count)
    for seed in range(10):
        spectrum, step_log2, key = rough_spectrum(seed), seed - 4.0, seed % 5 == 0
        noise_shape.tell_band_energies(bands, spectrum, last, key, shape, step_log2, told)
        expected = noise_shape.tell_band_energies_reference(bands, spectrum, last, key, shape, step_log2)
        assert np.array_equal(told, expected)
        energies = band_energies.measure_band_energies_reference(bands, spectrum, last, key)
        if shape == noise_shape.USUAL_SHAPE:
            assert np.array_equal(told, energies)
        last[:] = told
        if not key:
            continue
        band_energies.widths_of_energies(bands, told, 2.0**step_log2, widths)
        band_energies.widths_of_energies(bands, energies, 2.0**step_log2, usual)
        energy_log2 = energies + band_energies.LOWEST_LOG2
        wanted = 2.0 ** (0.5 * (shape.gamma * energy_log2 + bands.tilt_log2))
        gamma, tilt = shape.gamma - band_energies.GAMMA, shape.tilt - band_energies.TILT
        pivot = shape.pivoted * (gamma * noise_shape.PIVOT_LOG2 + tilt * noise_shape.PIVOT_BARK)
        wanted *= 2.0 ** (step_log2 + 0.5 * (tilt * bands.barks - pivot))
        heard = (energy_log2 > 0) & (2.0 ** (0.5 * energy_log2) > wanted) & (told < HIGHEST_ENERGY)
        assert heard.any()
        # A whole number of energies, of GAMMA / 2 octaves of step each.
        assert (np.abs(np.log2(widths / wanted)[heard]) <= 0.5).all()
        # What is lost among zeros keeps its energy, and so its noise.
        lost = 2.0 ** (0.5 * energy_log2) < usual / 32
        assert np.array_equal(told[lost], energies[lost])


@pytest.mark.parametrize("largest", [50, 1 << 26])
def test_quantiser_and_noise_filling_equal_their_definitions(largest: int) -> None:
    bands = band_energies.make_bands(512, 44_100)
    edges, count = bands.edges, len(bands.edges) - 1
    energies, widths = np.zeros(count, np.int32), np.zeros(count)
    quantised, restored = np.zeros(edges[-1], np.int32), np.zeros(512, np.float32)
    for seed in range(10):
        spectrum = rough_spectrum(seed)
        band_energies.measure_band_energies(bands, spectrum, energies, True, energies)
        band_energies.widths_of_energies(bands, energies, 2.0 ** (seed - 6), widths)
        error = quantiser.quantise(spectrum, edges, widths, 0.6, largest, quantised)
        expected, expected_error = quantiser.quantise_reference(spectrum, edges, widths, 0.6, largest)
        assert np.array_equal(quantised, expected)
        assert error == pytest.approx(expected_error, rel=1e-9)
        quantiser.dequantise(quantised, edges, widths, restored)
        assert np.array_equal(restored, quantiser.dequantise_reference(quantised, edges, widths, 512))
        filled = quantiser.fill_zeros_reference(quantised, edges, widths, energies, seed + (1 << 32), restored)
        quantiser.fill_zeros(quantised, edges, widths, energies, seed + (1 << 32), restored)
        assert np.allclose(restored, filled, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [128, 512])
def test_splitting_equals_its_matrix_and_comes_back(size: int) -> None:
    spectrum = np.random.default_rng(size).normal(size=size).astype(np.float32)
    splitter, split, again = make_splitter(size), np.zeros(size, np.float32), np.zeros(size, np.float32)
    split_spectrum(splitter, spectrum, split)
    matrix = splitting_reference(size)
    assert np.allclose(matrix @ matrix.T, np.eye(size), atol=1e-12)
    assert np.abs(split - matrix @ spectrum).max() < 1e-5
    join_spectrum(splitter, split, again)
    assert np.abs(again - spectrum).max() < 1e-5


def test_a_click_lies_in_one_piece_of_a_split_block() -> None:
    size = 256
    t = np.arange(size) + 0.5
    # DCT of folded samples that are silent but for one.
    spectrum = np.cos(np.pi / size * t * (160 + 0.5)).astype(np.float32)
    split = np.zeros(size, np.float32)
    split_spectrum(make_splitter(size), spectrum, split)
    energy = (split.reshape(-1, PARTS) ** 2).sum(axis=0)
    assert energy.max() > 0.95 * energy.sum()


def test_quantiser_error_is_within_half_a_step_or_the_zero_threshold() -> None:
    spectrum = np.random.default_rng(1).normal(0, 100, 512).astype(np.float32)
    edges = np.array([0, 256, 500], np.int64)
    widths = np.array([8.0, 32.0])
    quantised, restored = np.zeros(500, np.int32), np.ones(512, np.float32)
    error = quantiser.quantise(spectrum, edges, widths, 0.6, 1 << 20, quantised)
    quantiser.dequantise(quantised, edges, widths, restored)
    miss = np.abs(restored - spectrum)
    assert miss[:256].max() <= 8 * 0.6 + 1e-3
    assert miss[256:500].max() <= 32 * 0.6 + 1e-3
    assert not restored[500:].any()
    assert error == pytest.approx(np.sum((restored - spectrum) ** 2), rel=1e-4)


def test_noise_fills_zeros_alone_up_to_the_level() -> None:
    edges = np.array([0, 100, 200, 300], np.int64)
    widths = np.full(3, 1000.0)
    quantised, spectrum = np.zeros(300, np.int32), np.zeros(300, np.float32)
    quantised[0:100:2] = 1
    spectrum[0:100:2] = 1000
    energies = np.array([30, 20, 0], np.int32)
    quantiser.fill_zeros(quantised, edges, widths, energies, 7, spectrum)
    assert (spectrum[0:100:2] == 1000).all()
    assert np.sqrt(np.mean(spectrum[1:100:2] ** 2)) == pytest.approx(quantiser.NOISE_AMONG_VALUES * 1000, rel=0.2)
    alone = 2.0 ** (0.5 * (20 * band_energies.RESOLUTION + band_energies.LOWEST_LOG2)) * quantiser.NOISE_ALONE
    assert np.sqrt(np.mean(spectrum[100:200] ** 2)) == pytest.approx(alone, rel=0.2)
    assert not spectrum[200:].any()
    again = np.where(quantised, 1000, 0).astype(np.float32)
    quantiser.fill_zeros(quantised, edges, widths, energies, 7, again)
    assert np.array_equal(again, spectrum)


def test_the_rate_model_counts_every_coefficient_and_falls_with_the_step() -> None:
    spectrum = np.random.default_rng(3).laplace(0, 50, 512).astype(np.float32)
    counts = np.zeros(BINS)
    count_magnitudes(spectrum, np.array([0, 512], np.int64), np.ones(1), counts)
    assert counts.sum() == 512
    bits = bits_of_bins(np.arange(-8.0, 17.0)) @ counts
    assert (np.diff(bits) < 0).all()
    # At fine steps an octave of the step is a bit of every coefficient.
    assert bits[0] - bits[1] == pytest.approx(512, rel=0.02)
    assert bits[-1] < 1
