"""Training data: a cache built once, and batches that depend on seed and step alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamcodec.evaluation.clips import read_clips
from streamcodec.training.data import BatchesAhead, DatasetError, SegmentSource, build_cache


def test_cache_is_built_once_and_knows_the_bandwidth(cache: Path) -> None:
    clips = json.loads((cache / "clips.json").read_text())
    assert sorted(c["bandwidth_hz"] for c in clips) == [8_000, 12_000]
    assert all(abs(c["samples"] - 72_000) <= 1 for c in clips)
    before = (cache / "samples.i16").stat().st_mtime_ns
    assert build_cache([cache.parents[1] / "speech"], cache.parent, 24_000) == cache
    assert (cache / "samples.i16").stat().st_mtime_ns == before


@pytest.mark.parametrize("change", ["sound", "manifest"])
def test_what_has_changed_is_decoded_again(change: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    sound = folder / "a.wav"
    soundfile.write(sound, np.zeros(24_000), 24_000)
    before = build_cache([folder], tmp_path / "cache", 24_000)
    if change == "sound":
        size, at_ns = sound.stat().st_size, sound.stat().st_mtime_ns
        soundfile.write(sound, np.full(24_000, 0.5), 24_000)
        os.utime(sound, ns=(at_ns, at_ns + 2_000_000_000))
        assert sound.stat().st_size == size
    else:
        (folder / "manifest.csv").write_text("file,sample_rate\na.wav,8000\n")
    after = build_cache([folder], tmp_path / "cache", 24_000)
    (clip,) = json.loads((after / "clips.json").read_text())
    assert clip["bandwidth_hz"] == (12_000 if change == "sound" else 4_000)
    assert np.fromfile(after / "samples.i16", "<i2").any() == (change == "sound")
    assert not np.fromfile(before / "samples.i16", "<i2").any()
    assert build_cache([folder], tmp_path / "cache", 24_000) == after


def test_training_tells_kinds_as_evaluation_does(tmp_path: Path) -> None:
    folder = tmp_path / "speech"
    for place in ("music", "Environment/speech-like", "radio"):
        (folder / place).mkdir(parents=True)
        soundfile.write(folder / place / "x.wav", np.zeros(240), 24_000)
    cache = build_cache([folder], tmp_path / "cache", 24_000)
    kinds = sorted(clip["kind"] for clip in json.loads((cache / "clips.json").read_text()))
    assert kinds == sorted(clip.kind for clip in read_clips(folder)) == ["environment", "music", "speech"]


def test_a_file_of_two_folders_is_trained_on_once(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    soundfile.write(tmp_path / "inner" / "x.wav", np.zeros(240), 24_000)
    cache = build_cache([tmp_path, tmp_path / "inner"], tmp_path / "cache", 24_000)
    assert len(json.loads((cache / "clips.json").read_text())) == 1


def test_no_data_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no sound file"):
        build_cache([tmp_path], tmp_path / "cache", 24_000)
    soundfile.write(tmp_path / "x.wav", np.zeros(240), 24_000)
    for manifest, told in (
        ("name,sample_rate\nx.wav,8000\n", "no column 'file'"),
        ("file,sample_rate\nx.wav,8k\n", "8k"),
        ("file,sample_rate\nx.wav,nan\n", "sample_rate of nan"),
        ("file,sample_rate\nx.wav,-8000\n", "sample_rate of -8000"),
        ("file,sample_rate\ncaf\xe9.wav,8000\n", "UTF-8"),
    ):
        (tmp_path / "manifest.csv").write_text(manifest, encoding="latin-1")
        with pytest.raises(DatasetError, match=told):
            build_cache([tmp_path], tmp_path / "cache", 24_000)


def test_a_manifest_of_a_spreadsheet_with_a_short_row_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(240), 24_000)
    (tmp_path / "manifest.csv").write_text("sample_rate,file\n8000,x.wav\n16000\n", encoding="utf-8-sig")
    cache = build_cache([tmp_path], tmp_path / "cache", 24_000)
    (clip,) = json.loads((cache / "clips.json").read_text())
    assert clip["bandwidth_hz"] == 4_000


def test_batches_depend_on_seed_and_step_alone(cache: Path) -> None:
    first, second = (SegmentSource(cache, 4_800, 24_000, seed=4) for _ in range(2))
    np.testing.assert_array_equal(first.batch(7, 3)[0], second.batch(7, 3)[0])
    assert not np.array_equal(first.batch(7, 3)[0], first.batch(8, 3)[0])


def test_batches_prepared_ahead_are_the_same_batches(cache: Path) -> None:
    source = SegmentSource(cache, 4_800, 24_000, seed=4)
    ahead = BatchesAhead(source, stride=2)
    for step in (0, 2, 4, 12):
        np.testing.assert_array_equal(ahead.batch(step, 3)[0], source.batch(step, 3)[0])
