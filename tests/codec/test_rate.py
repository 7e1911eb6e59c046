"""Average and constrained rates, from one set of weights."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from streamcodec import StreamDecoder, StreamEncoder, decode_array, encode_array
from streamcodec.codec.neural.rate_control import RateControl, highest_quality_within, quality_index_for_kbps

Float32Array = NDArray[np.float32]


# The coarsest level of 20 ms packets that decode alone takes 2 kbps of speech without pauses.
RATES_KBPS = [("independent", 2.0), ("stream", 1.6), *itertools.product(("independent", "stream"), (3.0, 6.0, 12.0))]


@pytest.mark.parametrize(("mode", "kbps"), RATES_KBPS)
def test_average_rate_of_a_speech_file_is_what_was_asked(speech_file: Path, mode: str, kbps: float) -> None:
    speech, rate_hz = soundfile.read(speech_file, dtype="float32")
    encoded = encode_array(speech, rate_hz, kbps * 1000, mode=mode)
    assert abs(encoded.payload_bps / (kbps * 1000) - 1) < 0.05


@pytest.mark.parametrize("peak_dbfs", [-12.0, -24.0, -42.0, -52.0])
def test_a_voice_from_afar_gets_its_rate_too(speech_file: Path, peak_dbfs: float) -> None:
    speech, rate_hz = soundfile.read(speech_file, dtype="float32")
    quiet = speech * np.float32(10 ** (peak_dbfs / 20) / np.abs(speech).max())
    assert encode_array(np.tile(quiet, 2), rate_hz, 6_000).payload_bps == pytest.approx(6_000, rel=0.05)


def test_an_offset_takes_no_bits_from_a_voice(speech_file: Path) -> None:
    speech, rate_hz = soundfile.read(speech_file, dtype="float32")
    decoded = decode_array(encode_array(0.3 * speech + np.float32(0.05), rate_hz, 6_000))
    settled = decoded[rate_hz // 2 : -rate_hz // 2]
    assert abs(settled.mean()) < 0.002


@pytest.mark.parametrize("name", ["speech_44k.flac", "music_44k.flac", "environment_48k.flac"])
@pytest.mark.parametrize("kbps", [1.2, 3.2, 8.0])
def test_no_packet_exceeds_its_budget_when_constrained(fixtures: Path, name: str, kbps: float) -> None:
    sound, rate_hz = soundfile.read(fixtures / name, dtype="float32")
    encoded = encode_array(sound, rate_hz, kbps * 1000, constrained=True)
    budget_bytes = int(kbps * 1000 / 50 / 8)
    sizes = [len(t.packet.payload) for t in encoded.packets]
    assert max(sizes) <= budget_bytes
    assert np.mean(sizes) > 0.5 * budget_bytes


def test_constrained_noise_still_decodes() -> None:
    noise = np.random.default_rng(0).standard_normal(24_000).astype(np.float32)
    encoder, decoder = StreamEncoder(24_000, 1_000, constrained=True), StreamDecoder(24_000)
    for packet in encoder.push(noise):
        assert len(packet.payload) <= 2
        decoder.push(packet)


def test_more_bits_sound_closer(speech: Float32Array) -> None:
    def error(kbps: float) -> float:
        decoded = decode_array(encode_array(speech, 24_000, kbps * 1000))
        window = np.hanning(512)
        starts = range(0, speech.size - 512, 256)
        ours, theirs = (
            np.log(np.abs([np.fft.rfft(window * s[k : k + 512]) for k in starts]) + 1e-2) for s in (decoded, speech)
        )
        return float(np.mean(np.abs(ours - theirs)))

    errors = [error(kbps) for kbps in (1.6, 4.0, 12.0)]
    assert errors[0] > errors[1] > errors[2]


def test_stream_mode_is_cheaper_at_the_same_level(speech: Float32Array) -> None:
    from streamcodec.models.shipped import load_model

    model = load_model()
    pairs = list(zip(model.kbps_by_quality("stream"), model.kbps_by_quality("independent"), strict=True))
    assert all(stream < independent for stream, independent in pairs)


def test_bank_stays_bounded_over_endless_silence() -> None:
    control = RateControl((1.0, 2.0, 4.0, 8.0), 50.0, 3_000.0)
    for _ in range(10_000):
        control.choose_quality_index()
        control.spent(0.0)
    assert control.reservoir_bits <= 4 * 3_000.0


def test_control_settles_on_the_asked_rate() -> None:
    control = RateControl((1.0, 2.0, 4.0, 8.0), 50.0, 3_000.0)
    bits = [0.0]
    for _ in range(2_000):
        quality_index = control.choose_quality_index()
        bits.append(1.3 * (20.0, 40.0, 80.0, 160.0)[quality_index])
        control.spent(bits[-1])
    assert abs(np.mean(bits) * 50 / 3_000 - 1) < 0.02


def test_a_voice_that_costs_more_is_learnt_and_not_paid_for_by_debt() -> None:
    """A stream that costs a quarter more than usual is as little in debt in the end as a usual one."""

    def debt_bits(cost: float) -> float:
        control = RateControl((1.0, 1.5, 2.25, 3.4, 5.0, 7.6), 50.0, 3_000.0)
        reservoirs = []
        for _ in range(2_000):
            quality_index = control.choose_quality_index()
            control.spent(cost * 20.0 * control.kbps_by_quality[quality_index], quality_index)
            reservoirs.append(control.reservoir_bits)
        return -float(np.mean(reservoirs[-500:]))

    assert debt_bits(1.25) == pytest.approx(debt_bits(1.0), abs=60)


def test_silence_teaches_nothing_beyond_what_voices_are_like() -> None:
    """After a minute of it the first speech may take what was saved, and a little more, not everything at once."""
    table = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
    control = RateControl(table, 50.0, 3_000.0)
    for _ in range(3_000):
        control.spent(8.0, control.choose_quality_index())
    first = control.choose_quality_index()
    assert table[first] <= 2 * 1.3 * (1 + 4 / 3) * 3.0
    bits = []
    for _ in range(500):
        quality_index = control.choose_quality_index()
        bits.append(20.0 * table[quality_index])
        control.spent(bits[-1], quality_index)
    assert np.mean(bits[200:]) * 50 == pytest.approx(3_000, rel=0.15)


def test_levels_are_steadier_the_longer_a_stream_runs() -> None:
    control = RateControl((1.0, 2.0, 4.0, 8.0, 16.0), 50.0, 4_000.0)
    qualities, bits = [], []
    for k in range(6_000):
        quality_index = control.choose_quality_index()
        # A second of speech that takes twice the usual bits, a second of pause that takes hardly any.
        bits.append((20.0, 40.0, 80.0, 160.0, 320.0)[quality_index] * (2.0 if k // 50 % 2 else 0.2))
        control.spent(bits[-1])
        qualities.append(quality_index)
    first, last = np.std(qualities[200:600]), np.std(qualities[-400:])
    assert last < 0.7 * first
    assert np.mean(bits[-1_000:]) * 50 / 4_000 == pytest.approx(1.0, abs=0.03)


def test_voiced_packets_get_finer_levels_at_the_same_rate() -> None:
    """Two levels finer at low rates, less at high ones; what they take is taken from the others."""

    def qualities(bitrate_bps: float) -> tuple[float, float, float]:
        control = RateControl((1.0, 1.5, 2.25, 3.4, 5.0, 7.6, 11.4, 17.0), 50.0, bitrate_bps)
        voiced, others, bits = [], [], []
        for k in range(2_000):
            is_voiced = k // 20 % 2 == 0
            quality_index = control.choose_quality_index(float(is_voiced))
            (voiced if is_voiced else others).append(quality_index)
            bits.append(20.0 * 1.5**quality_index)
            control.spent(bits[-1])
        return float(np.mean(voiced)), float(np.mean(others)), float(np.mean(bits)) * 50

    quality_offsets = []
    for bitrate_bps in (2_500.0, 6_000.0, 12_000.0):
        voiced, others, found_bps = qualities(bitrate_bps)
        assert found_bps == pytest.approx(bitrate_bps, rel=0.03)
        quality_offsets.append(voiced - others)
    # What voiced packets cost more is missing at once, which takes a part of the lead back.
    assert quality_offsets[0] > quality_offsets[1] > 0.3
    assert quality_offsets[2] == pytest.approx(0, abs=0.05)
    assert 1.0 < quality_offsets[0] < 2.0


@pytest.mark.parametrize("packet_ms", [20, 60])
def test_a_voice_is_coded_finer_than_hiss(packet_ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In turns of 0.24 s, of one loudness: by more than a level beyond what their costs alone make of it."""
    n = np.arange(5_760)
    voice = np.sum([np.sin(2 * np.pi * 140.0 * k * n / 24_000 + k * k) / k for k in range(1, 20)], axis=0)
    hiss = np.std(voice) * np.random.default_rng(1).standard_normal(n.size)
    sound = np.concatenate([0.05 * voice, 0.05 * hiss] * 12).astype(np.float32)

    def quality_offset() -> float:
        qualities = np.array([p.quality_index for p in StreamEncoder(24_000, 3_000, packet_ms=packet_ms).push(sound)])
        # Of each turn the packets that hold nothing of the one before, after the first turns.
        turns = qualities.reshape(-1, 240 // packet_ms)[4:, 1:].mean(1)
        return float(np.mean(turns[0::2]) - np.mean(turns[1::2]))

    led = quality_offset()
    monkeypatch.setattr(
        "streamcodec.codec.neural.rate_control.VOICED_QUALITY_OFFSET", ((1_000.0, 0.0), (24_000.0, 0.0))
    )
    assert led > quality_offset() + 1.0


def test_finest_within_agrees_with_search() -> None:
    costs = [3, 5, 8, 8, 13, 21]
    for budget in range(25):
        expected = max((k for k, c in enumerate(costs) if c <= budget), default=None)
        assert highest_quality_within(budget, len(costs), lambda k: costs[k]) == expected


def test_level_for_kbps_inverts_the_table() -> None:
    table = (1.0, 2.0, 4.0, 8.0)
    assert [quality_index_for_kbps(table, v) for v in table] == pytest.approx([0, 1, 2, 3])
    assert quality_index_for_kbps(table, 0.5) == pytest.approx(-1)
    assert quality_index_for_kbps(table, 16.0) == pytest.approx(4)
