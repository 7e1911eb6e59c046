"""Output files: whole or not there, and never over what is being read."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamcodec import (
    FileFormatError,
    StreamcodecError,
    StreamcodecWarning,
    Tier,
    decode_file,
    encode_file,
    transcode_file,
)
from streamcodec.cli.call_sound import FileSink, SoundFormat
from streamcodec.codec.files.output_file import (
    PART_SUFFIX,
    unfinished_recordings,
    whole_file,
    whole_folder,
    write_whole,
)
from streamcodec.codec.files.sound_file import SoundReader
from streamcodec.codec.files.sound_writer import SoundWriter, warn_of_unfinished
from streamcodec.live.recorder import Recorder
from streamcodec.live.ring_buffer import RingBuffer


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    soundfile.write(path, 0.3 * np.sin(0.1 * np.arange(4_800)), 24_000, subtype="PCM_16")
    return path


def leftovers(folder: Path) -> list[Path]:
    return [*folder.rglob(f"*{PART_SUFFIX}"), *folder.rglob("*.unfinished-*")]


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"older")
    target.chmod(0o640)
    with whole_file(target) as out:
        out.write(b"new")
        out.flush()
        assert target.read_bytes() == b"older"
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert not leftovers(tmp_path)


def half_written(target: Path, error: type[BaseException]) -> None:
    with whole_file(target) as out:
        out.write(b"half")
        raise error


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_older_file_and_nothing_new(error: type[BaseException], tmp_path: Path) -> None:
    for name in ("older", "none"):
        target = tmp_path / name
        if name == "older":
            target.write_bytes(b"older")
        with pytest.raises(error):
            half_written(target, error)
        assert not target.exists() if name == "none" else target.read_bytes() == b"older"
    assert not leftovers(tmp_path)


def test_a_folder_is_replaced_file_by_file_when_all_are_there(tmp_path: Path) -> None:
    model = tmp_path / "none" / "model"
    for text in ("first", "second"):
        with whole_folder(model, last="model.json") as made:
            assert made.name == model.name
            for name in ("a", "model.json", "z"):
                (made / name).write_text(text)
            assert text == "first" or (model / "a").read_text() == "first"
        (model / "notes").write_text("of the user")
    assert {path.name: path.read_text() for path in model.iterdir()} == {
        **dict.fromkeys(("a", "model.json", "z"), "second"),
        "notes": "of the user",
    }
    assert list(model.parent.iterdir()) == [model]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_folder_that_fails_in_the_middle_is_left_as_it_was(
    error: BaseException | type[BaseException], tmp_path: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.json").write_text("older")
    wanted = FileFormatError if isinstance(error, OSError) else error

    def fail() -> None:
        with whole_folder(model, last="model.json") as made:
            (made / "model.json").write_text("new")
            raise error

    with pytest.raises(wanted):  # type: ignore[arg-type]
        fail()
    assert [path.read_text() for path in model.iterdir()] == ["older"]
    assert list(tmp_path.iterdir()) == [model]


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", "text")
    (tmp_path / "b").write_text("text")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"older")
    (tmp_path / "link").symlink_to("real")
    write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


@pytest.mark.parametrize("way", ["name", "dots", "symlink", "hardlink", "object"])
def test_what_is_read_is_never_written(way: str, sound: Path) -> None:
    before = sound.read_bytes()
    other = sound.parent / "other.wav"
    if way == "dots":
        other = sound.parent / ".." / sound.parent.name / sound.name
    elif way == "symlink":
        other.symlink_to(sound)
    elif way == "hardlink":
        os.link(sound, other)
    else:
        other = sound
    with sound.open("rb") as file, pytest.raises(FileFormatError, match="is the file that is read"):
        encode_file(file if way == "object" else sound, other)
    assert sound.read_bytes() == before


def test_every_way_through_files_refuses_its_own_source(sound: Path, tmp_path: Path) -> None:
    coded = tmp_path / "a.sc"
    encode_file(sound, coded)
    link = tmp_path / "b.wav"
    link.symlink_to(coded)
    before = coded.read_bytes()
    for attempt in (
        lambda: decode_file(coded, link),
        lambda: transcode_file(coded, link),
        lambda: transcode_file(coded, coded),
        lambda: transcode_file(sound, sound),
    ):
        with pytest.raises(FileFormatError, match="is the file that is read"):
            attempt()
    assert coded.read_bytes() == before
    assert soundfile.info(sound).frames == 4_800


def test_an_encoding_that_fails_leaves_nothing(sound: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.sc"
    target.write_bytes(b"older")
    cut = tmp_path / "cut.flac"
    soundfile.write(cut, np.random.default_rng(1).uniform(-1, 1, 96_000), 24_000, subtype="PCM_16")
    cut.write_bytes(cut.read_bytes()[:1_000])
    with pytest.raises(StreamcodecError, match=r"cut\.flac is damaged: no sound in it can be read"):
        encode_file(cut, target, tier="lossless")
    assert target.read_bytes() == b"older"
    assert not leftovers(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_one_sentence(sound: Path) -> None:
    coded = sound.with_suffix(".sc")
    encode_file(sound, coded)
    for attempt in (
        lambda: encode_file(sound, "/dev/full"),
        lambda: decode_file(coded, "/dev/full"),
        lambda: write_whole("/dev/full", b"x"),
    ):
        with pytest.raises(FileFormatError, match=r"^cannot write /dev/full: No space left on device$"):
            attempt()


def test_devices_are_written_directly(sound: Path) -> None:
    coded = sound.with_suffix(".sc")
    encode_file(sound, coded)
    assert decode_file(coded, os.devnull) == 4_800
    assert not Path(os.devnull).is_file()


def test_names_of_any_bytes(sound: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9 \xff.sc")
    try:
        odd.touch()
    except (OSError, ValueError):
        pytest.skip("this file system takes UTF-8 names only")
    encode_file(sound, odd)
    heard = tmp_path / os.fsdecode(b"heard\xe9.wav")
    assert decode_file(odd, heard) == 4_800
    long = tmp_path / ("x" * 251 + ".sc")
    encode_file(sound, long)
    assert long.is_file()
    with pytest.raises(FileFormatError, match="cannot write"):
        encode_file(sound, tmp_path / ("x" * 300 + ".sc"))


def test_a_recording_keeps_what_a_full_disk_let_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.wav"
    writer = SoundWriter(target, 8_000, 1, 16, {})
    writer.write(np.full(8_000, 0.5, np.float32))
    monkeypatch.setattr(writer._target, "error", OSError(28, "No space left on device"))
    with pytest.raises(FileFormatError, match="No space left on device"):
        writer.write(np.full(8_000, 0.5, np.float32))
    monkeypatch.undo()
    writer._target.error = None
    writer.finish(as_far_as_it_goes=True)
    assert soundfile.info(target).frames >= 8_000


KILLED = """
import os, signal, sys
import numpy as np
from streamcodec.codec.files.sound_writer import SoundWriter
from streamcodec.codec.files.output_file import unfinished_recordings
tone = np.sin(0.1 * np.arange(480)).astype(np.float32)
for name in sys.argv[1:]:
    if not os.fork():
        writer = SoundWriter(name, 24_000, 1, 16, {}, recording=True)
        for _ in range(200):
            writer.write(0.3 * tone)
        assert not unfinished_recordings(name), "it is being written"
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == -signal.SIGKILL
"""


@pytest.mark.skipif(os.name != "posix", reason="processes of POSIX")
def test_a_recording_whose_process_is_killed_can_be_found_and_played(tmp_path: Path) -> None:
    """Every format but those that are compressed has all of it; those lack no more than half a second."""
    names = [str(tmp_path / f"a{suffix}") for suffix in (".wav", ".aiff", ".caf", ".w64", ".flac", ".ogg")]
    subprocess.run([sys.executable, "-c", KILLED, *names], check=True, cwd=Path(__file__).parents[2], timeout=100)
    for name in map(Path, names):
        assert not name.exists()
        (left,) = unfinished_recordings(name)
        assert left.name.startswith(f"{name.name}.unfinished-")
        assert left.suffix == name.suffix
        with pytest.warns(StreamcodecWarning, match=rf"{name.name} was cut off; .*{left.name} holds it: rename it"):
            warn_of_unfinished(name)
        left.rename(name)
        # Whoever trusts the header finds as much.
        assert name.suffix in (".flac", ".ogg") or soundfile.info(name).frames == 96_000
        with SoundReader(name, Tier.NEAR_LOSSLESS) as sound:
            seconds = len(sound.read()) / 24_000
        assert seconds == 4.0 if name.suffix not in (".flac", ".ogg") else 3.5 < seconds <= 4.0
        assert not unfinished_recordings(name)


def test_the_next_call_tells_of_a_recording_that_was_cut_off(tmp_path: Path) -> None:
    (tmp_path / "them.wav.unfinished-00000000.wav").touch()
    with pytest.warns(StreamcodecWarning, match="was cut off"):
        FileSink(str(tmp_path / "them.wav"), SoundFormat(24_000))
    with pytest.warns(StreamcodecWarning, match="was cut off"):
        Recorder(tmp_path / "them.wav", 24_000, RingBuffer(2_400, channels=2)).close()
