"""Search by likeness, measured: whether the sounds found for a sound are of its speaker, class or instrument."""

from __future__ import annotations

import functools
import importlib.util
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamcodec.codec.latents import latents
from streamcodec.errors import StreamcodecError
from streamcodec.features.embedding import Whitening, embedding
from streamcodec.models.shipped import DEFAULT_MODEL, load_model
from streamcodec.research.datasets.catalogue import recognise
from streamcodec.research.datasets.preprocess import Preprocessing
from streamcodec.research.datasets.recording import Recording
from streamcodec.research.experiments.experiment import Cell, Context, Experiment, Results, Table
from streamcodec.research.experiments.latent_features import FRAME_SAMPLES, MEL_BANDS, SAMPLE_RATE_HZ, log_mel
from streamcodec.research.experiments.probe_data import LABELS_BY_DATASET, choose, with_derived_labels

Float32Array = NDArray[np.float32]
SPEAKER = "speaker"
HEARD_S = 6.0
SPEAKERS = 75
"""Speakers at most, and recordings of each."""
OF_EACH = 3


def _latents(samples: Float32Array) -> Float32Array:
    return embedding(latents(samples, SAMPLE_RATE_HZ), load_model(DEFAULT_MODEL).config.envelope_latents)


def _log_mel(samples: Float32Array) -> Float32Array:
    whole = np.pad(samples, (0, -len(samples) % FRAME_SAMPLES))
    return embedding(log_mel(whole), MEL_BANDS)


EMBEDDINGS: dict[str, Callable[[Float32Array], Float32Array]] = {"latents": _latents, "log-mel": _log_mel}


def run(context: Context) -> Results:
    """Every labelled recording looks for the others of its class."""
    if importlib.util.find_spec("sklearn") is None:
        raise StreamcodecError(
            "retrieval needs scikit-learn: run 'pip install \"streamcodec[search]\"' and try again"
        )
    dataset, recordings = recognise(context.material.folder)
    described = [with_derived_labels(recording) for recording in recordings]
    rows: list[tuple[Cell, ...]] = []
    for label in (SPEAKER, *(each for each in LABELS_BY_DATASET[dataset.name] if each != "folder")):
        if label == SPEAKER:
            chosen = _of_speakers(described)
        else:
            chosen = choose(described, label, context.scale.train_files, context.seed)
        if chosen:
            found = context.once(f"{label}-found", functools.partial(_search_all, context, label, chosen))
            rows += [tuple(row) for row in found]
    if not rows:
        raise StreamcodecError(
            f"{context.material.folder} has no labels to search by: retrieval needs recordings of the same speaker "
            "or class, by manifest.csv or a known dataset's own lists"
        )
    note = (
        f"The first {HEARD_S:g} s of each recording. Nearest: share of recordings whose nearest other one is of "
        "their class. Recordings of the same source as the query cannot be found; where speakers are looked for, all "
        "are of one dataset and only the recording itself cannot."
    )
    columns = (
        "question and features",
        "nearest %",
        "mean average precision %",
        "guessing %",
        "classes",
        "recordings",
    )
    return Results([Table("Retrieval", columns, tuple(rows), note)], notes=[_NOTE])


def _of_speakers(recordings: Sequence[Recording]) -> list[Recording]:
    """Recordings of the dataset with most speakers that have several."""
    by_source: dict[str, dict[str, list[Recording]]] = defaultdict(lambda: defaultdict(list))
    for each in recordings:
        if each.labels.get("kind") == "speech" and SPEAKER in each.labels:
            by_source[each.labels.get("source", "")][each.labels[SPEAKER]].append(each)
    several = [
        [members[:OF_EACH] for _, members in sorted(speakers.items()) if len(members) > 1]
        for _, speakers in sorted(by_source.items())
    ]
    most = max(several, key=len, default=[])
    return [each for members in most[:SPEAKERS] for each in members] if len(most) > 1 else []


def _search_all(context: Context, label: str, recordings: Sequence[Recording]) -> list[list[Any]]:
    load = Preprocessing(SAMPLE_RATE_HZ).load
    vectors: dict[str, list[Float32Array]] = {name: [] for name in EMBEDDINGS}
    for recording in context.track(recordings, f"listening, {label}", len(recordings)):
        samples = load(recording.path)[: round(HEARD_S * SAMPLE_RATE_HZ)]
        for name, embed in EMBEDDINGS.items():
            vectors[name].append(embed(samples))
    classes = [recording.labels[label] for recording in recordings]
    groups = [str(r.path) if label == SPEAKER else r.group for r in recordings]
    counts = [len(set(classes)), len(recordings)]
    return [
        [f"{label}, {name}", *retrieval_scores(np.stack(each), classes, groups), *counts]
        for name, each in vectors.items()
    ]


def retrieval_scores(
    vectors: Float32Array, classes: Sequence[str], groups: Sequence[str]
) -> tuple[float, float, float]:
    """Nearest, mean average precision and what guessing gives, in %, over queries with anything to find.

    Shape: ``[recordings, dims]``; a query finds nothing of its own group.
    """
    from sklearn.metrics import average_precision_score
    from sklearn.metrics.pairwise import cosine_similarity

    alike = cosine_similarity(Whitening.learn(vectors).apply(vectors))
    names, others = np.asarray(classes), np.asarray(groups)
    scores = []
    for k, row in enumerate(alike):
        allowed = others != others[k]
        right = names[allowed] == names[k]
        if right.any():
            near = row[allowed]
            scores.append((right[near.argmax()], average_precision_score(right, near), right.mean()))
    nearest, precision, guessing = (100.0 * np.mean(np.asarray(scores, np.float64), axis=0)).tolist()
    return round(nearest, 1), round(precision, 1), round(guessing, 1)


_NOTE = "Embeddings and whitening as 'streamcodec similar' has them; log-mel has as many frames and bands as latents."
EXPERIMENT = Experiment("retrieval", "Search by likeness: speakers, classes and instruments, against log-mel.", run)
