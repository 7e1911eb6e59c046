"""WebDataset, lhotse and datasets: their own packages read what ``pack`` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from streamcodec import decode_file, encode_file
from streamcodec.corpora.pack import pack_folder

Float32Array = NDArray[np.float32]


@pytest.fixture
def corpus(tmp_path: Path, speech: Float32Array) -> Path:
    """Five clips in folders, each with its words beside it."""
    for number in range(5):
        path = tmp_path / "in" / f"s{number % 2}" / f"clip.{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, speech[3_000 * number :][:4_800], 24_000)
        path.with_suffix(".txt").write_text(f"words of {number}")
    return tmp_path / "in"


def sound_of(path: Path) -> NDArray[np.int16]:
    return np.asarray(soundfile.read(path, dtype="int16")[0])


def test_webdataset_reads_shards(corpus: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    from streamcodec.adapters.webdataset import sc

    outcome = pack_folder(corpus, tmp_path / "out", workers=1, tier="lossless", shards="webdataset", shard_files=3)
    shards = sorted(str(path) for path in (tmp_path / "out").glob("*.tar"))
    assert len(shards) == 2
    found = list(webdataset.WebDataset(shards, shardshuffle=False).decode(sc).to_tuple("__key__", "sc", "txt"))
    assert len(found) == 5
    for (key, (samples, rate_hz), text), entry in zip(found, outcome.entries, strict=True):
        assert entry.target.endswith(f"{key}.sc")
        assert rate_hz == 24_000
        np.testing.assert_array_equal((samples[0] * 32_768).astype(np.int16), sound_of(corpus / entry.source))
        assert text == f"words of {entry.source[-5]}"


def test_lhotse_reads_shar_and_files(corpus: Path, tmp_path: Path) -> None:
    lhotse = pytest.importorskip("lhotse")
    import streamcodec.adapters.lhotse  # noqa: F401

    pack_folder(corpus, tmp_path / "out", workers=1, tier="lossless", shards="shar", shard_files=3)
    cuts = list(lhotse.CutSet.from_shar(in_dir=tmp_path / "out" / "shar"))
    assert [cut.id for cut in cuts] == [f"s{n % 2}/clip_{n}" for n in (0, 2, 4, 1, 3)]
    for cut in cuts:
        number = int(cut.id[-1])
        expected = sound_of(corpus / f"s{number % 2}" / f"clip.{number}.wav")
        np.testing.assert_array_equal((cut.load_audio()[0] * 32_768).astype(np.int16), expected)
        assert cut.supervisions[0].text == f"words of {number}"
        part = cut.truncate(offset=0.05, duration=0.1).load_audio()
        np.testing.assert_array_equal((part[0] * 32_768).astype(np.int16), expected[1_200:3_600])
    encode_file(corpus / "s0" / "clip.0.wav", tmp_path / "a.sc")
    recording = lhotse.Recording.from_file(tmp_path / "a.sc")
    assert (recording.num_samples, recording.sampling_rate) == (4_800, 24_000)
    assert recording.load_audio().shape == (1, 4_800)
    plain = lhotse.Recording.from_file(corpus / "s0" / "clip.0.wav")
    assert plain.load_audio().shape == (1, 4_800)


def test_datasets_keep_coded_sound_and_give_it_back(corpus: Path, tmp_path: Path) -> None:
    datasets: Any = pytest.importorskip("datasets")
    from streamcodec.adapters.datasets import StreamcodecAudio

    files = sorted(corpus.rglob("*.wav"))
    encode_file(files[0], tmp_path / "a.sc")
    decode_file(tmp_path / "a.sc", tmp_path / "a.wav")
    array = soundfile.read(files[1], dtype="float32")[0]
    rows = {
        "sound": [str(tmp_path / "a.sc"), str(files[0]), {"array": array, "sampling_rate": 24_000}],
        "n": [0, 1, 2],
    }
    features = datasets.Features({"sound": StreamcodecAudio(), "n": datasets.Value("int64")})
    made = datasets.Dataset.from_dict(rows, features=features)
    made.save_to_disk(str(tmp_path / "saved"))
    kept = datasets.load_from_disk(str(tmp_path / "saved"))
    assert isinstance(kept.features["sound"], StreamcodecAudio)
    assert kept[0]["sound"]["sampling_rate"] == 24_000
    np.testing.assert_array_equal(kept[0]["sound"]["array"], kept[1]["sound"]["array"])
    heard = soundfile.read(tmp_path / "a.wav", dtype="float32")[0]
    np.testing.assert_allclose(kept[0]["sound"]["array"], heard, atol=1.0 / 32_768)
    assert kept[2]["sound"]["array"].shape == array.shape
    raw = kept.cast_column("sound", StreamcodecAudio(decode=False))
    assert raw[2]["sound"]["bytes"][:4] == b"SCF1"
    assert len(raw[2]["sound"]["bytes"]) < array.size / 2
    by_path = datasets.Dataset.from_dict({"sound": [str(tmp_path / "a.sc")]}).cast_column("sound", StreamcodecAudio())
    assert by_path[0]["sound"]["array"].shape == (4_800,)
    exact = datasets.Features({"sound": StreamcodecAudio(tier="lossless")})
    lossless = datasets.Dataset.from_dict({"sound": [str(files[2])]}, features=exact)
    found = (lossless[0]["sound"]["array"] * 32_768).astype(np.int16)
    np.testing.assert_array_equal(found, sound_of(files[2]))
