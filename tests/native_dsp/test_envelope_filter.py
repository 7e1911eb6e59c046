"""Spectral-envelope filter: voiced blocks come to the levels that its network asks for; all else is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from native_dsp.filters.envelope_filter import (
    EDGE_HZ,
    FADE_SAMPLES,
    FFT_SAMPLES,
    FULL_FROM_HZ,
    FULL_TO_HZ,
    LARGEST_CHANGE,
    NOT_VOICED,
    POWER_FLOOR,
    SMOOTHING_HZ,
    VOICED,
    EnvelopeFilterState,
    filter_envelope,
    make_envelope_filter,
)
from native_dsp.filters.envelope_network import (
    AMPLITUDE_FLOOR,
    BINS,
    HOPS,
    LARGEST_DIFFERENCE,
    LOG_OFFSET,
    LOWEST_BIN,
    PAST_SUBFRAMES,
    REACH,
    SPECTRUM_BINS,
    SUBFRAMES,
    TOP_BIN,
    EnvelopeWeights,
    envelope_weight_shapes,
    make_envelope_features,
    no_envelope_weights,
    store_spectrum,
)
from tests.helpers.pitch_filter import decibels, noise

RATE_HZ, PACKET, BLOCK = 24_000, 480, 120
DECODER_BINS = 257
HIDDEN, PACKET_HIDDEN = 5, 3
Sound = NDArray[np.float32]


def some_weights(seed: int = 1) -> EnvelopeWeights:
    random = np.random.default_rng(seed)
    shapes = envelope_weight_shapes(HIDDEN, PACKET_HIDDEN)
    return EnvelopeWeights(*((0.15 * random.standard_normal(shape)).astype(np.float32) for shape in shapes))


def asking_for(nepers: float) -> EnvelopeWeights:
    """A network that says the same of whatever it is shown."""
    weights = some_weights()
    return weights._replace(
        bin_out=np.zeros_like(weights.bin_out),
        bin_out_bias=np.full(SUBFRAMES, nepers, np.float32),
        frame_out=np.zeros_like(weights.frame_out),
    )


def new_filter(weights: EnvelopeWeights) -> EnvelopeFilterState:
    return make_envelope_filter(RATE_HZ, PACKET, make_envelope_features(HOPS, DECODER_BINS, weights))


def stored_by(packet: int) -> NDArray[np.float32]:
    """What a decoder might give out for a packet: ``[HOPS, 3 * bins]``, the noise never negative."""
    decoded = noise(HOPS * 3 * DECODER_BINS, 0.5, seed=100 + packet).reshape(HOPS, 3, DECODER_BINS)
    decoded[:, 2] = np.abs(decoded[:, 2])
    return decoded.reshape(HOPS, -1)


def filtered(
    sound: Sound, weights: EnvelopeWeights, correlations: NDArray[np.float64], quality: float = 0.2
) -> Sound:
    """The whole sound, packet by packet, with the true future as what comes next; one correlation for each block."""
    state = new_filter(weights)
    out = np.array(sound, np.float32)
    longer = np.concatenate([sound, np.zeros(PACKET, np.float32)])
    for k in range(len(sound) // PACKET):
        here = slice(k * PACKET, (k + 1) * PACKET)
        state.ahead[:] = longer[here.stop : here.stop + state.ahead.size]
        for hop, decoded in enumerate(stored_by(k)):
            store_spectrum(state.features, hop, decoded)
        alike = correlations[SUBFRAMES * k : SUBFRAMES * (k + 1)].astype(np.float32)
        filter_envelope(state, weights, alike, np.full(SUBFRAMES, 130 + k), quality, out[here])
    return out


def voiced(sound: Sound, correlation: float = 1.0) -> NDArray[np.float64]:
    return np.full(len(sound) // BLOCK, correlation)


def leaky(x: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.where(x > 0, x, 0.1 * x)


def reference(sound: Sound, weights: EnvelopeWeights, correlations: NDArray[np.float64], quality: float) -> Sound:
    """The same in float64, from its description alone."""
    blocks = len(sound) // BLOCK
    past = FFT_SAMPLES
    x = np.concatenate([np.zeros(past), sound, np.zeros(FFT_SAMPLES)]).astype(np.float64)
    n = np.arange(FFT_SAMPLES)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / FFT_SAMPLES)
    window /= np.sqrt(np.sum(window**2))
    columns = np.arange(TOP_BIN + REACH)
    away_hz = np.abs(columns[:, None] - np.arange(FFT_SAMPLES // 2 + 1)) * RATE_HZ / FFT_SAMPLES
    triangle = np.maximum(1 - away_hz / SMOOTHING_HZ, 0)
    triangle /= triangle.sum(1, keepdims=True)

    def levels(block: int, known: int) -> NDArray[np.float64]:
        """Of what is known until sample ``known``, as the filter looks at a block."""
        heard = np.where(np.arange(len(x)) < past + known, x, 0.0)
        middle = past + BLOCK * block + BLOCK // 2
        power = np.abs(np.fft.rfft(heard[middle - FFT_SAMPLES // 2 : middle + FFT_SAMPLES // 2] * window)) ** 2
        return np.asarray(0.5 * np.log(triangle @ power + POWER_FLOOR))

    silence = np.full(len(columns), 0.5 * np.log(POWER_FLOOR))
    bins = np.arange(LOWEST_BIN, TOP_BIN)
    bins_hz = bins * RATE_HZ / FFT_SAMPLES
    share = np.clip(np.minimum(bins_hz - FULL_FROM_HZ, FULL_TO_HZ - bins_hz) / EDGE_HZ + 1, 0, 1)
    distance = np.arange(-BLOCK, BLOCK + 1)
    taper = np.cos(np.pi * distance / (2 * (BLOCK + 1)))
    filters = [np.zeros(2 * BLOCK + 1)]
    for k in range(blocks // SUBFRAMES):
        # Two blocks of the packet before are measured anew, now that what follows them is known.
        # Of blocks older than the sound there is only silence.
        known = (k + 1) * PACKET + BLOCK
        seen = range(SUBFRAMES * k - PAST_SUBFRAMES, SUBFRAMES * (k + 1))
        picture = np.stack([levels(block, known) if block >= -2 else silence for block in seen])
        real, imaginary, gain = stored_by(k).reshape(HOPS, 3, -1)[..., :SPECTRUM_BINS].transpose(1, 0, 2)
        amplitudes = np.sqrt(real.astype(np.float64) ** 2 + imaginary**2 + AMPLITUDE_FLOOR**2)
        spectrum = np.log(np.concatenate([amplitudes, gain + AMPLITUDE_FLOOR], axis=1)) + LOG_OFFSET
        of_packet = leaky(spectrum.ravel() @ weights.frame_hidden + weights.frame_hidden_bias) @ weights.frame_out
        changes = np.zeros((SUBFRAMES, len(bins)))
        for i, middle in enumerate(bins):
            loudness = picture[PAST_SUBFRAMES:, middle].mean()
            around = np.abs(np.arange(middle - REACH, middle + REACH + 1))
            near = np.clip(picture[:, around] - loudness, -LARGEST_DIFFERENCE, LARGEST_DIFFERENCE).ravel()
            alike = correlations[SUBFRAMES * k : SUBFRAMES * (k + 1)]
            more = [*alike, np.log2((130 + k) / 150), middle / 20, 2 * quality, loudness / 4]
            hidden = np.concatenate([near, more]) @ weights.bin_hidden + weights.bin_hidden_bias
            asked = weights.bin_out @ leaky(hidden) + weights.bin_out_bias + of_packet.reshape(BINS, SUBFRAMES)[i]
            certain = np.clip((alike - NOT_VOICED) / (VOICED - NOT_VOICED), 0, 1)
            changes[:, i] = share[i] * np.clip(certain * asked, -LARGEST_CHANGE, LARGEST_CHANGE)
        waves = np.cos(2 * np.pi * np.outer(distance, bins) / FFT_SAMPLES)
        filters += [waves @ (np.exp(change) - 1) * 2 / FFT_SAMPLES * taper for change in changes]
    out = np.array(sound, np.float64)
    fade = np.concatenate([(np.arange(FADE_SAMPLES) + 0.5) / FADE_SAMPLES, np.ones(BLOCK - FADE_SAMPLES)])
    for block in range(blocks):
        near = x[past + BLOCK * (block - 1) : past + BLOCK * (block + 2)]
        old, new = (np.convolve(near, taps, "valid") for taps in filters[block : block + 2])
        out[BLOCK * block : BLOCK * (block + 1)] += (1 - fade) * old + fade * new
    return out.astype(np.float32)


def test_equals_its_description() -> None:
    sound = noise(12 * PACKET)
    correlations = np.random.default_rng(5).uniform(0.3, 0.9, len(sound) // BLOCK)
    weights = some_weights()
    got, wanted = filtered(sound, weights, correlations), reference(sound, weights, correlations, 0.2)
    assert decibels(got - wanted) < decibels(sound) - 60.0
    assert decibels(got - sound) > decibels(sound) - 20.0


@pytest.mark.parametrize("frequency_hz", [450.0, 1_000.0, 1_500.0])
@pytest.mark.parametrize("nepers", [-0.5, 0.4])
def test_a_tone_comes_to_the_level_asked_for_without_delay(frequency_hz: float, nepers: float) -> None:
    tone = (0.1 * np.sin(2 * np.pi * frequency_hz * np.arange(20 * PACKET) / RATE_HZ)).astype(np.float32)
    steady = slice(4 * PACKET, -PACKET)
    out = filtered(tone, asking_for(nepers), voiced(tone))
    wanted = np.exp(nepers) * tone
    assert decibels((out - wanted)[steady]) < decibels(wanted[steady]) - 25.0


@pytest.mark.parametrize("frequency_hz", [100.0, 2_200.0, 6_000.0])
def test_other_frequencies_keep_theirs(frequency_hz: float) -> None:
    tone = (0.1 * np.sin(2 * np.pi * frequency_hz * np.arange(20 * PACKET) / RATE_HZ)).astype(np.float32)
    steady = slice(4 * PACKET, -PACKET)
    out = filtered(tone, asking_for(0.5), voiced(tone))
    assert decibels((out - tone)[steady]) < decibels(tone[steady]) - 25.0


def test_no_level_moves_by_more_than_8_db() -> None:
    tone = (0.1 * np.sin(2 * np.pi * 900.0 * np.arange(20 * PACKET) / RATE_HZ)).astype(np.float32)
    out = filtered(tone, asking_for(5.0), voiced(tone))
    assert decibels(out[2_000:-500]) - decibels(tone[2_000:-500]) == pytest.approx(8.0, abs=0.3)


def test_where_there_is_no_voice_nothing_changes() -> None:
    sound = noise(10 * PACKET)
    np.testing.assert_array_equal(filtered(sound, some_weights(), voiced(sound, NOT_VOICED - 0.01)), sound)
    correlations = voiced(sound, 0.0)
    correlations[16:20] = 1.0
    out = filtered(sound, some_weights(), correlations)
    after = 20 * BLOCK + FADE_SAMPLES
    np.testing.assert_array_equal(out[: 16 * BLOCK], sound[: 16 * BLOCK])
    np.testing.assert_array_equal(out[after:], sound[after:])
    assert decibels((out - sound)[16 * BLOCK : 20 * BLOCK]) > decibels(sound) - 30.0


def test_a_model_without_a_network_changes_not_one_bit() -> None:
    sound = noise(4 * PACKET)
    np.testing.assert_array_equal(filtered(sound, no_envelope_weights(), voiced(sound)), sound)


def test_looks_no_further_ahead_than_it_is_told() -> None:
    sound = noise(10 * PACKET)
    later = sound.copy()
    later[5 * PACKET + BLOCK :] = noise(len(sound) - 5 * PACKET - BLOCK, 0.5, seed=2)
    first, second = (filtered(each, some_weights(), voiced(sound))[: 5 * PACKET] for each in (sound, later))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("level", [0.0, 1e-20, 1e-6, 1.0, 3.0])
def test_any_level_is_survived(level: float) -> None:
    sound = np.concatenate([noise(4 * PACKET, level), np.zeros(4 * PACKET, np.float32)])
    out = filtered(sound, some_weights(), voiced(sound))
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= 3.0 * np.abs(sound).max()


def test_a_copy_goes_its_own_way() -> None:
    sound, alike, lags = noise(3 * PACKET), np.ones(SUBFRAMES, np.float32), np.full(SUBFRAMES, 130)
    weights = some_weights()
    states = [new_filter(weights) for _ in range(2)]
    for state in states:
        filter_envelope(state, weights, alike, lags, 0.2, sound[:PACKET].copy())
    twin = states[0].copy()
    filter_envelope(states[0], weights, alike, lags, 0.2, noise(PACKET, 0.5, seed=3))
    ends = [sound[PACKET : 2 * PACKET].copy() for _ in range(2)]
    for state, end in zip((twin, states[1]), ends, strict=True):
        filter_envelope(state, weights, alike, lags, 0.2, end)
    np.testing.assert_array_equal(ends[0], ends[1])


def test_packets_are_of_20_ms() -> None:
    with pytest.raises(ValueError, match="4 subframes of 120"):
        make_envelope_filter(RATE_HZ, 240, make_envelope_features(HOPS, DECODER_BINS, some_weights()))


@pytest.mark.parametrize(("hops", "bins"), [(1, DECODER_BINS), (HOPS, SPECTRUM_BINS - 1)])
def test_a_decoder_of_another_kind_is_refused(hops: int, bins: int) -> None:
    make_envelope_features(hops, bins, no_envelope_weights())
    with pytest.raises(ValueError, match=f"2 hops of {SPECTRUM_BINS} bins or more"):
        make_envelope_features(hops, bins, some_weights())
