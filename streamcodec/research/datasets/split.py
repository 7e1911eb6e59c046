"""Splits without a speaker, artist or source on two sides, with each label in its share everywhere."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from streamcodec.research.datasets.recording import Recording, SplitName
from streamcodec.training.data import DatasetError

DEFAULT_SHARES: Mapping[SplitName, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}


def split_by_group(
    recordings: Sequence[Recording],
    label: str | None = None,
    shares: Mapping[SplitName, float] = DEFAULT_SHARES,
    seed: int = 0,
) -> dict[SplitName, list[Recording]]:
    """Group-disjoint splits, stratified by ``label``; the same for the same recordings, shares and seed.

    Groups are dealt out whole, the largest first, each to the split that lacks most of what the group holds; ties
    between groups of one size fall as the seed says.

    Errors: DatasetError where a split would stay empty, or a recording lacks the label.
    """
    strata = _strata(recordings, label)
    members: dict[str, list[int]] = defaultdict(list)
    for index, recording in enumerate(recordings):
        members[recording.group].append(index)
    if len(members) < len(shares):
        raise DatasetError(
            f"{len(members)} groups (speakers, artists or sources) cannot fill {len(shares)} splits; add recordings"
        )
    names = list(shares)
    total_share = sum(shares.values())
    wanted = {
        name: {stratum: count * shares[name] / total_share for stratum, count in Counter(strata).items()}
        for name in names
    }
    rng = np.random.default_rng(seed)
    shuffled = [sorted(members)[k] for k in rng.permutation(len(members))]
    side: dict[str, SplitName] = {}
    for group in sorted(shuffled, key=lambda g: -len(members[g])):
        held = Counter(strata[index] for index in members[group])

        def lack(name: SplitName, held: Counter[str] = held) -> float:
            # Relative to the split's size, so that small splits are filled alongside large ones.
            return sum(n * wanted[name][stratum] for stratum, n in held.items()) / math.sqrt(shares[name])

        chosen = max(names, key=lack)
        side[group] = chosen
        for stratum, count in held.items():
            wanted[chosen][stratum] -= count
    parts: dict[SplitName, list[Recording]] = {name: [] for name in names}
    for recording in recordings:
        parts[side[recording.group]].append(recording)
    for name, part in parts.items():
        if not part:
            raise DatasetError(f"the split {name!r} got no recording; the groups are too few or too uneven")
    return parts


def held_out(recordings: Sequence[Recording], share: float, seed: int) -> tuple[list[Recording], list[Recording]]:
    """(training, held out): by the published split where the recordings have one, else a share of the groups.

    Published test parts go before validation parts; of two such parts the other is left out.

    Errors: DatasetError for a published split without a training part, or that :func:`published_split` refuses.
    """
    if has_published_split(recordings):
        parts = published_split(recordings)
        if "train" not in parts:
            raise DatasetError(
                f"what is published as {' and '.join(sorted(parts))} data came without training data: add that, or "
                "give one of these parts alone to have it divided"
            )
        return parts["train"], parts.get("test") or parts["validation"]
    split = split_by_group(recordings, shares={"train": 1.0 - share, "test": share}, seed=seed)
    return split["train"], split["test"]


def has_published_split(recordings: Iterable[Recording]) -> bool:
    """Whether the publisher holds some of the recordings back; one published part alone is not divided."""
    named = {recording.published_split for recording in recordings}
    return len(named) > 1 and not named <= {None, "train"}


def published_split(recordings: Iterable[Recording]) -> dict[SplitName, list[Recording]]:
    """The dataset's own split; validation and test may share groups, as NSynth's do, but neither with training.

    Errors: DatasetError where a recording is in no part, or a group in training and in another part.
    """
    parts: dict[SplitName, list[Recording]] = defaultdict(list)
    for recording in recordings:
        if recording.published_split is None:
            raise DatasetError(
                f"{recording.path} is in no published split, others are: name the part of every file, or of none"
            )
        parts[recording.published_split].append(recording)
    trained = {recording.group: recording for recording in parts.get("train", [])}
    for name, part in parts.items():
        for recording in part:
            # An empty name says that nothing is known.
            if name != "train" and recording.group and recording.group in trained:
                raise DatasetError(
                    f"{recording.group!r} is both in train ({trained[recording.group].path}) and in {name} "
                    f"({recording.path}) of the published split: put all files of a speaker, artist or source into "
                    "one part, or name no parts"
                )
    return dict(parts)


def _strata(recordings: Sequence[Recording], label: str | None) -> list[str]:
    if label is None:
        return [""] * len(recordings)
    missing = [recording.path for recording in recordings if label not in recording.labels]
    if missing:
        raise DatasetError(f"{missing[0]} has no label {label!r} (nor have {len(missing) - 1} others)")
    return [recording.labels[label] for recording in recordings]
