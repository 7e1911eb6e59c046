"""Files of the waveform tiers: every sample back, whatever their rate, channels and depth; a ratio met in bytes."""

from __future__ import annotations

import io
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamcodec import (
    AudioFormatError,
    FileFormatError,
    Tier,
    decode_file,
    encode_file,
    transcode_file,
)
from streamcodec.codec.files.container import FileHeader
from streamcodec.codec.files.container_reader import FileReader
from tests.helpers.partials import floats, pcm, snr_db

EXACT = ("lossless", "near-lossless")


@pytest.mark.parametrize(("channels", "subtype"), [(1, "PCM_16"), (2, "PCM_16"), (1, "PCM_24"), (2, "PCM_24")])
def test_lossless_files_are_bit_exact(tmp_path: Path, channels: int, subtype: str) -> None:
    bits = int(subtype[-2:])
    sound = pcm(70_001, channels, bits) << (32 - bits)
    with soundfile.SoundFile(tmp_path / "a.flac", "w", 44_100, channels, subtype) as out:
        out.title = "a title"
        out.write(sound)
    header = encode_file(tmp_path / "a.flac", tmp_path / "a.sc", tier="lossless")
    assert (header.tier, header.channels, header.bits_per_sample) == (Tier.LOSSLESS, channels, bits)
    assert decode_file(tmp_path / "a.sc", tmp_path / "b.wav") == 70_001
    with soundfile.SoundFile(tmp_path / "b.wav") as back:
        assert (back.title, back.subtype, back.samplerate) == ("a title", subtype, 44_100)
        np.testing.assert_array_equal(back.read(dtype="int32", always_2d=True), sound)


