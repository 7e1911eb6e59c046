"""Search by likeness: what sounds alike comes first, and the index follows its folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.numpy import save_file

import streamcodec
from streamcodec import AudioFormatError, FileFormatError, SoundIndex, StreamcodecWarning
from streamcodec.cli import main
from streamcodec.codec.latents import latents_version
from streamcodec.features import sound_index
from streamcodec.features.embedding import Whitening, embedding
from streamcodec.models.shipped import DEFAULT_MODEL, load_model

pytest.importorskip("sklearn")

RATE_HZ = 24_000


def write(path: Path, kind: str, seed: int) -> Path:
    """Half a second of hum, hiss or clicks, no two alike."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(RATE_HZ // 2) / RATE_HZ
    if kind == "hum":
        pitch_hz = rng.uniform(110, 130)
        sound = sum(np.sin(2 * np.pi * k * pitch_hz * time_s) / k for k in range(1, 9))
    elif kind == "hiss":
        sound = rng.standard_normal(time_s.size)
    else:
        sound = rng.standard_normal(time_s.size) * (rng.random(time_s.size) < 0.002)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * sound / np.abs(sound).max() * rng.uniform(0.5, 1.0), RATE_HZ)
    return path


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three sounds of each kind, indexed."""
    folder = tmp_path_factory.mktemp("sounds")
    for number, kind in enumerate(("hum", "hiss", "clicks")):
        for k in range(3):
            write(folder / kind / f"{k}.wav", kind, 10 * number + k)
    SoundIndex.of_folder(folder)
    return folder


@pytest.fixture
def folder(kept: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    import shutil

    return Path(shutil.copytree(kept, tmp_path / "sounds"))


@pytest.mark.parametrize("kind", ["hum", "hiss", "clicks"])
def test_what_sounds_alike_comes_first(kept: Path, tmp_path: Path, kind: str) -> None:
    index = SoundIndex.of_folder(kept)
    assert (len(index), index.heard) == (9, 0)
    found = index.nearest(write(tmp_path / "query.wav", kind, 99), 3)
    assert {each.path.parent.name for each in found} == {kind}
    assert [each.similarity for each in found] == sorted((each.similarity for each in found), reverse=True)
    own = index.nearest(kept / kind / "0.wav", 100)
    assert len(own) == 8
    assert {each.path for each in own[:2]} == {kept / kind / "1.wav", kept / kind / "2.wav"}


def test_the_index_follows_its_folder(folder: Path) -> None:
    assert SoundIndex.of_folder(folder).heard == 0
    write(folder / "new" / "new.wav", "hum", 50)
    write(folder / "hum" / "0.wav", "hiss", 51)
    (folder / "clicks" / "2.wav").unlink()
    (folder / "note.txt").write_text("no sound")
    index = SoundIndex.of_folder(folder)
    assert (len(index), index.heard) == (9, 2)
    first = index.nearest(folder / "hum" / "0.wav", 1)[0]
    assert first.path.parent.name == "hiss"
    assert SoundIndex.of_folder(folder).heard == 0


def test_an_index_of_other_latents_is_made_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_index, "latents_version", lambda model: "other:00000000")
    assert SoundIndex.of_folder(folder).heard == 9
    assert SoundIndex.of_folder(folder).heard == 0


def test_what_was_heard_before_ctrl_c_is_kept(folder: Path) -> None:
    (folder / sound_index.INDEX_NAME).unlink()

    def stop(done: float) -> None:
        if done > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SoundIndex.of_folder(folder, progress=stop)
    assert SoundIndex.of_folder(folder).heard == 5


def test_ctrl_c_before_anything_was_heard_leaves_the_index_as_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / sound_index.INDEX_NAME).unlink()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sound_index, "_heard", stop)
    with pytest.raises(KeyboardInterrupt):
        SoundIndex.of_folder(folder)
    assert not (folder / sound_index.INDEX_NAME).exists()


def test_sound_of_any_rate_is_taken(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).uniform(-0.3, 0.3, 48_000)
    for rate_hz in (11_025, 96_000):
        soundfile.write(tmp_path / f"{rate_hz}.wav", noise, rate_hz)
    assert len(SoundIndex.of_folder(tmp_path)) == 2


def test_unreadable_files_are_left_out_with_a_word(folder: Path) -> None:
    (folder / "broken.flac").write_bytes(b"fLaC" + bytes(40))
    with pytest.warns(StreamcodecWarning, match=r"left out: .*broken\.flac"):
        index = SoundIndex.of_folder(folder)
    assert len(index) == 9
    assert index.unreadable == (folder / "broken.flac",)


def test_a_folder_that_cannot_be_searched_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place, said in ((tmp_path / "empty", "holds no sound"), (tmp_path / "none", "there is no folder")):
        with pytest.raises(FileFormatError, match=said):
            SoundIndex.of_folder(place)
    for nothing in (None, 3):
        with pytest.raises(FileFormatError, match="a folder is given by its name"):
            SoundIndex.of_folder(nothing)  # type: ignore[arg-type]
        with pytest.raises(FileFormatError, match="a query is given by its name"):
            SoundIndex.of_folder(folder).nearest(nothing)  # type: ignore[arg-type]
    with pytest.raises(AudioFormatError, match="count must be a whole number"):
        SoundIndex.of_folder(folder).nearest(folder / "hum" / "0.wav", "x")  # type: ignore[arg-type]
    song = folder / "hum" / "1.wav"
    before = song.read_bytes()
    with pytest.raises(FileFormatError, match="no index of sounds"):
        SoundIndex.of_folder(folder, song)
    assert song.read_bytes() == before
    with pytest.warns(StreamcodecWarning, match="index is not kept"):
        assert len(SoundIndex.of_folder(folder, tmp_path / "no" / "such" / "place")) == 9


@pytest.mark.parametrize(
    ("files", "kind"),
    [("[" * 100_000, np.float32), ("[[0, 1e999, 2]]", np.float32), ("[[]]", np.float32), ('[["a", 1, 2]]', np.int32)],
)
def test_a_damaged_index_is_one_sentence(folder: Path, tmp_path: Path, files: str, kind: type) -> None:
    about = {"format": sound_index.FORMAT, "latents": latents_version(DEFAULT_MODEL), "files": files}
    config = load_model().config
    vectors = np.zeros((1, config.envelope_latents + 2 * config.latents), kind)
    save_file({"vectors": vectors}, tmp_path / "index", about)
    with pytest.raises(FileFormatError, match="no index of sounds"):
        SoundIndex.of_folder(folder, tmp_path / "index")


def test_one_or_two_sounds_can_be_searched(folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    write(alone / "a.wav", "hum", 1)
    index = SoundIndex.of_folder(alone)
    assert index.nearest(alone / "a.wav") == []
    assert index.nearest(folder / "hum" / "0.wav")[0].similarity > 0.9
    write(alone / "b.wav", "hiss", 2)
    assert SoundIndex.of_folder(alone).nearest(folder / "hum" / "0.wav")[0].path.name == "a.wav"


def test_embeddings_do_not_hear_the_sign_of_a_waveform(speech: np.ndarray) -> None:
    one, other = (embedding(streamcodec.latents(sign * speech[:12_000], RATE_HZ), 24) for sign in (1.0, -1.0))
    assert one.shape == (216,)
    difference = np.abs(one - other)
    assert difference.mean() < 0.1 * np.abs(one).mean()


def test_whitening_lets_no_direction_drown_the_others() -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.standard_normal((200, 6)) * (100.0, 1.0, 1.0, 1.0, 1.0, 0.0)).astype(np.float32)
    vectors[:, 2] = vectors[:, 1]
    white = Whitening.learn(vectors).apply(vectors)
    spread = white.std(0)
    assert np.isfinite(white).all()
    assert spread.max() < 1.0
    assert np.sort(spread)[2:].min() > 0.4


def test_the_command_prints_files_and_json(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = str(kept / "hiss" / "1.wav")
    assert main(["similar", query, str(kept), "--count", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {Path(line.split(maxsplit=1)[1]).name for line in lines} == {"0.wav", "2.wav"}
    assert main(["similar", query, str(kept), "--count", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["sounds"], told["listened_to"], told["unreadable"]) == (9, 0, [])
    assert [line.split()[1] for line in lines] == [each["file"] for each in told["similar"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.wav", "{folder}"], "no file none.wav"),
        (["{folder}/hum/0.wav", "none"], "no folder none"),
        (["{folder}/hum/0.wav", "{folder}", "--count", "0"], "--count"),
        (["-", "{folder}"], "standard input"),
    ],
)
def test_wrong_arguments_of_the_command(
    kept: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["similar", *(each.format(folder=kept) for each in arguments)]) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert "Traceback" not in errors


def test_a_file_without_a_sample_is_told_of_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(folder / "none.wav", np.zeros(0), RATE_HZ)
    assert main(["similar", str(folder / "hum" / "0.wav"), str(folder)]) == 0
    assert capsys.readouterr().err == f"streamcodec: left out: {folder / 'none.wav'} holds no sound\n"


def test_a_file_that_was_cut_off_is_told_of_and_searched(folder: Path) -> None:
    cut = folder / "cut.wav"
    cut.write_bytes((folder / "hum" / "0.wav").read_bytes()[: RATE_HZ // 2])
    with pytest.warns(StreamcodecWarning, match=r"cut\.wav ends after 0\.25 s of the 0\.50 s"):
        index = SoundIndex.of_folder(folder)
    assert len(index) == 10


def test_a_query_that_cannot_be_read_is_told_before_the_folder_is_listened_to(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = folder / "broken.flac"
    query.write_bytes(b"fLaC" + bytes(40))
    (folder / sound_index.INDEX_NAME).unlink()
    assert main(["similar", str(query), str(folder)]) == 2
    assert capsys.readouterr().err.count("cannot read") == 1
    assert not (folder / sound_index.INDEX_NAME).exists()


def test_a_query_that_is_no_sound(kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "note.wav").write_text("no sound at all")
    assert main(["similar", str(tmp_path / "note.wav"), str(kept)]) == 2
    assert "cannot read" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["note.wav"]
