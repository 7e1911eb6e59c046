"""A linear probe learns what is apart, comes back from disk, and says what does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from streamcodec import AudioFormatError, FileFormatError, LinearProbe
from streamcodec.features.probe import FORMAT

pytest.importorskip("sklearn")

Sounds = list[np.ndarray]


def sounds_of(classes: int, each: int, seed: int = 0) -> tuple[Sounds, list[str]]:
    """Noise, a dimension of its own louder for each class, sounds of different lengths."""
    rng = np.random.default_rng(seed)
    sounds, labels = [], []
    for k in range(classes * each):
        values = rng.standard_normal((20 + k % 7, 6)).astype(np.float32)
        values[:, k % classes] *= 3.0
        sounds.append(values)
        labels.append("abc"[k % classes])
    return sounds, labels


@pytest.mark.parametrize("classes", [2, 3])
def test_a_probe_tells_unheard_sounds_apart_and_survives_the_disk(classes: int, tmp_path: Path) -> None:
    probe = LinearProbe.fit(*sounds_of(classes, 12), features="made up")
    sounds, labels = sounds_of(classes, 5, seed=1)
    assert probe.predict(sounds) == labels
    likely = probe.probabilities(sounds)
    np.testing.assert_allclose(likely.sum(1), 1.0)
    probe.save(tmp_path / "probe.safetensors")
    again = LinearProbe.load(tmp_path / "probe.safetensors")
    assert (again.classes, again.features) == (probe.classes, "made up")
    np.testing.assert_array_equal(again.probabilities(sounds), likely)


def test_the_weights_are_those_of_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from streamcodec.features.pooling import pooled

    sounds, labels = sounds_of(3, 8)
    vectors = np.stack([pooled(sound) for sound in sounds]).astype(np.float64)
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=2_000))
    theirs.fit(vectors, labels)
    ours = LinearProbe.fit(sounds, labels, penalty=0.1)
    np.testing.assert_allclose(ours.probabilities(sounds), theirs.predict_proba(vectors), atol=1e-6)


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    sounds, labels = sounds_of(2, 3)
    for wrong, names, said in (
        (sounds, ["a"] * 6, "two or more"),
        (sounds[:-1], labels, "one label"),
        ([*sounds[:-1], sounds[0][:0]], labels, "at least"),
        ([*sounds[:-1], sounds[0][:, :3]], labels, "one number of dims"),
    ):
        with pytest.raises(AudioFormatError, match=said):
            LinearProbe.fit(wrong, names)
    for penalty in (0.0, "x", float("inf")):
        with pytest.raises(AudioFormatError, match="penalty"):
            LinearProbe.fit(sounds, labels, penalty=penalty)  # type: ignore[arg-type]
    for unknown in (None, 5, [["a"]] * 6, ["a", 1] * 3):
        with pytest.raises(AudioFormatError, match="labels are a list of names"):
            LinearProbe.fit(sounds, unknown)  # type: ignore[arg-type]
    with pytest.raises(AudioFormatError, match="features must be finite numbers, those of sound 5 are not"):
        LinearProbe.fit([*sounds[:-1], np.full((4, 6), np.nan)], labels)
    probe = LinearProbe.fit(sounds, labels)
    for wrong in (None, 5, sounds[0], ["x"], [[[1.0, 2.0], [3.0]]], [np.full((4, 6), np.inf)]):
        with pytest.raises(AudioFormatError, match=r"a probe takes a list with one array|finite numbers"):
            probe.predict(wrong)  # type: ignore[arg-type]
    same = np.stack([sounds[0][:20], sounds[1][:20]])
    assert probe.predict(same) == probe.predict(list(same))  # type: ignore[arg-type]
    with pytest.raises(AudioFormatError, match="takes 6 dimensions"):
        LinearProbe.fit(sounds, labels).predict([sounds[0][:, :3]])
    (tmp_path / "song").write_bytes(b"RIFF" * 9)
    for path in (tmp_path / "song", tmp_path / "none"):
        with pytest.raises(FileFormatError, match="not a probe"):
            LinearProbe.load(path)


@pytest.mark.parametrize(
    ("weights", "classes"),
    [
        (np.zeros(2), '["a", "b"]'),
        (np.zeros((2, 6), np.int8), '["a", "b"]'),
        (np.full((2, 6), np.nan), '["a", "b"]'),
        (np.zeros((2, 6)), "[" * 100_000),
        (np.zeros((2, 6)), '"ab"'),
        (np.zeros((2, 6)), "[1, 2]"),
        (np.zeros((3, 6)), '["a", "b"]'),
    ],
    ids=["flat", "of integers", "not finite", "deep", "text", "numbers", "too many"],
)
def test_a_damaged_probe_is_one_sentence(tmp_path: Path, weights: np.ndarray, classes: str) -> None:
    about = {"format": FORMAT, "classes": classes, "features": ""}
    save_file({"weights": weights, "bias": np.zeros(2)}, tmp_path / "probe", about)
    with pytest.raises(FileFormatError, match="not a probe"):
        LinearProbe.load(tmp_path / "probe")