@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize("kind", ["one sample", "square wave", "noise"])
def test_extreme_sounds_come_back_from_files(tmp_path: Path, kind: str, bits: int) -> None:
    top = (1 << (bits - 1)) - 1
    t = np.arange(1 if kind == "one sample" else 9_001)
    noise = np.random.default_rng(bits).integers(-top - 1, top + 1, len(t))
    one = noise if kind == "noise" else np.where(t // 37 % 2, top, -top - 1)
    sound = np.stack([one, one[::-1]], axis=1).astype(np.int32) << (32 - bits)
    soundfile.write(tmp_path / "a.flac", sound, 48_000, f"PCM_{bits}")
    encode_file(tmp_path / "a.flac", tmp_path / "a.sc", tier="lossless")
    assert decode_file(tmp_path / "a.sc", tmp_path / "b.flac") == len(t)
    np.testing.assert_array_equal(soundfile.read(tmp_path / "b.flac", dtype="int32", always_2d=True)[0], sound)
    raw_bytes = sound.size * bits // 8
    assert (tmp_path / "a.sc").stat().st_size < raw_bytes + 30 * (len(t) // 960 + 1) + 400


def test_one_process_encodes_and_another_decodes(tmp_path: Path) -> None:
    wave = tmp_path / "a.wav"
    sound = pcm(22_051, 2, 24) << 8
    soundfile.write(wave, sound, 44_100, "PCM_24")
    data = wave.read_bytes()
    for arguments in (["encode", "-", "-", "--tier", "lossless"], ["decode", "-", "-"]):
        command = [sys.executable, "-m", "streamcodec", *arguments]
        data = subprocess.run(command, input=data, capture_output=True, check=True, timeout=100).stdout
    np.testing.assert_array_equal(soundfile.read(io.BytesIO(data), dtype="int32")[0], sound)


def test_lossless_files_spend_little_on_packets(tmp_path: Path, fixtures: Path) -> None:
    source, sizes = fixtures / "speech_44k.flac", []
    for options in ({"packet_ms": 20, "key_period_s": 1.0}, {}):
        encode_file(source, tmp_path / "a.sc", tier="lossless", **options)  # type: ignore[arg-type]
        sizes.append((tmp_path / "a.sc").stat().st_size)
        decode_file(tmp_path / "a.sc", tmp_path / "a.wav")
        heard, expected = (soundfile.read(path, dtype="int16")[0] for path in (tmp_path / "a.wav", source))
        assert np.array_equal(heard, expected)
    assert sizes[1] < 0.99 * sizes[0]


@pytest.mark.parametrize("ratio", [8, 30])
def test_a_ratio_of_files_is_met_in_bytes_of_the_file(tmp_path: Path, fixtures: Path, ratio: float) -> None:
    source = fixtures / "environment_48k.flac"
    encode_file(source, tmp_path / "a.sc", tier="near-lossless", ratio=ratio, optimise="mse")
    sound, _ = soundfile.read(source, dtype="float32")
    assert 0.99 < (tmp_path / "a.sc").stat().st_size * ratio / (2 * sound.size) <= 1.0
    decode_file(tmp_path / "a.sc", tmp_path / "a.wav")
    decoded, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    assert decoded.shape == sound.shape
    assert snr_db(sound, decoded) > (33 if ratio == 8 else 18)


@pytest.mark.parametrize(
    ("samples", "channels", "ratio", "rate_hz"),
    [
        (1_500, 2, 4, 24_000),
        (2_000, 1, 4, 24_000),
        (3_000, 1, 8, 24_000),
        (3_000, 1, 12, 48_000),
        (4_000, 2, 12, 48_000),
    ],
)
def test_a_ratio_of_short_files_counts_the_silence_in_their_last_packet(
    tmp_path: Path, samples: int, channels: int, ratio: float, rate_hz: int
) -> None:
    tone = 0.3 * np.sin(np.arange(samples) / 5.0)
    soundfile.write(tmp_path / "a.wav", np.tile(tone[:, np.newaxis], channels), rate_hz)
    encode_file(tmp_path / "a.wav", tmp_path / "a.sc", tier="near-lossless", ratio=ratio)
    assert 0.9 < (tmp_path / "a.sc").stat().st_size * ratio / (2 * samples * channels) <= 1.0


@pytest.mark.parametrize("tier", EXACT)
def test_damaged_files_decode_to_full_length(tmp_path: Path, fixtures: Path, tier: str) -> None:
    encode_file(fixtures / "speech_44k.flac", tmp_path / "a.sc", tier=tier)  # type: ignore[arg-type]
    data = bytearray((tmp_path / "a.sc").read_bytes())
    data[len(data) // 2] ^= 1
    out = io.BytesIO()
    assert decode_file(io.BytesIO(bytes(data)), out) == soundfile.info(fixtures / "speech_44k.flac").frames
    sound, rate_hz = soundfile.read(fixtures / "speech_44k.flac", dtype="int16")
    soundfile.write(tmp_path / "long.wav", np.concatenate([sound, sound]), rate_hz)
    encode_file(tmp_path / "long.wav", tmp_path / "b.sc", tier=tier)  # type: ignore[arg-type]
    data = bytearray((tmp_path / "b.sc").read_bytes())
    killed = io.BytesIO(bytes(data[: int(0.7 * len(data))]))
    assert decode_file(killed, io.BytesIO()) > 1.9 * rate_hz


def test_transcoding_there_and_back_keeps_samples_and_metadata(tmp_path: Path) -> None:
    sound = pcm(10_000, 2, 24) << 8
    with soundfile.SoundFile(tmp_path / "a.wav", "w", 48_000, 2, "PCM_24") as out:
        out.title = "a title"
        out.write(sound)
    steps = ["a.wav", "b.flac", "c.sc", "d.sc", "e.flac"]
    for source, target in pairwise(steps):
        transcode_file(tmp_path / source, tmp_path / target, tier="lossless")
    with soundfile.SoundFile(tmp_path / "e.flac") as back:
        assert back.title == "a title"
        np.testing.assert_array_equal(back.read(dtype="int32"), sound)


def test_headers_of_older_files_are_read() -> None:
    old = '{"tier": "neural", "sample_rate_hz": 24000, "channels": 1, "packets_per_second": 50.0, "delay_samples": 0}'
    assert FileHeader.from_json(old).bits_per_sample == 16
    for field, value in (("tier", '"other"'), ("bits_per_sample", "40"), ("bits_per_sample", "null")):
        with pytest.raises(FileFormatError):
            FileHeader.from_json(f'{old[:-1]}, "{field}": {value}}}')


def test_float_files_are_refused_by_the_lossless_tier(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", floats(100), 44_100, subtype="FLOAT")
    with pytest.raises(AudioFormatError, match="24- and 32-bit PCM"):
        encode_file(tmp_path / "a.wav", tmp_path / "a.sc", tier="lossless")
    assert not (tmp_path / "a.sc").exists()
    encode_file(tmp_path / "a.wav", tmp_path / "a.sc", tier="near-lossless")
    with (tmp_path / "a.sc").open("rb") as file:
        assert FileReader(file).header.bits_per_sample == 24


@pytest.mark.parametrize(
    ("rate_hz", "channels", "subtype"), [(192_000, 6, "PCM_32"), (96_000, 8, "PCM_24"), (11_025, 3, "PCM_U8")]
)
def test_files_of_every_kind_of_integers_come_back(rate_hz: int, channels: int, subtype: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(channels)
    samples = (np.cumsum(rng.normal(0, 3e6, (rate_hz // 20, channels)), axis=0)).astype(np.int32)
    soundfile.write(tmp_path / "a.wav", samples, rate_hz, subtype=subtype)
    transcode_file(tmp_path / "a.wav", tmp_path / "a.sc", tier="lossless")
    transcode_file(tmp_path / "a.sc", tmp_path / "b.wav")
    transcode_file(tmp_path / "a.wav", tmp_path / "c.wav")
    wanted = soundfile.read(tmp_path / "a.wav", dtype="int32")[0]
    for name in ("b.wav", "c.wav"):
        with soundfile.SoundFile(tmp_path / name) as file:
            assert (file.subtype, file.samplerate) == (subtype, rate_hz)
            np.testing.assert_array_equal(file.read(dtype="int32"), wanted)
