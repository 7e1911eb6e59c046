"""Sound files whose headers tell a wrong length, and formats that cannot keep everything."""

from __future__ import annotations

import io
import os
import struct
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamcodec import FileFormatError, StreamcodecWarning, Tier, decode_file, encode_file, transcode_file
from streamcodec.codec.files import sound_writer
from streamcodec.codec.files.sound_file import SoundReader
from streamcodec.codec.files.sound_lengths import RepairedFile, repair_of
from streamcodec.codec.files.sound_writer import SoundWriter

RATE_HZ = 24_000
TONE = (0.3 * np.sin(0.1 * np.arange(2 * RATE_HZ))).astype(np.float32)


def written(path: Path, samples: np.ndarray = TONE, rate_hz: int = RATE_HZ, **options: object) -> bytearray:
    soundfile.write(path, samples, rate_hz, **options)
    return bytearray(path.read_bytes())


def read(source: object, tier: Tier = Tier.NEAR_LOSSLESS) -> np.ndarray:
    with SoundReader(source, tier) as sound:  # type: ignore[arg-type]
        return sound.read()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("length", [0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFF00, 0xFFFFFFDB])
def test_a_wav_of_a_recorder_that_was_cut_off_is_read_to_its_end(length: int, tmp_path: Path) -> None:
    data = written(tmp_path / "a.wav", subtype="PCM_16")
    at = data.find(b"data")
    data[at + 4 : at + 8] = struct.pack("<I", length)
    data[4:8] = struct.pack("<I", length)
    (tmp_path / "b.wav").write_bytes(data)
    np.testing.assert_array_equal(read(tmp_path / "b.wav"), read(tmp_path / "a.wav"))


def test_a_caf_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    data = written(tmp_path / "a.caf", subtype="PCM_16")
    at = data.find(b"data")
    data[at + 4 : at + 12] = b"\xff" * 8
    (tmp_path / "b.caf").write_bytes(data)
    assert abs(len(read(tmp_path / "b.caf")) - len(TONE)) <= 2


def test_a_flac_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    data = written(tmp_path / "a.flac", subtype="PCM_16")
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    (tmp_path / "b.flac").write_bytes(data)
    np.testing.assert_array_equal(read(tmp_path / "b.flac"), read(tmp_path / "a.flac"))


def test_an_empty_wav_with_chunks_behind_stays_empty_and_says_so(tmp_path: Path) -> None:
    data = written(tmp_path / "a.wav", TONE[:0], subtype="PCM_16")
    (tmp_path / "a.wav").write_bytes(bytes(data) + b"LIST" + struct.pack("<I", 4) + b"INFO")
    with pytest.warns(StreamcodecWarning, match=r"a\.wav holds no sound"):
        assert len(read(tmp_path / "a.wav")) == 0


