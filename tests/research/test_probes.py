"""Probes: labels from names, folds that no source crosses, classifiers that learn, maps, and the whole experiment."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamcodec.errors import StreamcodecError

pytest.importorskip("sklearn")
pytest.importorskip("torch")

from streamcodec.research.datasets.recording import Recording
from streamcodec.research.experiments.experiment import SCALES
from streamcodec.research.experiments.latent_features import FEATURES
from streamcodec.research.experiments.latent_maps import METHODS, draw_confusion, map_points, silhouette
from streamcodec.research.experiments.probe_classifiers import balanced_accuracy, convolutional_probe, linear_probe
from streamcodec.research.experiments.probe_data import LabelledCrops, choose, group_folds, with_derived_labels
from streamcodec.research.experiments.registry import load
from streamcodec.research.experiments.retrieval import retrieval_scores
from streamcodec.research.experiments.runner import run_experiment
from streamcodec.research.experiments.time_domain_latents import NAME as TIME_DOMAIN

RATE_HZ = 24_000


def recording(source: str, speaker: str = "notes", kind: str = "music") -> Recording:
    return Recording(
        Path(f"{source}-{speaker}.wav"), f"{source}/{speaker}", {"kind": kind, "source": source, "speaker": speaker}
    )


def test_names_of_sources_give_instruments_and_classes() -> None:
    guitar = with_derived_labels(recording("karoryfer-shinyguitar-more"))
    assert (guitar.labels["instrument"], guitar.group) == ("guitar", "karoryfer-shinyguitar")
    dog = with_derived_labels(recording("esc10", "001-4-207124-A"))
    assert (dog.labels["sound class"], dog.group) == ("dog", "esc10/207124")
    assert "instrument" not in with_derived_labels(recording("sonic-pi")).labels
    plain = Recording(Path("a.wav"), "a", {"folder": "a"})
    assert with_derived_labels(plain) == plain


def test_chosen_recordings_are_spread_over_groups_and_small_classes_left_out() -> None:
    recordings = [recording(f"piano{g}", str(k), "keys") for g, count in enumerate((50, 3, 2)) for k in range(count)]
    recordings += [recording(f"drum{g}", str(k), "drums") for g in range(2) for k in range(4)]
    recordings += [recording("flute", str(k), "winds") for k in range(30)]
    recordings = [with_derived_labels(each) for each in recordings]
    chosen = choose(recordings, "kind", per_class=9, seed=0)
    counts = {kind: sum(r.labels["kind"] == kind for r in chosen) for kind in ("keys", "drums", "winds")}
    assert counts == {"keys": 9, "drums": 8, "winds": 0}
    assert len({r.group for r in chosen if r.labels["kind"] == "keys"}) == 3
    assert choose(recordings[-30:], "kind", 9, 0) == []


@pytest.fixture(scope="module")
def clusters() -> LabelledCrops:
    """Three classes, each apart in a feature of its own, four groups each."""
    rng = np.random.default_rng(0)
    classes = np.repeat(np.arange(3), 24)
    values = rng.standard_normal((72, 20, 8)).astype(np.float32)
    values[np.arange(72), :, classes] += 2.0
    groups = tuple(f"{each}-{k % 4}" for k, each in enumerate(classes))
    return LabelledCrops("made up", ("a", "b", "c"), {"values": values}, classes, groups, 72)


def test_folds_cross_no_group_and_test_every_crop_once(clusters: LabelledCrops) -> None:
    folds = group_folds(clusters, 4, seed=1)
    assert sorted(int(k) for _, test in folds for k in test) == list(range(72))
    for train, test in folds:
        assert not {clusters.groups[k] for k in train} & {clusters.groups[k] for k in test}


def test_both_classifiers_learn_and_are_the_same_from_the_same_seed(clusters: LabelledCrops, tmp_path: Path) -> None:
    values, classes = clusters.features["values"], clusters.classes
    train, test = group_folds(clusters, 4, seed=1)[0]
    linear = linear_probe(values[train], classes[train], values[test])
    assert balanced_accuracy(classes[test], linear) > 0.9
    first, second = (
        convolutional_probe(values[train], classes[train], values[test], tmp_path / name, steps=60, seed=2)
        for name in ("first", "second")
    )
    np.testing.assert_array_equal(first, second)
    assert balanced_accuracy(classes[test], first) > 0.8


def test_balanced_accuracy_counts_classes_alike() -> None:
    truth = np.array([0, 0, 0, 0, 1])
    assert balanced_accuracy(truth, np.zeros(5, np.int64)) == 0.5


@pytest.mark.parametrize("method", METHODS)
def test_maps_show_what_is_apart(clusters: LabelledCrops, method: str) -> None:
    held_out = group_folds(clusters, 4, seed=1)[0][1]
    points, which = map_points(clusters, "values", method, 0, held_out)
    assert points.shape == (len(which), 2)
    np.testing.assert_array_equal(which, held_out if method == "LDA" else np.arange(72))
    again, _ = map_points(clusters, "values", method, 0, held_out)
    np.testing.assert_array_equal(points, again)
    score = silhouette(points, clusters.classes[which])
    assert score is not None
    assert score > (0.5 if method == "LDA" else -0.1)
    assert silhouette(points, np.zeros(len(points), np.int64)) is None


def test_features_have_one_shape(speech: np.ndarray) -> None:
    shapes = {name: function(speech[: 480 * 20]).shape for name, function in FEATURES.items()}
    assert set(shapes.values()) == {(20, 96)}


def write_labelled_folder(root: Path) -> None:
    """Hums and hisses of three sources each."""
    rng = np.random.default_rng(0)
    time_s = np.arange(round(1.2 * RATE_HZ)) / RATE_HZ
    rows = [["file", "split", "kind", "source", "speaker"]]
    for kind in ("music", "environment"):
        for k in range(6):
            hum = np.sin(2 * np.pi * rng.uniform(150, 900) * time_s)
            sound = hum if kind == "music" else rng.standard_normal(time_s.size)
            name = f"{'dev' if k == 5 else 'train'}/{kind}/{k}.wav"
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(root / name, 0.2 * sound, RATE_HZ)
            rows.append([name, "train", kind, f"{kind}{k % 3}", str(k)])
    with (root / "manifest.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows(rows)


def test_experiment_recognises_hum_from_hiss_and_repeats_to_the_bit(tmp_path: Path) -> None:
    write_labelled_folder(tmp_path / "data")
    scale = dataclasses.replace(SCALES["tiny"], train_files=6)
    folders = [
        run_experiment(load("probes"), tmp_path / "data", tmp_path / name, scale, seed=1) for name in ("one", "two")
    ]
    first, second = ((folder / "metrics.json").read_bytes() for folder in folders)
    assert first == second
    recognised, maps, training = json.loads(first)["tables"]
    for name in (*FEATURES, TIME_DOMAIN):
        row = recognised["rows"][f"kind, {name}"]
        assert row["guessing"] == 50
        assert row["linear probe"] > 90, name
    assert training["rows"]["time-conv"]["steps"] == scale.steps
    assert set(maps["columns"]) == set(METHODS)
    assert (folders[0] / "confusion-kind.png").stat().st_size > 1_000
    assert (folders[0] / "map-kind.png").read_bytes() == (folders[1] / "map-kind.png").read_bytes()


def test_data_without_labels_is_one_sentence(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, np.zeros(4_800), RATE_HZ)
    with pytest.raises(StreamcodecError, match="no labels"):
        run_experiment(load("probes"), tmp_path, tmp_path / "out", SCALES["tiny"], seed=1)


def test_retrieval_finds_what_is_alike_and_nothing_of_its_own_group() -> None:
    rng = np.random.default_rng(0)
    classes = [f"class{k % 4}" for k in range(40)]
    vectors = rng.standard_normal((40, 12)).astype(np.float32)
    vectors[np.arange(40), [k % 4 for k in range(40)]] += 6.0
    alone = [str(k) for k in range(40)]
    nearest, precision, guessing = retrieval_scores(vectors, classes, alone)
    assert nearest > 80
    assert precision > 2 * guessing
    assert guessing == pytest.approx(100 * 9 / 39, abs=0.1)
    shuffled = [classes[k] for k in rng.permutation(40)]
    assert retrieval_scores(vectors, shuffled, alone)[0] < 50
    twins = np.concatenate([vectors[:20], vectors[:20]])
    names = [str(k) for k in range(20)] * 2
    assert retrieval_scores(twins, names, alone)[0] == 100.0
    with_others = [*classes[:20], *[f"class{k % 3}" for k in range(20)]]
    assert retrieval_scores(twins, with_others, names)[0] < 90.0


def test_the_retrieval_experiment_compares_latents_with_log_mel(tmp_path: Path) -> None:
    write_labelled_folder(tmp_path / "data")
    scale = dataclasses.replace(SCALES["tiny"], train_files=6)
    folder = run_experiment(load("retrieval"), tmp_path / "data", tmp_path / "out", scale, seed=1)
    (table,) = json.loads((folder / "metrics.json").read_text())["tables"]
    assert set(table["rows"]) == {"kind, latents", "kind, log-mel"}
    assert all(row["nearest %"] == 100.0 for row in table["rows"].values())


def test_confusion_is_drawn_and_counts_every_crop(tmp_path: Path) -> None:
    draw_confusion(("a", "b"), {"values": np.array([[3, 1], [0, 4]])}, tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").stat().st_size > 1_000
