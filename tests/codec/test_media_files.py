"""Sound of any rate, of any number of channels, and of what only PyAV reads."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from streamcodec import AudioFormatError, StreamcodecWarning, decode_file, encode_file
from streamcodec.codec.files.container_reader import FileReader
from streamcodec.codec.files.sound_file import SoundReader
from streamcodec.codec.packet import Tier

Float32Array = NDArray[np.float32]


def write_media(path: Path, codec: str, sound: Float32Array, rate_hz: int, **tags: str) -> Path:
    av: Any = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="mono")
        container.metadata.update(tags)
        for start in range(0, len(sound), 1_024):
            piece = sound[start : start + 1_024][np.newaxis]
            samples = (piece * 32_768).astype(np.int16) if codec == "alac" else piece
            kind = "s16p" if codec == "alac" else "fltp"
            frame = av.AudioFrame.from_ndarray(samples, format=kind, layout="mono")
            frame.sample_rate, frame.pts = rate_hz, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("name", "codec"), [("a.m4a", "aac"), ("a.mkv", "aac"), ("a.webm", "libopus")])
def test_media_files_are_read(name: str, codec: str, tmp_path: Path, speech: Float32Array) -> None:
    rate_hz = 48_000 if codec == "libopus" else 24_000
    sound = np.repeat(speech[:24_000], rate_hz // 24_000)
    path = write_media(tmp_path / name, codec, sound, rate_hz, title="Talk", artist="Somebody")
    encode_file(path, tmp_path / "a.sc", 9_000)
    with (tmp_path / "a.sc").open("rb") as file:
        reader = FileReader(file)
        assert reader.header.metadata["title"] == "Talk"
        assert reader.header.sample_rate_hz == rate_hz
    with SoundReader(path, Tier.NEURAL) as read:
        found = read.read()[:, 0]
    assert abs(len(found) - len(sound)) <= 1_024
    lags = [
        int(np.correlate(found[4_000 + lag : 14_000 + lag], sound[4_000:14_000])[0] * 1_000) for lag in range(-40, 41)
    ]
    assert abs(int(np.argmax(lags)) - 40) <= 1  # gapless: no lag of the encoder is left
    decode_file(tmp_path / "a.sc", tmp_path / "a.flac")
    assert soundfile.SoundFile(tmp_path / "a.flac").title == "Talk"


@pytest.mark.parametrize("tagged", [False, True])
def test_aac_without_a_container_is_not_taken_for_mp3(
    tagged: bool, tmp_path: Path, speech: Float32Array, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_media(tmp_path / "a.aac", "aac", speech[:24_000], 24_000)
    if tagged:
        id3: Any = pytest.importorskip("mutagen.id3")
        frames = id3.ID3()
        frames.add(id3.TIT2(encoding=3, text=["Talk " * 40]))
        frames.save(path)
    with SoundReader(path, Tier.NEURAL) as read:
        found = read.read()[:, 0]
    assert 24_000 <= len(found) < 24_000 + 3_072  # nothing says how much of the ends is padding
    assert np.abs(found).max() > 0.5 * np.abs(speech[:24_000]).max()
    assert "mpg123" not in capfd.readouterr().err


def test_aac_without_pyav_says_how(tmp_path: Path, speech: Float32Array, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_media(tmp_path / "a.aac", "aac", speech[:24_000], 24_000)
    monkeypatch.setattr("streamcodec.codec.files.media_file.can_read", lambda: False)
    with pytest.raises(AudioFormatError, match=r"not recognised; .*streamcodec\[media\]"):
        SoundReader(path, Tier.NEURAL)


def test_alac_is_kept_to_the_bit(tmp_path: Path, speech: Float32Array) -> None:
    path = write_media(tmp_path / "a.m4a", "alac", speech[:24_000], 24_000)
    encode_file(path, tmp_path / "a.sc", tier="lossless")
    decode_file(tmp_path / "a.sc", tmp_path / "a.wav")
    heard = soundfile.read(tmp_path / "a.wav", dtype="int16")[0]
    np.testing.assert_array_equal(heard, (speech[:24_000] * 32_768).astype(np.int16))


def test_without_pyav_the_sentence_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "av" else found(name, *more))
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    with pytest.raises(AudioFormatError, match=r"streamcodec\[media\]"):
        encode_file(tmp_path / "a.m4a", tmp_path / "a.sc")
    monkeypatch.undo()
    with pytest.raises(AudioFormatError, match="cannot read"):
        encode_file(tmp_path / "a.m4a", tmp_path / "a.sc")


@pytest.mark.parametrize(("rate_hz", "taken_hz"), [(11_025, 16_000), (12_000, 16_000), (96_000, 48_000)])
def test_other_rates_and_channels_are_told(rate_hz: int, taken_hz: int, tmp_path: Path, speech: Float32Array) -> None:
    stereo = np.stack([speech[: 2 * rate_hz // 4], 0.5 * speech[: 2 * rate_hz // 4]], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, rate_hz)
    with pytest.warns(StreamcodecWarning, match=f"resampled from {rate_hz} Hz to {taken_hz} and mixed down from 2"):
        encode_file(tmp_path / "a.wav", tmp_path / "a.sc")
    decode_file(tmp_path / "a.sc", tmp_path / "b.wav")
    heard = soundfile.info(tmp_path / "b.wav")
    assert heard.samplerate == taken_hz
    assert heard.duration == pytest.approx(len(stereo) / rate_hz, abs=1e-3)
