"""Tags and cover art go from file to file, through ``.sc`` and without; damage to them costs no sound."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from streamcodec import FileFormatError, StreamcodecWarning, decode_file, encode_file, transcode_file
from streamcodec.cli import main
from streamcodec.codec.files import container_pictures, tags
from streamcodec.codec.files.container import FileHeader
from streamcodec.codec.files.container_pictures import fitting_pictures
from streamcodec.codec.files.container_reader import FileReader
from streamcodec.codec.files.container_writer import FileWriter
from streamcodec.codec.files.sound_file import SoundReader
from streamcodec.codec.files.sound_writer import SoundWriter
from streamcodec.codec.files.tags import Picture
from streamcodec.codec.packet import Tier

Float32Array = NDArray[np.float32]
FIELDS = {"title": "Talk", "artist": "A; B", "composer": "C", "albumartist": "D"}
COVER = Picture(b"\x89PNG" + bytes(range(256)) * 20, "image/png", 3, "front")
pytest.importorskip("mutagen")


@pytest.fixture
def tagged(tmp_path: Path, speech: Float32Array) -> Path:
    path = tmp_path / "a.flac"
    soundfile.write(path, speech[:9_600], 24_000)
    with path.open("r+b") as file:
        assert tags.write_tags(file, "FLAC", "PCM_16", FIELDS, (COVER,)) == []
    return path


@pytest.mark.parametrize("name", ["b.flac", "b.ogg", "b.opus", "b.mp3", "b.wav", "b.aiff"])
@pytest.mark.parametrize("coded", [True, False])
@pytest.mark.filterwarnings("ignore::streamcodec.StreamcodecWarning")
def test_what_a_file_says_goes_along(tagged: Path, name: str, coded: bool) -> None:
    target = tagged.with_name(name)
    source = tagged
    if coded:
        source = tagged.with_name("a.sc")
        transcode_file(tagged, source, tier="lossless")
    transcode_file(source, target)
    with SoundReader(target) as sound:
        (picture,) = sound.pictures
        assert (picture.data, picture.mime, picture.kind) == (COVER.data, COVER.mime, COVER.kind)
        assert sound.metadata["title"] == "Talk"
        if name[2:] in ("flac", "ogg", "opus", "mp3"):
            assert FIELDS.items() <= sound.metadata.items()
        heard = sound.read()
    if name[2:] in ("flac", "wav", "aiff"):
        np.testing.assert_array_equal(heard, SoundReader(tagged).read())


def test_the_cover_of_an_m4a_is_read(tmp_path: Path, speech: Float32Array) -> None:
    av: Any = pytest.importorskip("av")
    from mutagen.mp4 import MP4, MP4Cover

    path = tmp_path / "a.m4a"
    with av.open(str(path), "w") as media:
        stream = media.add_stream("alac", rate=24_000, layout="mono")
        frame = av.AudioFrame.from_ndarray((speech[None, :4_096] * 32_768).astype(np.int16), "s16p", "mono")
        frame.sample_rate = 24_000
        media.mux(stream.encode(frame))
        media.mux(stream.encode(None))
    file = MP4(path)
    file["\xa9nam"], file["covr"] = ["Talk"], [MP4Cover(COVER.data, MP4Cover.FORMAT_PNG)]
    file.save()
    encode_file(path, tmp_path / "a.sc")
    with (tmp_path / "a.sc").open("rb") as coded:
        reader = FileReader(coded)
        assert (reader.header.metadata["title"], reader.pictures()[0].data) == ("Talk", COVER.data)


def test_several_values_of_a_field_are_all_kept(tmp_path: Path, speech: Float32Array) -> None:
    flac: Any = pytest.importorskip("mutagen.flac")
    path = tmp_path / "a.flac"
    soundfile.write(path, speech[:2_400], 24_000)
    sound = flac.FLAC(path)
    sound["artist"], sound["tracknumber"] = ["One", "Another"], "3/12"
    sound["replaygain_track_gain"] = "-3.10 dB"
    sound.save()
    transcode_file(path, tmp_path / "a.sc", tier="lossless")
    transcode_file(tmp_path / "a.sc", tmp_path / "b.mp3")
    transcode_file(tmp_path / "b.mp3", tmp_path / "c.flac")
    with SoundReader(tmp_path / "c.flac") as again:
        assert again.metadata["artist"] == "One; Another"
        assert again.metadata["tracknumber"] == "3/12"
        assert float(again.metadata["replaygain_track_gain"].removesuffix(" dB")) == pytest.approx(-3.1, abs=0.01)
        assert "replaygain_track_peak" not in again.metadata


def test_damaged_pictures_cost_no_sound(tagged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tagged.with_name("a.sc")
    encode_file(tagged, path, tier="lossless")
    assert main(["info", str(path)]) == 0
    assert '"image/png"' in capsys.readouterr().out
    data = bytearray(path.read_bytes())
    data[data.index(COVER.data) + 9] ^= 1
    reader = FileReader(io.BytesIO(data))
    assert reader.pictures() == ()
    decode_file(io.BytesIO(data), tagged.with_name("b.wav"))
    with SoundReader(tagged, Tier.LOSSLESS) as one, SoundReader(tagged.with_name("b.wav"), Tier.LOSSLESS) as other:
        np.testing.assert_array_equal(other.read(), one.read())
    for body in (b"", b"\0\0\0\x02[]", b"\0\0\0\x01[", b"\0\0\0\x04[{}]x", b"\xff\xff\xff\xff[]"):
        assert container_pictures.parse_pictures(body) == ()


@pytest.mark.parametrize(
    "odd",
    [{"kind": -1}, {"kind": 300}, {"kind": 1 << 40}, {"type": "\ud800"}, {"type": "日"}, {"description": "\ud800"}],
)
@pytest.mark.parametrize("name", ["b.flac", "b.mp3", "b.ogg", "b.wav"])
def test_pictures_that_no_program_makes_are_kept_as_far_as_a_file_can(
    tagged: Path, name: str, odd: dict[str, Any]
) -> None:
    told = [{"type": "image/png", "kind": 3, "description": "cover", "bytes": 4} | odd]
    text = json.dumps(told).encode()
    (picture,) = container_pictures.parse_pictures(len(text).to_bytes(4, "big") + text + b"data")
    with SoundWriter(tagged.with_name(name), 24_000, 1, 16, {}, pictures=(picture,)) as out:
        out.write(np.zeros(24_000, np.float32))
    with SoundReader(tagged.with_name(name)) as sound:
        assert [picture.data for picture in sound.pictures] == [b"data"]


@pytest.mark.parametrize("name", ["b.flac", "b.mp3", "b.ogg"])
def test_half_characters_in_the_tags_of_a_coded_file_cost_no_sound(tagged: Path, name: str) -> None:
    path = tagged.with_name("a.sc")
    header = FileHeader(Tier.LOSSLESS, 24_000, 1, 50.0, 0, metadata={"title": "\ud800", "mood": "a\udfff"})
    with open(path, "wb") as file:
        FileWriter(file, header).close(0)
    with (
        open(path, "rb") as file,
        SoundWriter(tagged.with_name(name), 24_000, 1, 16, FileReader(file).header.metadata) as out,
    ):
        out.write(np.zeros(24_000, np.float32))
    with SoundReader(tagged.with_name(name)) as sound:
        assert sound.metadata["title"] == "?"


class _FullDisk(io.BytesIO):
    """Takes no more once it is told to."""

    full = False

    def write(self, data: Any, /) -> int:
        if self.full and len(data):
            raise OSError(28, "No space left on device")
        return super().write(data)


def test_a_disk_that_is_full_is_an_error_and_no_file_with_half_its_tags(tagged: Path) -> None:
    disk = _FullDisk(tagged.read_bytes())
    disk.full = True
    with pytest.raises(FileFormatError, match="No space left"):
        tags.write_tags(disk, "FLAC", "PCM_16", {}, (Picture(bytes(100_000)),))


def test_what_does_not_fit_is_said(tagged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.warns(StreamcodecWarning, match=r"2 picture\(s\) do not fit"):
        assert fitting_pictures((COVER, Picture(bytes(1 << 24)), *[COVER] * 31)) == (COVER,) * 31
    with pytest.warns(StreamcodecWarning, match="has no place for albumartist, composer"):
        transcode_file(tagged, tagged.with_name("b.wav"))
    encode_file(tagged, tagged.with_name("a.sc"), tier="lossless")
    monkeypatch.setattr(tags, "can_read", lambda: False)
    with pytest.warns(StreamcodecWarning, match=r"no place for pictures: left out; more is kept with: pip install"):
        decode_file(tagged.with_name("a.sc"), tagged.with_name("c.flac"))
