"""libopus packet by packet, and Opus as a codec under test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcodec.evaluation.full_reference import si_sdr_db
from streamcodec.evaluation.libopus import (
    LIBRARY_VARIABLE,
    DredReader,
    OpusDecoder,
    OpusEncoder,
    OpusError,
    OpusSettings,
    find_library,
    load_libopus,
)
from streamcodec.evaluation.peers.opus import OpusPeer, opus_systems
from streamcodec.evaluation.systems import SRTP_OVERHEAD_BYTES

pytestmark = pytest.mark.skipif(find_library() is None, reason="no libopus (PyAV is not installed)")

Samples = NDArray[np.float64]


def packets_of(sound: Samples, settings: OpusSettings, bitrate_bps: int) -> list[bytes]:
    encoder = OpusEncoder(load_libopus(), settings, bitrate_bps)
    frames = sound[: len(sound) // settings.frame_samples * settings.frame_samples].reshape(
        -1, settings.frame_samples
    )
    return [encoder.encode(frame.astype(np.float32)) for frame in frames]


def test_version_is_told() -> None:
    assert load_libopus().version.startswith("libopus ")
    assert load_libopus().version in load_libopus().description


@pytest.mark.parametrize("kbps", [9.2, 16.0, 24.0])
def test_rate_is_near_nominal(voice_16k: Samples, kbps: float) -> None:
    sound = np.tile(voice_16k, 3).astype(np.float32)
    coded = OpusPeer()(sound, 16_000, kbps)
    seconds = len(sound) / 16_000
    assert coded.payload_bytes * 8 / 1000 / seconds == pytest.approx(kbps, rel=0.3)
    assert coded.wire_bytes == coded.payload_bytes + coded.packets * SRTP_OVERHEAD_BYTES
    assert coded.packets == pytest.approx(seconds * 50, abs=2)


@pytest.mark.parametrize("sample_rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_length_and_rate_come_back_whatever_goes_in(sample_rate_hz: int) -> None:
    time_s = np.arange(int(0.33 * sample_rate_hz)) / sample_rate_hz
    sound = (0.3 * np.sin(2 * np.pi * 300 * time_s)).astype(np.float32)
    coded = OpusPeer()(sound, sample_rate_hz, 24.0)
    assert coded.samples.shape == sound.shape
    assert coded.samples.dtype == np.float32
    assert coded.sample_rate_hz == sample_rate_hz


@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 48_000])
def test_lookahead_is_removed(voice_16k: Samples, rate_hz: int) -> None:
    coded = OpusPeer(OpusSettings(sample_rate_hz=rate_hz))(voice_16k.astype(np.float32), 16_000, 32.0)
    assert si_sdr_db(voice_16k, coded.samples.astype(np.float64)) > 8.0


def test_constant_rate_gives_packets_of_one_size(voice_16k: Samples) -> None:
    packets = packets_of(voice_16k, OpusSettings(sample_rate_hz=16_000, vbr=False), 16_000)
    assert {len(packet) for packet in packets} == {40}


def test_a_lost_packet_is_concealed_by_one_frame(voice_16k: Samples) -> None:
    settings = OpusSettings(sample_rate_hz=16_000)
    decoder = OpusDecoder(load_libopus(), settings)
    packets = packets_of(voice_16k, settings, 16_000)
    for packet in packets[:6]:
        decoder.decode(packet)
    first = decoder.decode(None)
    assert first.shape == (320,)
    assert np.abs(first).max() > 1e-3
    last = [decoder.decode(None) for _ in range(60)][-1]
    assert np.abs(last).max() < 0.5 * np.abs(first).max()


def test_in_band_redundancy_brings_a_lost_frame_back(voice_16k: Samples) -> None:
    settings = OpusSettings(sample_rate_hz=16_000, application="voip", inband_fec=True, expected_loss_percent=20)
    packets = packets_of(voice_16k, settings, 24_000)
    library = load_libopus()
    perfect, redundant, concealing = (OpusDecoder(library, settings) for _ in range(3))
    errors = {"redundant": 0.0, "concealing": 0.0}
    for index, packet in enumerate(packets):
        true = perfect.decode(packet)
        lost = index % 4 == 3 and index + 1 < len(packets)
        if lost:
            following = packets[index + 1]
            errors["redundant"] += float(np.sum((redundant.decode(following, fec=True) - true) ** 2))
            errors["concealing"] += float(np.sum((concealing.decode(None) - true) ** 2))
        else:
            redundant.decode(packet)
            concealing.decode(packet)
    assert errors["redundant"] < 0.5 * errors["concealing"]


def test_damaged_packets_and_wrong_frames_are_typed_errors() -> None:
    settings = OpusSettings(sample_rate_hz=16_000)
    decoder = OpusDecoder(load_libopus(), settings)
    with pytest.raises(OpusError, match="decoding failed"):
        decoder.decode(b"\xff" * 3)
    with pytest.raises(OpusError, match=r"shape \(320,\), got \(100,\)"):
        OpusEncoder(load_libopus(), settings, 16_000).encode(np.zeros(100, dtype=np.float32))
    with pytest.raises(OpusError, match="creating an encoder"):
        OpusEncoder(load_libopus(), OpusSettings(sample_rate_hz=44_100), 16_000)


def test_a_library_that_is_not_there_is_a_typed_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(OpusError, match=r"nothing\.so"):
        load_libopus(tmp_path / "nothing.so")
    monkeypatch.setenv(LIBRARY_VARIABLE, str(tmp_path / "named.so"))
    assert find_library() == tmp_path / "named.so"


def test_systems_follow_what_the_build_can_do() -> None:
    systems = {system.name: system for system in opus_systems([9.2, 24.0])}
    assert systems["Opus"].rates_kbps == (9.2, 24.0)
    assert systems["Opus WB"].rates_kbps == (9.2,)
    assert ("Opus WB+LACE" in systems) == load_libopus().has_speech_enhancement
    assert ("Opus WB+NoLACE" in systems) == load_libopus().has_stronger_enhancement
    assert [system.name for system in opus_systems([24.0])] == ["Opus"]


def test_lace_and_nolace_decode_the_same_packets_to_other_sounds(voice_16k: Samples) -> None:
    systems = {system.name: system.codec for system in opus_systems([9.2])}
    if "Opus WB+NoLACE" not in systems:
        assert not load_libopus().has_stronger_enhancement
        return
    sound = voice_16k.astype(np.float32)
    coded = [systems[name](sound, 16_000, 9.2) for name in ("Opus WB", "Opus WB+LACE", "Opus WB+NoLACE")]
    assert len({each.payload_bytes for each in coded}) == 1
    plain, lace, nolace = (each.samples for each in coded)
    assert not np.array_equal(plain, lace)
    assert not np.array_equal(lace, nolace)


def test_forced_wideband_carries_more_than_narrowband_at_a_low_rate(voice_16k: Samples) -> None:
    rng = np.random.default_rng(0)
    sound = (voice_16k + 0.02 * rng.standard_normal(len(voice_16k))).astype(np.float32)

    def energy_above_4_khz(bandwidth: str) -> float:
        decoded = OpusPeer(OpusSettings(bandwidth=bandwidth))(sound, 16_000, 9.2).samples
        return float(np.sum(np.abs(np.fft.rfft(decoded)[len(decoded) // 4 :]) ** 2))

    assert energy_above_4_khz("wide") > 10 * energy_above_4_khz("narrow")


def test_deep_redundancy_is_refused_in_a_sentence_where_the_build_has_none() -> None:
    library = load_libopus()
    if library.has_deep_redundancy:
        assert DredReader(library, 16_000).read(b"\x00" * 20, 16_000) == 0
        return
    with pytest.raises(OpusError, match="without DRED"):
        DredReader(library, 16_000)
    with pytest.raises(OpusError, match="deep redundancy"):
        OpusEncoder(library, OpusSettings(dred_ms=100), 24_000)


@pytest.mark.skipif(
    find_library() is None or not load_libopus().has_deep_redundancy,
    reason="this libopus has no DRED; bench/build_opus.sh builds one, STREAMCODEC_LIBOPUS names it",
)
def test_deep_redundancy_brings_lost_packets_back(voice_16k: Samples) -> None:
    settings = OpusSettings(
        sample_rate_hz=16_000, application="voip", bandwidth="wide", dred_ms=200, expected_loss_percent=20,
        decoder_complexity=7,
    )  # fmt: skip
    packets = packets_of(np.tile(voice_16k, 2), settings, 32_000)
    reader = DredReader(load_libopus(), 16_000)
    frame = settings.frame_samples
    assert np.median([reader.read(packet, 16_000) for packet in packets]) >= 3 * frame
    whole, mended, concealed = (OpusDecoder(load_libopus(), settings) for _ in range(3))
    errors: list[list[float]] = [[], []]
    for index, packet in enumerate(packets[:-2]):
        reference = whole.decode(packet)
        lost = index % 8 in (4, 5)
        reader.read(packets[index + 2 - index % 8 % 2], 16_000)
        sounds = (
            mended.decode_dred(reader, (2 - index % 8 % 2) * frame) if lost else mended.decode(packet),
            concealed.decode(None if lost else packet),
        )
        if lost and index > 16:
            spectrum = np.log(np.abs(np.fft.rfft(reference * np.hanning(frame))) + 1e-3)
            for total, sound in zip(errors, sounds, strict=True):
                total.append(
                    float(np.abs(np.log(np.abs(np.fft.rfft(sound * np.hanning(frame))) + 1e-3) - spectrum).mean())
                )
    assert np.mean(errors[0]) < 0.9 * np.mean(errors[1])
