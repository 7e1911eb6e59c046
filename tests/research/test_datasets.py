"""Adapters on tiny trees in the datasets' real layouts; splits; preprocessing."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy import signal

from streamcodec.research.datasets.catalogue import DATASETS, read_dataset, recognise
from streamcodec.research.datasets.preprocess import (
    Preprocessing,
    join_frames,
    lower_rate,
    normalise_peak,
    overlapping_frames,
)
from streamcodec.research.datasets.recording import Recording, SplitName
from streamcodec.research.datasets.split import held_out, published_split, split_by_group
from streamcodec.training.data import DatasetError


def write_sound(path: Path, rate_hz: int = 16_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.sin(np.arange(rate_hz // 10)), rate_hz)


def write_rows(path: Path, rows: list[list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows(rows)


def librispeech(root: Path) -> None:
    for subset, speaker in (
        ("train-clean-100", "19"),
        ("train-clean-100", "26"),
        ("dev-clean", "84"),
        ("test-other", "7"),
    ):
        chapter = root / "LibriSpeech" / subset / speaker / "198"
        write_sound(chapter / f"{speaker}-198-0000.flac")
        (chapter / f"{speaker}-198.trans.txt").write_text(f"{speaker}-198-0000 NORTHANGER ABBEY\n")
    (root / "LibriSpeech" / "SPEAKERS.TXT").write_text(
        ";ID  |SEX| SUBSET           |MINUTES| NAME\n19   | F | train-clean-100  | 25.19 | Kara Shallenberg\n"
    )


def vctk(root: Path) -> None:
    for speaker in ("p225", "p226"):
        for microphone in ("mic1", "mic2"):
            write_sound(
                root / "VCTK-Corpus-0.92" / "wav48_silence_trimmed" / speaker / f"{speaker}_001_{microphone}.flac"
            )
    (root / "VCTK-Corpus-0.92" / "speaker-info.txt").write_text(
        "ID  AGE  GENDER  ACCENTS  REGION COMMENTS\np225  23  F    English    Southern  England\n"
    )


def nsynth(root: Path) -> None:
    for part, instrument in (("nsynth-train", "bass_synthetic_068"), ("nsynth-valid", "guitar_acoustic_014")):
        note = f"{instrument}-049-025"
        write_sound(root / part / "audio" / f"{note}.wav")
        family, source, _ = instrument.split("_")
        facts = {"instrument_str": instrument, "instrument_family_str": family, "instrument_source_str": source}
        (root / part / "examples.json").write_text(json.dumps({note: facts, f"{note}-absent": facts}))


def fma(root: Path) -> None:
    for track in ("000002", "000140"):
        write_sound(root / "fma_small" / "000" / f"{track}.mp3", 44_100)
    write_rows(
        root / "fma_metadata" / "tracks.csv",
        [
            ["", "album", "artist", "set", "set", "track"],
            ["", "id", "id", "split", "subset", "genre_top"],
            ["track_id", "", "", "", "", ""],
            ["2", "1", "1", "training", "small", "Hip-Hop"],
            ["3", "1", "1", "training", "medium", "Hip-Hop"],
            ["140", "61", "54", "test", "small", "Folk"],
        ],
    )


def esc50(root: Path) -> None:
    names = ("1-100032-A-0.wav", "2-100210-B-36.wav")
    for name in names:
        write_sound(root / "ESC-50-master" / "audio" / name, 44_100)
    write_rows(
        root / "ESC-50-master" / "meta" / "esc50.csv",
        [
            ["filename", "fold", "target", "category", "esc10", "src_file", "take"],
            [names[0], "1", "0", "dog", "True", "100032", "A"],
            [names[1], "2", "36", "vacuum_cleaner", "False", "100210", "B"],
            ["3-1-A-1.wav", "3", "1", "rooster", "True", "1", "A"],
        ],
    )


def speech_commands(root: Path) -> None:
    for name in ("yes/0a7c2a8d_nohash_0.wav", "no/0a7c2a8d_nohash_0.wav", "yes/1b4c9b89_nohash_1.wav"):
        write_sound(root / name)
    write_sound(root / "_background_noise_" / "white_nohash_noise.wav")
    (root / "testing_list.txt").write_text("yes/1b4c9b89_nohash_1.wav\n")
    (root / "validation_list.txt").write_text("")


def folder(root: Path) -> None:
    write_sound(root / "anna" / "one.wav")
    write_sound(root / "bert" / "two.flac")


Expected = list[tuple[str, dict[str, str], str | None]]
LAYOUTS: dict[str, tuple[Callable[[Path], None], Expected]] = {
    "librispeech": (
        librispeech,
        [
            ("84", {"speaker": "84"}, "validation"),
            ("7", {"speaker": "7"}, "test"),
            ("19", {"speaker": "19", "sex": "F"}, "train"),
            ("26", {"speaker": "26"}, "train"),
        ],
    ),
    "vctk": (
        vctk,
        [("p225", {"speaker": "p225", "sex": "F", "accent": "English"}, None), ("p226", {"speaker": "p226"}, None)],
    ),
    "nsynth": (
        nsynth,
        [
            ("bass_synthetic_068", {"family": "bass", "source": "synthetic"}, "train"),
            ("guitar_acoustic_014", {"family": "guitar", "source": "acoustic"}, "validation"),
        ],
    ),
    "fma": (fma, [("1", {"genre": "Hip-Hop"}, "train"), ("54", {"genre": "Folk"}, "test")]),
    "esc50": (
        esc50,
        [
            ("100032", {"class": "dog", "fold": "1", "esc10": "True"}, None),
            ("100210", {"class": "vacuum_cleaner", "fold": "2", "esc10": "False"}, None),
        ],
    ),
    "speech-commands": (
        speech_commands,
        [
            ("0a7c2a8d", {"word": "no", "speaker": "0a7c2a8d"}, "train"),
            ("0a7c2a8d", {"word": "yes", "speaker": "0a7c2a8d"}, "train"),
            ("1b4c9b89", {"word": "yes", "speaker": "1b4c9b89"}, "test"),
        ],
    ),
    "folder": (folder, [("anna", {"folder": "anna"}, None), ("bert", {"folder": "bert"}, None)]),
}


def test_every_dataset_has_a_layout_here() -> None:
    assert set(LAYOUTS) == set(DATASETS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_adapter_reads_the_real_layout(name: str, tmp_path: Path) -> None:
    build, expected = LAYOUTS[name]
    build(tmp_path)
    found = read_dataset(name, tmp_path)
    assert [(r.group, dict(r.labels), r.published_split) for r in found] == expected
    for recording in found:
        assert len(Preprocessing(sample_rate_hz=16_000).load(recording.path)) > 1_000


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_are_recognised(name: str, tmp_path: Path) -> None:
    LAYOUTS[name][0](tmp_path)
    dataset, found = recognise(tmp_path)
    assert dataset.name == name
    assert len(found) == len(LAYOUTS[name][1])


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_is_held_out_shares_no_group_with_training(name: str, tmp_path: Path) -> None:
    LAYOUTS[name][0](tmp_path)
    found = read_dataset(name, tmp_path)
    train, rest = held_out(found, 0.5, seed=0)
    assert train
    assert rest
    assert not {r.group for r in train} & {r.group for r in rest}
    assert {r.path for r in (*train, *rest)} <= {r.path for r in found}


@pytest.mark.parametrize("name", LAYOUTS)
def test_missing_data_is_one_sentence(name: str, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DatasetError, match=name) as caught:
            read_dataset(name, place)
        assert "\n" not in str(caught.value)


def test_damaged_indices_say_so(tmp_path: Path) -> None:
    for name, index in (
        ("nsynth", "nsynth-train/examples.json"),
        ("fma", "fma_metadata/tracks.csv"),
        ("esc50", "ESC-50-master/meta/esc50.csv"),
    ):
        LAYOUTS[name][0](tmp_path / name)
        (tmp_path / name / index).write_text("broken\n")
        with pytest.raises(DatasetError, match=index.rpartition("/")[2]):
            read_dataset(name, tmp_path / name)
        # Nor is it taken for a folder of any sound, which nobody holds anything back of.
        with pytest.raises(DatasetError, match=index.rpartition("/")[2]):
            recognise(tmp_path / name)


def test_unknown_dataset_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="librispeech"):
        read_dataset("timit", tmp_path)


def test_a_manifest_labels_the_files_under_the_folder(tmp_path: Path) -> None:
    for name in ("train/speech/a.wav", "dev/music/b.wav", "train/speech/unlisted.wav"):
        write_sound(tmp_path / name)
    write_rows(
        tmp_path / "manifest.csv",
        [
            ["file", "split", "kind", "source", "speaker"],
            ["train/speech/a.wav", "train", "speech", "corpus", "anna"],
            ["dev/music/b.wav", "dev", "music", "label", "band"],
            ["dev/music/gone.wav", "dev", "music", "label", "band"],
        ],
    )
    everything = read_dataset("folder", tmp_path)
    assert [(r.group, r.published_split) for r in everything] == [("label/band", "test"), ("corpus/anna", "train")]
    assert everything[0].labels == {"kind": "music", "source": "label", "speaker": "band"}
    assert [r.path.name for r in read_dataset("folder", tmp_path / "train")] == ["a.wav"]


def many(groups: int = 60) -> list[Recording]:
    """Groups of 1 to 12 recordings; every fourth group is of the rare label."""
    rng = np.random.default_rng(5)
    return [
        Recording(Path(f"{g}-{k}.wav"), f"singer{g}", {"genre": "rare" if g % 4 == 0 else "common"})
        for g in range(groups)
        for k in range(int(rng.integers(1, 13)))
    ]


@pytest.mark.parametrize("seed", range(5))
def test_splits_share_no_group_and_keep_the_labels_in_proportion(seed: int) -> None:
    recordings = many()
    parts = split_by_group(recordings, "genre", seed=seed)
    groups = [{r.group for r in part} for part in parts.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 60
    assert sum(map(len, parts.values())) == len(recordings)
    whole = Counter(r.labels["genre"] for r in recordings)
    for name, share in (("train", 0.8), ("validation", 0.1), ("test", 0.1)):
        counts = Counter(r.labels["genre"] for r in parts[name])  # type: ignore[index]
        for genre, total in whole.items():
            assert abs(counts[genre] - share * total) <= max(6, 0.25 * share * total), (name, genre)


def test_splits_depend_on_the_seed_alone() -> None:
    first, second = (split_by_group(many(), "genre", seed=3) for _ in range(2))
    assert first == second
    assert first != split_by_group(many(), "genre", seed=4)


def test_splits_that_cannot_be_made_say_why() -> None:
    with pytest.raises(DatasetError, match="groups"):
        split_by_group(many(2))
    with pytest.raises(DatasetError, match="no label 'artist'"):
        split_by_group(many(), "artist")


def published(*parts: tuple[str, SplitName | None]) -> list[Recording]:
    """A recording of each group in each part."""
    return [Recording(Path(f"{group}-{split}.wav"), group, {}, split) for group, split in parts]


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_published_split_that_divides_a_group_is_refused(part: SplitName) -> None:
    divided = published(("anna", "train"), ("anna", part), ("otto", part))
    for use in (published_split, lambda found: held_out(found, 0.2, seed=0)):
        with pytest.raises(DatasetError, match=rf"'anna' is both in train \(anna-train.wav\) and in {part} \(anna"):
            use(divided)


def test_a_published_split_of_some_files_or_without_training_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"eva-None.wav is in no published split, others are"):
        held_out(published(("anna", "train"), ("otto", "test"), ("eva", None)), 0.2, seed=0)
    with pytest.raises(DatasetError, match="published as test and validation data came without training data"):
        held_out(published(("anna", "validation"), ("otto", "test")), 0.2, seed=0)


def test_groups_may_share_what_is_not_trained_on_and_be_unknown() -> None:
    notes = published(("piano", "train"), ("flute", "validation"), ("flute", "test"))
    assert held_out(notes, 0.2, seed=0) == (notes[:1], notes[2:])
    unnamed = published(("", "train"), ("", "test"))
    assert held_out(unnamed, 0.2, seed=0) == (unnamed[:1], unnamed[1:])


@pytest.mark.parametrize("part", ["train", "test", None])
def test_one_published_part_alone_is_divided_by_group(part: SplitName | None) -> None:
    train, rest = held_out(published(*((f"{k}", part) for k in range(5))), 0.2, seed=0)
    assert (len(train), len(rest)) == (4, 1)


def test_a_manifest_of_a_spreadsheet_with_a_short_row_is_read(tmp_path: Path) -> None:
    write_sound(tmp_path / "a.wav")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("split,file\ntest,a.wav\ntrain\n", encoding="utf-8-sig")
    assert [each.published_split for each in DATASETS["folder"].recordings(tmp_path)] == ["test"]
    manifest.write_text("split,file\ntest,caf\xe9.wav\n", encoding="latin-1")
    with pytest.raises(DatasetError, match="UTF-8"):
        DATASETS["folder"].recordings(tmp_path)


def test_a_manifest_with_an_unknown_split_says_so(tmp_path: Path) -> None:
    write_sound(tmp_path / "a.wav")
    write_rows(tmp_path / "manifest.csv", [["file", "split"], ["a.wav", "evaluation"]])
    with pytest.raises(DatasetError, match=r"a.wav into the split 'evaluation'; choose from train"):
        read_dataset("folder", tmp_path)


def test_held_out_takes_the_published_part_or_whole_groups() -> None:
    parts = published(("anna", "train"), ("otto", "test"), ("eva", "validation"))
    assert held_out(parts, 0.2, seed=0) == (parts[:1], parts[1:2])
    assert held_out(parts[::2], 0.2, seed=0) == (parts[:1], parts[2:])
    train, rest = held_out(many(), 0.2, seed=0)
    assert not {r.group for r in train} & {r.group for r in rest}
    assert 0.1 < len(rest) / len(many()) < 0.3


@pytest.mark.parametrize("to_hz", [16_000, 22_050, 44_100])
@pytest.mark.parametrize("anti_alias", ["linear-phase", "chebyshev"])
def test_lowering_the_rate_keeps_what_fits_and_drops_what_would_alias(to_hz: int, anti_alias: str) -> None:
    time_s = np.arange(48_000) / 48_000
    for frequency_hz, gain in ((0.3 * to_hz, 1.0), (0.53 * to_hz, 0.0)):
        if frequency_hz > 23_000:
            continue
        tone = np.sin(2 * np.pi * frequency_hz * time_s).astype(np.float32)
        out = lower_rate(tone, 48_000, to_hz, anti_alias)
        assert abs(len(out) - to_hz) <= 1
        level = float(np.sqrt(2 * np.mean(out[2_000:-2_000] ** 2)))
        assert abs(level - gain) < (0.02 if gain else 0.05), (frequency_hz, level)


def test_chebyshev_by_a_whole_factor_is_scipys_decimation() -> None:
    sound = np.random.default_rng(0).standard_normal(9_000).astype(np.float32)
    expected = signal.decimate(sound, 3, ftype="iir")
    np.testing.assert_allclose(lower_rate(sound, 48_000, 16_000, "chebyshev")[50:-50], expected[50:-50], atol=1e-4)


def test_crops_and_peaks(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "stereo.wav", np.full((44_100, 2), 0.25), 44_100)
    settings = Preprocessing(sample_rate_hz=16_000, crop_s=1.0)
    sound = settings.load(tmp_path / "stereo.wav")
    assert abs(float(np.abs(sound).max()) - 1.0) < 1e-6
    assert [len(c) for c in settings.crops(np.zeros(40_000, np.float32))] == [16_000, 16_000]
    assert [len(c) for c in settings.crops(sound[:100])] == [16_000]
    assert not normalise_peak(np.zeros(8, np.float32)).any()
    with pytest.raises(DatasetError, match="1 to 3 seconds"):
        Preprocessing(crop_s=9.0)
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(DatasetError, match=r"text\.wav"):
        settings.load(tmp_path / "text.wav")


@pytest.mark.parametrize("length", [1, 1_023, 1_024, 1_025, 1_536, 10_000])
def test_frames_cover_every_sample_and_join_again(length: int) -> None:
    sound = np.random.default_rng(1).standard_normal(length).astype(np.float32)
    frames = overlapping_frames(sound)
    assert frames.shape[1] == 1_024
    np.testing.assert_allclose(join_frames(frames)[:length], sound, atol=1e-6)
