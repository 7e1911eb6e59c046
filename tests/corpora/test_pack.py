"""Packing folders: nothing lost, nothing doubled, whatever stops a run."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from streamcodec.cli import main
from streamcodec.codec.files.oneshot import encode_file
from streamcodec.corpora.manifest import MANIFEST, Entry, Manifest, read_manifest
from streamcodec.corpora.pack import pack_folder, unpack_folder
from streamcodec.corpora.work import ShardFormat
from streamcodec.errors import BitrateError, FileFormatError, StreamcodecError
from tests.helpers.commands import COMMAND

Float32Array = NDArray[np.float32]
FILES = 100


def make_corpus(folder: Path, speech: Float32Array, files: int, seconds: float = 0.1) -> Path:
    for number in range(files):
        path = folder / f"speaker-{number % 3}" / f"clip {number:03d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.roll(speech, 400 * number)[: int(24_000 * seconds)], 24_000)
    return folder


def lines_of(folder: Path) -> list[Entry]:
    """Every line, doubled ones included."""
    return [Entry(**json.loads(line)) for line in (folder / MANIFEST).read_text().splitlines()[1:]]


def test_killed_and_asked_again_loses_and_doubles_nothing(
    tmp_path: Path, speech: Float32Array, capsys: pytest.CaptureFixture[str]
) -> None:
    source, packed = make_corpus(tmp_path / "in", speech, FILES), tmp_path / "out"
    arguments = ["pack", str(source), str(packed), "--workers", "2", "--json"]
    run = subprocess.Popen([*COMMAND, *arguments], start_new_session=True, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and len(list(packed.rglob("*.sc"))) < 10:
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    before = {path: path.stat().st_mtime_ns for path in packed.rglob("*.sc")}
    assert 10 <= len(before) < FILES
    # A line and a file that were being written when it was killed.
    with (packed / MANIFEST).open("a") as file:
        file.write('{"source": "speak')
    (packed / "speaker-0" / ".clip 000.sc.1.part").write_bytes(b"half")
    assert main([*arguments, "--workers", "1"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["files"] == FILES
    assert 9 <= figures["done_before"] <= len(before)
    entries = lines_of(packed)
    assert (
        len({entry.source for entry in entries}) == len({entry.target for entry in entries}) == len(entries) == FILES
    )
    assert {packed / entry.target for entry in entries} == set(packed.rglob("*.sc"))
    assert not list(packed.rglob("*.part"))
    assert sum(before[path] == path.stat().st_mtime_ns for path in before) == figures["done_before"]
    third = entries[3]
    encode_file(source / third.source, tmp_path / "alone.sc")
    assert (tmp_path / "alone.sc").read_bytes() == (packed / third.target).read_bytes()
    assert (third.samples, third.sample_rate_hz, third.channels) == (2_400, 24_000, 1)


def test_workers_end_with_the_run_that_was_killed(tmp_path: Path) -> None:
    """A stand-in for ``pack`` that starts workers as it does and never ends."""
    script = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from streamcodec.corpora.engines import _start_worker
if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _start_worker)
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(100)
"""
    (tmp_path / "run.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.Popen(
        [sys.executable, str(tmp_path / "run.py")], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert run.stdout is not None
    worker = int(run.stdout.readline())
    run.kill()
    run.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and _is_running(worker):
        time.sleep(0.02)
    assert not _is_running(worker)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return False


def test_one_bad_file_stops_no_other_and_is_tried_again(
    tmp_path: Path, speech: Float32Array, capsys: pytest.CaptureFixture[str]
) -> None:
    source, packed = make_corpus(tmp_path / "in", speech, 4), tmp_path / "out"
    (source / "bad.flac").write_bytes(b"no sound at all")
    (source / "notes.txt").write_text("not a sound file")
    assert main(["pack", str(source), str(packed), "--workers", "1"]) == 2
    told = capsys.readouterr()
    assert "4 files" in told.out
    assert "1 left out: bad.flac: cannot read" in told.err
    assert len(told.err.strip().splitlines()) == 1
    assert sum(entry.error is not None for entry in lines_of(packed)) == 1
    soundfile.write(source / "bad.flac", speech[:4_800], 24_000)
    assert main(["pack", str(source), str(packed), "--workers", "1", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["files"], figures["failed"], figures["done_before"]) == (5, 0, 4)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("shards", [[], ["--shards", "webdataset"]])
def test_what_was_changed_in_a_file_is_told(
    workers: str, shards: list[str], tmp_path: Path, speech: Float32Array, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = make_corpus(tmp_path / "in", speech, 1)
    stereo = np.stack([speech[:2_400], 0.5 * speech[:2_400]], axis=1)
    for number in range(3):
        soundfile.write(corpus / f"stereo-{number}.wav", stereo, 24_000)
    short = io.BytesIO()
    soundfile.write(short, speech[:24_000], 24_000, format="WAV")
    (corpus / "short.wav").write_bytes(short.getvalue()[:20_000])
    words = ["pack", str(corpus), str(tmp_path / "out"), "--workers", workers, *shards]
    mixed = "is mixed down from 2 channels to one (--channels 2 keeps both) for the neural tier"
    for _ in range(2):  # a run that finds all done says the same
        assert main(words) == 0
        told = capsys.readouterr().err
        assert f"stereo-0.wav (and 2 more): {mixed}" in told
        assert "short.wav: " in told
        assert "its header promises" in told
    notes = {entry.source: entry.note for entry in lines_of(tmp_path / "out")}
    assert notes.pop("speaker-0/clip 000.wav") == ""
    assert all(notes.values())
    unpacked = tmp_path / "unpacked"
    packed = next((tmp_path / "out").glob("stereo-0.sc"), None)
    if packed is not None:
        packed.write_bytes(packed.read_bytes()[:-20])
        assert main(["unpack", str(tmp_path / "out"), str(unpacked), "--workers", "1"]) == 0
        assert "stereo-0.sc: " in capsys.readouterr().err


def test_options_that_contradict_each_other_are_refused_once(tmp_path: Path, speech: Float32Array) -> None:
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", speech, 24_000)
    with pytest.raises(BitrateError, match="lossless coding takes the bits it needs"):
        pack_folder(tmp_path, tmp_path / "packed", tier="lossless", bitrate_bps=6_000)
    assert not (tmp_path / "packed").exists()


def test_a_folder_without_sound_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("nothing to hear")
    for command in ("pack", "unpack"):
        assert main([command, str(tmp_path / "in"), str(tmp_path / "out")]) == 2
        assert "there is no " in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_what_has_changed_is_done_anew_and_other_settings_are_refused(tmp_path: Path, speech: Float32Array) -> None:
    source, packed = make_corpus(tmp_path / "in", speech, 3), tmp_path / "out"
    first = pack_folder(source, packed, workers=1, tier="lossless")
    changed, gone = first.entries[0], first.entries[1]
    soundfile.write(source / changed.source, speech[:1_200], 24_000)
    (packed / gone.target).unlink()
    second = pack_folder(source, packed, workers=1, tier="lossless")
    assert second.done_before == 1
    assert second.entries[0].samples == 1_200
    assert (packed / gone.target).stat().st_size == gone.bytes
    with pytest.raises(StreamcodecError, match="begun with other settings"):
        pack_folder(source, packed, workers=1)
    with pytest.raises(StreamcodecError, match="no folder"):
        pack_folder(tmp_path / "nowhere", packed)
    with pytest.raises(StreamcodecError, match="folder that is read"):
        pack_folder(source, source)
    (packed / MANIFEST).write_text("{}\n")
    with pytest.raises(FileFormatError, match="not a manifest"):
        pack_folder(source, packed, workers=1)


def test_files_of_one_stem_do_not_fall_together(tmp_path: Path, speech: Float32Array) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for name, length in (("a.wav", 2_400), ("a.flac", 4_800)):
        soundfile.write(source / name, speech[:length], 24_000)
    outcome = pack_folder(source, tmp_path / "out", workers=1)
    assert {entry.source: entry.target for entry in outcome.entries} == {"a.flac": "a.sc", "a.wav": "a.wav.sc"}
    assert pack_folder(source, tmp_path / "out", workers=1).done_before == 2


@pytest.mark.parametrize("shards", [None, "webdataset"])
def test_names_that_turn_out_alike_are_kept_apart(
    shards: ShardFormat | None, tmp_path: Path, speech: Float32Array
) -> None:
    """In shards dots become underscores; and names are given before the files of a later run are known."""
    source, packed = tmp_path / "in", tmp_path / "packed"
    source.mkdir()
    names = [["a.x.wav.flac"], ["a.x.flac", "a.x.wav", "a_x.wav", "a_x_wav.flac"]]
    for run, found in enumerate(names):
        for number, name in enumerate(found):
            soundfile.write(source / name, speech[: 1_200 * (1 + run + number)], 24_000)
        outcome = pack_folder(source, packed, workers=1, tier="lossless", shards=shards)
    targets = {entry.target.rpartition("/")[2] for entry in outcome.entries}
    assert len(targets) == 5
    unpacked = unpack_folder(packed, tmp_path / "out", workers=1)
    assert sorted(entry.samples for entry in unpacked.entries) == sorted(entry.samples for entry in outcome.entries)
    assert len({entry.target for entry in unpacked.entries}) == 5


def packed_alike(folder: Path, speech: Float32Array) -> None:
    """Six sounds of one length that all would be ``a.wav``: a file, and members of two tars."""
    folder.mkdir()
    coded = []
    for number in range(6):
        out = io.BytesIO()
        sound = io.BytesIO()
        soundfile.write(sound, np.roll(speech, 500 * number)[:2_400], 24_000, format="WAV")
        encode_file(sound, out, tier="lossless")
        coded.append(out.getvalue())
    (folder / "a.sc").write_bytes(coded[0])
    for tar_name, members in (("x.tar", ["a.sc", "../a.sc", "a.sc"]), ("y.tar", ["./a.sc", "/a.sc"])):
        with tarfile.open(folder / tar_name, "w") as tar:
            for name in members:
                member = tarfile.TarInfo(name)
                data = coded.pop()
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def test_a_folder_may_be_called_as_a_tar(tmp_path: Path, speech: Float32Array) -> None:
    source, packed, unpacked = tmp_path / "in" / "old.tar", tmp_path / "packed", tmp_path / "unpacked"
    source.mkdir(parents=True)
    soundfile.write(source / "a.wav", speech[:2_400], 24_000)
    pack_folder(source.parent, packed, workers=1)
    soundfile.write(source / "a.flac", speech[:2_400], 24_000)
    again = pack_folder(source.parent, packed, workers=1)
    assert again.done_before == 1
    assert [entry.target for entry in again.entries] == ["old.tar/a.flac.sc", "old.tar/a.sc"]
    for done_before in (0, 2):
        outcome = unpack_folder(packed, unpacked, workers=1)
        assert outcome.done_before == done_before
        assert [entry.target for entry in outcome.entries] == ["old.tar/a.flac.wav", "old.tar/a.wav"]


def test_unpack_writes_no_sound_over_another(tmp_path: Path, speech: Float32Array) -> None:
    packed_alike(tmp_path / "packed", speech)
    outcome = unpack_folder(tmp_path / "packed", tmp_path / "out", workers=1)
    assert [entry.target for entry in outcome.entries] == [
        "a.wav",
        "x/a.wav",
        *(f"x/a-{k}.wav" for k in (2, 3)),
        "y/a.wav",
        "y/a-2.wav",
    ]
    sounds = {path.read_bytes() for path in (tmp_path / "out").rglob("*.wav")}
    assert len(sounds) == 6
    assert unpack_folder(tmp_path / "packed", tmp_path / "out", workers=1).done_before == 6


def test_sounds_that_an_older_build_wrote_over_each_other_are_unpacked_again(
    tmp_path: Path, speech: Float32Array
) -> None:
    packed_alike(tmp_path / "packed", speech)
    out = tmp_path / "out"
    unpack_folder(tmp_path / "packed", out, workers=1)
    entries = [json.loads(line) for line in (out / MANIFEST).read_text().splitlines()]
    lines = [{**entry, "target": "a.wav"} if entry.get("target") == "x/a.wav" else entry for entry in entries]
    (out / MANIFEST).write_text("".join(json.dumps(line) + "\n" for line in lines))
    again = unpack_folder(tmp_path / "packed", out, workers=1)
    assert again.done_before == 4
    assert {entry.source: entry.target for entry in again.entries[:2]} == {"a.sc": "a.wav", "x.tar/a.sc": "x/a.wav"}


def test_a_suffix_without_its_dot_is_told(tmp_path: Path) -> None:
    with pytest.raises(StreamcodecError, match="begins with a dot"):
        unpack_folder(tmp_path, tmp_path / "out", suffix="wav")


@pytest.mark.parametrize("shards", [None, "webdataset", "shar"])
def test_unpack_gives_back_what_was_packed(
    shards: str | None, tmp_path: Path, speech: Float32Array, capsys: pytest.CaptureFixture[str]
) -> None:
    source, packed, out = make_corpus(tmp_path / "in", speech, 5), tmp_path / "packed", tmp_path / "out"
    outcome = pack_folder(source, packed, workers=1, tier="lossless", shards=shards, shard_files=2)  # type: ignore[arg-type]
    assert not outcome.failed
    if shards:
        assert len(list(packed.rglob("*.tar"))) == 3
        orphan = packed / ("shard-000003.tar" if shards == "webdataset" else "shar/recording.000003.tar")
        orphan.write_bytes(b"finished, and killed before it was noted")
        soundfile.write(source / "new.wav", speech[:2_400], 24_000)
        again = pack_folder(source, packed, workers=1, tier="lossless", shards=shards, shard_files=2)  # type: ignore[arg-type]
        assert again.done_before == 5
        with tarfile.open(orphan) as tar:
            assert [name for name in tar.getnames() if name.endswith(".sc")] == ["new.sc"]
        (source / "new.wav").unlink()
        orphan.unlink()
    assert main(["unpack", str(packed), str(out), "--workers", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == 5
    for name in source.rglob("*.wav"):
        np.testing.assert_array_equal(
            soundfile.read(out / name.relative_to(source), dtype="int16")[0], soundfile.read(name, dtype="int16")[0]
        )
    assert unpack_folder(packed, out, workers=1).done_before == 5


def test_a_tar_leads_nowhere_else(tmp_path: Path, speech: Float32Array) -> None:
    soundfile.write(tmp_path / "a.wav", speech[:2_400], 24_000)
    encode_file(tmp_path / "a.wav", tmp_path / "a.sc")
    packed = tmp_path / "packed"
    packed.mkdir()
    with tarfile.open(packed / "x.tar", "w") as tar:
        tar.add(tmp_path / "a.sc", "../../escaped.sc")
    unpack_folder(packed, tmp_path / "out", workers=1)
    assert (tmp_path / "out" / "escaped.wav").is_file()
    assert read_manifest(tmp_path / "out") is not None


@pytest.mark.parametrize("bomb", ["of zeros", "compressed"])
def test_a_tar_holds_no_more_than_its_bytes(tmp_path: Path, bomb: str) -> None:
    """A sparse member of a terabyte takes a block, one of zeros shrinks a thousand times."""
    packed = tmp_path / "packed"
    packed.mkdir()
    with tarfile.open(packed / "x.tar", "w:gz" if bomb == "compressed" else "w", format=tarfile.GNU_FORMAT) as tar:
        member = tarfile.TarInfo("a.sc")
        if bomb == "compressed":
            member.size = 1 << 20
            tar.addfile(member, io.BytesIO(bytes(1 << 20)))
        else:
            member.type = tarfile.GNUTYPE_SPARSE
            data = bytearray(member.tobuf(tarfile.GNU_FORMAT))
            data[386:398] = data[398:410] = b"%011o\0" % 0  # nothing of it is there
            data[483:495] = b"%011o\0" % (1 << 32)  # and this is how long it is
            data[148:156] = b"%06o\0 " % (256 + sum(data[:148]) + sum(data[156:512]))
            tar.fileobj.write(data)
            tar.offset += len(data)
    if bomb == "compressed":
        with pytest.raises(FileFormatError, match="not a tar that can be read"):
            unpack_folder(packed, tmp_path / "out", workers=1)
        return
    (entry,) = unpack_folder(packed, tmp_path / "out", workers=1).entries
    assert entry.error is not None
    assert "claims 4294967296 bytes" in entry.error


@pytest.mark.parametrize(
    "line",
    ["[" * 100_000, '{"source": 5, "target": "b"}', '{"source": "a", "target": "b", "bytes": "x"}', '{"other": 1}'],
)
def test_a_damaged_manifest_is_one_sentence(tmp_path: Path, line: str) -> None:
    Manifest(tmp_path, {}).close()
    with (tmp_path / MANIFEST).open("a") as file:
        file.write(line + "\n\n")
    with pytest.raises(FileFormatError, match="not a manifest that this version reads"):
        read_manifest(tmp_path)
