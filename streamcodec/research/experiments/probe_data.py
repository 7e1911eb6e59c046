"""Labelled crops for the probes, with features of each, and folds that no source, artist or speaker crosses."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamcodec.errors import StreamcodecError
from streamcodec.research.datasets.preprocess import Preprocessing
from streamcodec.research.datasets.recording import Recording
from streamcodec.research.experiments.latent_features import FRAME_SAMPLES, SAMPLE_RATE_HZ, Features

CROP_S = 2.0
CROPS_PER_RECORDING = 3
QUIET = 1e-3
LABELS_BY_DATASET = {
    "librispeech": ("sex",),
    "vctk": ("sex", "accent"),
    "nsynth": ("family", "source"),
    "fma": ("genre",),
    "esc50": ("class",),
    "speech-commands": ("word",),
    "folder": ("kind", "sound class", "instrument", "folder"),
}
FEWEST_PER_CLASS = 6
FEWEST_GROUPS = 2

ESC10_CLASSES = (
    "dog", "rain", "sea waves", "crying baby", "clock tick", "sneeze", "helicopter", "chainsaw", "rooster", "fire",
)  # fmt: skip
ESC10_NAME = re.compile(r"0(\d\d)-\d-(\w+)-[A-Z]")
INSTRUMENTS = {
    "guitar": ("guitar",),
    "piano": ("piano",),
    "bass": ("bass",),
    "percussion": ("percussion", "muldjord", "horsepulse"),
    "wind": ("tuba", "weresax", "bearsax"),
}


@dataclass(frozen=True)
class LabelledCrops:
    """Crops of one question.

    Shape: ``features[name]`` ``[crops, frames, dim]``; classes int64 ``[crops]``, groups one name each.
    """

    question: str
    names: tuple[str, ...]
    features: dict[str, Features]
    classes: NDArray[np.int64]
    groups: tuple[str, ...]
    recordings: int


def with_derived_labels(recording: Recording) -> Recording:
    """A recording whose source's name says more than its labels: instruments, and ESC-10's numbered classes.

    The group becomes the source without ``-more``, for ESC-10 the recording that a clip was cut from.
    """
    source = recording.labels.get("source")
    if source is None:
        return recording
    source = source.removesuffix("-more")
    labels, group = dict(recording.labels), source
    esc10 = ESC10_NAME.fullmatch(recording.labels.get("speaker", ""))
    if esc10 is not None:
        labels["sound class"] = ESC10_CLASSES[int(esc10[1]) - 1]
        group = f"{source}/{esc10[2]}"
    for instrument, words in INSTRUMENTS.items():
        if any(source.endswith(word) for word in words):
            labels["instrument"] = instrument
    return replace(recording, labels=labels, group=group)


def choose(recordings: Iterable[Recording], label: str, per_class: int, seed: int) -> list[Recording]:
    """At most ``per_class`` recordings of each class, groups taking turns; classes of too few left out.

    Empty where fewer than two classes are left.
    """
    rng = np.random.default_rng(seed)
    by_class: dict[str, dict[str, list[Recording]]] = defaultdict(lambda: defaultdict(list))
    for recording in recordings:
        if label in recording.labels:
            by_class[recording.labels[label]][recording.group].append(recording)
    chosen = []
    kept = 0
    for name in sorted(by_class):
        groups = by_class[name]
        if sum(map(len, groups.values())) >= FEWEST_PER_CLASS and len(groups) >= FEWEST_GROUPS:
            kept += 1
            chosen += _in_turn(groups, per_class, rng)
    return chosen if kept > 1 else []


def _in_turn(groups: dict[str, list[Recording]], most: int, rng: np.random.Generator) -> list[Recording]:
    queues = [[members[k] for k in rng.permutation(len(members))] for _, members in sorted(groups.items())]
    taken: list[Recording] = []
    while len(taken) < most and any(queues):
        taken += [queue.pop() for queue in queues if queue][: most - len(taken)]
    return taken


def make_crops(
    question: str,
    recordings: Sequence[Recording],
    label: str,
    functions: Mapping[str, Callable[[Features], Features]],
    progress: Callable[[float], None],
) -> LabelledCrops:
    """Crops of 2 s that hold sound, and every kind of features of each."""
    settings = Preprocessing(sample_rate_hz=SAMPLE_RATE_HZ, crop_s=CROP_S)
    names = tuple(sorted({recording.labels[label] for recording in recordings}))
    rows: dict[str, list[Features]] = {name: [] for name in functions}
    classes, groups = [], []
    for index, recording in enumerate(recordings):
        for crop in _audible(settings.crops(settings.load(recording.path))):
            whole = crop[: len(crop) // FRAME_SAMPLES * FRAME_SAMPLES]
            for name, function in functions.items():
                rows[name].append(function(whole))
            classes.append(names.index(recording.labels[label]))
            groups.append(recording.group)
        progress((index + 1) / len(recordings))
    if not classes:
        raise StreamcodecError(f"nothing to hear in the {len(recordings)} recordings labelled by {label}")
    features = {name: np.stack(each) for name, each in rows.items()}
    return LabelledCrops(question, names, features, np.array(classes), tuple(groups), len(recordings))


def _audible(crops: Iterator[Features]) -> list[Features]:
    loud = [crop for crop in crops if float(np.sqrt(np.mean(crop**2))) > QUIET]
    return loud[:CROPS_PER_RECORDING]


def group_folds(crops: LabelledCrops, folds: int, seed: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(training, test) indices of each fold: every crop is tested once, no group is on both sides.

    As many folds as the class with the fewest groups has groups, if that is less.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    pairs = set(zip(crops.classes.tolist(), crops.groups, strict=True))
    fewest = min(Counter(each for each, _ in pairs).values())
    splitter = StratifiedGroupKFold(n_splits=max(2, min(folds, fewest)), shuffle=True, random_state=seed)
    numbers = {group: k for k, group in enumerate(sorted(set(crops.groups)))}
    groups = np.array([numbers[group] for group in crops.groups])
    return list(splitter.split(np.zeros(len(groups)), crops.classes, groups))