def test_a_cut_wav_says_what_is_missing(tmp_path: Path) -> None:
    data = written(tmp_path / "a.wav", subtype="PCM_16")
    (tmp_path / "a.wav").write_bytes(data[: len(data) // 2])
    with pytest.warns(StreamcodecWarning, match=r"ends after 1\.00 s of the 2\.00 s"):
        assert len(read(tmp_path / "a.wav")) == pytest.approx(RATE_HZ, abs=50)


def noise_behind_silence() -> np.ndarray:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * 44_100).astype(np.float32)
    return np.concatenate([np.zeros(3 * 44_100, np.float32), noise])


def mp3(path: Path, samples: np.ndarray, mode: str) -> bytes:
    if "MP3" not in soundfile.available_formats():
        pytest.skip("libsndfile without MP3")
    with soundfile.SoundFile(path, "w", 44_100, 1, format="MP3", bitrate_mode=mode, compression_level=0.4) as out:
        out.write(samples)
    return path.read_bytes()


def seconds(path: Path) -> float:
    return len(read(path)) / 44_100


@pytest.mark.parametrize("form", ["RF64", "W64", "AU"])
def test_a_file_of_64_bits_or_of_sun_says_what_is_missing(form: str, tmp_path: Path) -> None:
    data = written(tmp_path / "a.snd", format=form, subtype="PCM_16")
    (tmp_path / "a.snd").write_bytes(data[: len(data) // 2])
    with pytest.warns(StreamcodecWarning, match=r"ends after 1\.00 s of the 2\.00 s"):
        read(tmp_path / "a.snd")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("unset", [b"\0", b"\xff"])
def test_an_rf64_of_a_recorder_that_was_cut_off_is_read_to_its_end(unset: bytes, tmp_path: Path) -> None:
    data = written(tmp_path / "a.rf64", format="RF64", subtype="PCM_16")
    at = data.find(b"ds64") + 8
    data[at : at + 24] = 24 * unset
    (tmp_path / "b.rf64").write_bytes(data)
    np.testing.assert_array_equal(read(tmp_path / "b.rf64"), read(tmp_path / "a.rf64"))


@pytest.mark.parametrize(
    ("length", "behind"), [(1 << 30, b""), (1 << 30, b"LIST\x04\0\0\0INFO"), (0xFFFFFFFF, b""), (0, b"")]
)
def test_a_wav_of_more_than_four_gibibytes_is_read_to_its_end(length: int, behind: bytes, tmp_path: Path) -> None:
    sound_bytes = 5 << 30
    with open(tmp_path / "long.wav", "w+b") as file:
        form = struct.pack("<IHHIIHH", 16, 1, 2, 48_000, 192_000, 4, 16)
        file.write(b"RIFF\xff\xff\xff\xffWAVEfmt " + form + b"data" + struct.pack("<I", length))
        file.seek(sound_bytes - 4, os.SEEK_CUR)
        file.write(struct.pack("<hh", 1, 2) + behind)
        repair = repair_of(file)
        assert repair is not None
        with soundfile.SoundFile(RepairedFile(file, repair)) as sound:
            assert (sound.frames, sound.samplerate, sound.channels) == (sound_bytes // 4, 48_000, 2)
            sound.seek(-1, os.SEEK_END)
            assert sound.read(dtype="int16").tolist() == [[1, 2]]


def test_a_file_of_more_than_its_header_can_tell_is_said_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sound_writer, "MAX_SHORT_BYTES", 1_000)
    with (
        pytest.warns(StreamcodecWarning, match=r"more than 4 GiB .* \.w64 or \.rf64 name"),
        SoundWriter(tmp_path / "a.wav", RATE_HZ, 1, 16, {}) as out,
    ):
        out.write(TONE)
    with (
        pytest.raises(FileFormatError, match="AIFF holds no more than 4 GiB"),
        SoundWriter(tmp_path / "a.aiff", RATE_HZ, 1, 16, {}) as out,
    ):
        out.write(TONE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("a.flac", "a.w64", "a.rf64"):
            with SoundWriter(tmp_path / name, RATE_HZ, 1, 16, {}) as out:
                out.write(TONE)
    assert {path.name for path in tmp_path.iterdir()} == {"a.wav", "a.flac", "a.w64", "a.rf64"}


def test_long_sound_reaches_libvorbis_in_pieces_that_fit_its_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = []
    monkeypatch.setattr(soundfile.SoundFile, "write", lambda _, block: lengths.append(len(block)))
    with SoundWriter(tmp_path / "a.ogg", RATE_HZ, 1, 16, {}) as out:
        out.write(np.zeros(6_000_000, np.float32))
    assert sum(lengths) == 6_000_000
    assert max(lengths) < 1_000_000


@pytest.mark.parametrize(
    ("name", "rate_hz", "says"),
    [("a.ogg", 384_000, "at most 200000 samples per second"), ("a.sd2", 24_000, "does not fit into .sd2")],
)
def test_formats_that_would_crash_or_hold_another_rate_are_refused(
    name: str, rate_hz: int, says: str, tmp_path: Path
) -> None:
    with pytest.raises(FileFormatError, match=says):
        SoundWriter(tmp_path / name, rate_hz, 1, 16, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("tags", [1, 2])
def test_flac_behind_id3_tags_is_flac(tags: int, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-3_000, 3_000, 20 * RATE_HZ).astype(np.int16)
    data = written(tmp_path / "a.flac", noise)
    tag = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)
    (tmp_path / "b.flac").write_bytes(tags * tag + bytes(data))
    np.testing.assert_array_equal(read(tmp_path / "b.flac"), read(tmp_path / "a.flac"))


def test_a_header_of_impossible_rate_and_channels_takes_no_memory(tmp_path: Path) -> None:
    rate_hz, channels = 0x7FFFFFFF, 1_024
    form = struct.pack("<IHHIIHH", 16, 1, channels, rate_hz, 0, 2 * channels, 16)
    sound = bytes(2 * channels)
    head = b"RIFF" + struct.pack("<I", 36 + len(sound)) + b"WAVEfmt " + form + b"data" + struct.pack("<I", len(sound))
    (tmp_path / "a.wav").write_bytes(head + sound)
    assert read(tmp_path / "a.wav").shape == (1, channels)


def test_an_mp3_of_variable_rate_without_its_length_is_read_whole(tmp_path: Path) -> None:
    data = mp3(tmp_path / "a.mp3", noise_behind_silence(), "VARIABLE")
    first_sound = data.index(data[:2], data.index(b"Xing") + 100)
    (tmp_path / "b.mp3").write_bytes(data[first_sound:])
    assert soundfile.info(tmp_path / "b.mp3").duration > 8
    assert seconds(tmp_path / "b.mp3") == pytest.approx(6, abs=0.1)


def test_joined_mp3s_are_read_to_the_end_of_the_last(tmp_path: Path) -> None:
    samples = noise_behind_silence()[3 * 44_100 :]
    data = mp3(tmp_path / "a.mp3", samples, "CONSTANT")
    (tmp_path / "b.mp3").write_bytes(
        b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + data + b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + data
    )
    assert seconds(tmp_path / "b.mp3") == pytest.approx(6, abs=0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert seconds(tmp_path / "a.mp3") == pytest.approx(3, abs=0.001)


def test_a_cut_mp3_ends_where_its_bytes_end(tmp_path: Path) -> None:
    """And does not repeat its last good second up to the length that the header promises."""
    data = mp3(tmp_path / "a.mp3", noise_behind_silence()[3 * 44_100 :], "CONSTANT")
    (tmp_path / "b.mp3").write_bytes(data[: len(data) // 2])
    with pytest.warns(StreamcodecWarning, match=r"ends after 1\.\d\d s of the 3\.\d\d s"):
        assert seconds(tmp_path / "b.mp3") == pytest.approx(1.5, abs=0.1)


@pytest.mark.parametrize("suffix", ["w64", "au", "raw"])
def test_tags_are_left_out_where_a_format_has_none(suffix: str, tmp_path: Path) -> None:
    target = tmp_path / f"a.{suffix}"
    with (
        pytest.warns(StreamcodecWarning, match="has no place for title, artist: left out"),
        SoundWriter(target, RATE_HZ, 1, 16, {"title": "t", "artist": "a"}) as out,
    ):
        out.write(TONE)
    assert target.stat().st_size >= 2 * len(TONE)


def test_a_long_comment_is_left_out_of_a_coded_file(tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "a.flac", "w", RATE_HZ, 1) as out:
        out.comment, out.title = "x" * 120_000, "kept"
        out.write(TONE[: RATE_HZ // 10])
    with pytest.warns(StreamcodecWarning, match="too long for the header"):
        header = encode_file(tmp_path / "a.flac", tmp_path / "a.sc")
    assert header.metadata["title"] == "kept"


@pytest.mark.parametrize(("suffix", "subtype"), [("wav", "PCM_U8"), ("flac", "PCM_S8")])
def test_eight_bits_come_back(suffix: str, subtype: str, tmp_path: Path) -> None:
    source, target = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    written(source, subtype=subtype)
    header = encode_file(source, tmp_path / "a.sc", tier="lossless")
    assert header.bits_per_sample == 8
    decode_file(tmp_path / "a.sc", target)
    assert soundfile.info(target).subtype == subtype
    np.testing.assert_array_equal(read(target), read(source))


def test_sound_above_full_scale_is_kept_or_said(tmp_path: Path) -> None:
    written(tmp_path / "a.wav", 10 * TONE, subtype="FLOAT")
    with pytest.warns(StreamcodecWarning, match=r"a\.wav reaches 3 times full scale"):
        encode_file(tmp_path / "a.wav", tmp_path / "a.sc", tier="near-lossless", snr_db=50, optimise="mse")
    with pytest.warns(StreamcodecWarning, match=r"clipped: the sound reaches 3.* times full scale"):
        decode_file(tmp_path / "a.sc", tmp_path / "b.wav")
    decode_file(tmp_path / "a.sc", tmp_path / "c.wav", floats=True)
    heard = read(tmp_path / "c.wav")[:, 0]
    assert 10 * np.log10(np.mean(100 * TONE**2) / np.mean((heard - 10 * TONE) ** 2)) > 45
    with pytest.warns(StreamcodecWarning, match="clipped"):
        transcode_file(tmp_path / "a.wav", tmp_path / "d.flac")


@pytest.mark.skipif(os.name != "posix", reason="signals, pipes and devices of POSIX")
def test_pipes_are_taken(tmp_path: Path) -> None:
    data = written(tmp_path / "a.flac", subtype="PCM_16")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    feeder = threading.Thread(target=lambda: pipe.write_bytes(bytes(data)), daemon=True)
    feeder.start()
    np.testing.assert_array_equal(read(pipe), read(tmp_path / "a.flac"))
    feeder.join(5)


def test_an_error_of_the_disk_is_a_sentence() -> None:
    class Failing(io.BytesIO):
        def read(self, count: int | None = -1) -> bytes:
            if self.tell() > 40_000:
                raise OSError(5, "Input/output error")
            return super().read(count)

    whole = io.BytesIO()
    soundfile.write(whole, TONE, RATE_HZ, format="WAV", subtype="PCM_16")
    with pytest.raises(ValueError, match="cannot read the stream: Input/output error"):
        read(Failing(whole.getvalue()))


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_all_recordings_of_a_chained_ogg_are_read(subtype: str, tmp_path: Path) -> None:
    parts = [written(tmp_path / "a.ogg", TONE[: RATE_HZ // n], format="OGG", subtype=subtype) for n in (1, 2, 1)]
    (tmp_path / "b.ogg").write_bytes(b"".join(parts))
    with warnings.catch_warnings():
        warnings.simplefilter("error", StreamcodecWarning)
        whole = read(tmp_path / "b.ogg")
    single = read(tmp_path / "a.ogg")
    assert abs(len(whole) - 2.5 * RATE_HZ) < 0.02 * RATE_HZ
    np.testing.assert_array_equal(whole[-len(single) :], single)


def test_a_chained_ogg_that_changes_its_rate_says_what_is_left_out(tmp_path: Path) -> None:
    parts = [written(tmp_path / "a.ogg", rate_hz=rate, format="OGG", subtype="VORBIS") for rate in (RATE_HZ, 48_000)]
    (tmp_path / "b.ogg").write_bytes(b"".join(parts))
    with pytest.warns(StreamcodecWarning, match="48000 Hz and 1 channels"):
        assert abs(len(read(tmp_path / "b.ogg")) - len(TONE)) < 0.02 * RATE_HZ


def test_a_chained_ogg_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    part = written(tmp_path / "a.ogg", format="OGG", subtype="VORBIS")
    for kept in (20, 100, 3_000, len(part) - 20):
        (tmp_path / "b.ogg").write_bytes(part + part[:kept])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", StreamcodecWarning)
            assert len(read(tmp_path / "b.ogg")) >= len(TONE) - 100
    (tmp_path / "b.ogg").write_bytes(part + part[:3_000].replace(b"vorbis", b"sorbiv"))
    with pytest.warns(StreamcodecWarning, match="damaged"):
        read(tmp_path / "b.ogg")
