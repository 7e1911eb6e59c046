"""What the frozen codec knows of what it codes: sound classes and genres by simple classifiers, and maps."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np

from streamcodec.errors import StreamcodecError
from streamcodec.research.datasets.catalogue import recognise
from streamcodec.research.experiments.experiment import Cell, Context, Experiment, Picture, Results, Table
from streamcodec.research.experiments.latent_features import FEATURES
from streamcodec.research.experiments.latent_maps import METHODS, draw_confusion, draw_maps, map_points, silhouette
from streamcodec.research.experiments.probe_classifiers import (
    Classifier,
    balanced_accuracy,
    convolutional_probe,
    linear_probe,
)
from streamcodec.research.experiments.probe_data import (
    LABELS_BY_DATASET,
    LabelledCrops,
    choose,
    group_folds,
    make_crops,
    with_derived_labels,
)
from streamcodec.research.experiments.time_domain_latents import NAME as TIME_DOMAIN
from streamcodec.research.experiments.time_domain_latents import time_domain_latents

FOLDS = 4
CNN_SHARE_OF_STEPS = 8 / 15
"""Steps of the convolutional probe, as a share of an ordinary training run's."""
RECORDINGS_FACTOR = 2
"""Recordings of each class at most, as a multiple of an ordinary run's training files of each kind."""


def run(context: Context) -> Results:
    """Ask every question that the labels of the data allow."""
    if importlib.util.find_spec("sklearn") is None:
        raise StreamcodecError("probes need scikit-learn: run 'pip install \"streamcodec[research]\"' and try again")
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        rows: list[tuple[Cell, ...]] = []
        scores: list[tuple[Cell, ...]] = []
        pictures = []
        for crops in _questions(context):
            recognised = context.once(f"{crops.question}-recognised", functools.partial(_recognise, context, crops))
            rows += [tuple(row) for row in recognised["rows"]]
            confusion = {name: np.asarray(counts) for name, counts in recognised["confusion"].items()}
            path = context.folder / f"confusion-{crops.question.replace(' ', '-')}.png"
            draw_confusion(crops.names, confusion, path)
            pictures.append(Picture(path, f"{crops.question}: what the linear probe takes each class for, %"))
            held_out = group_folds(crops, FOLDS, context.seed)[0][1]
            maps = {
                (name, method): map_points(crops, name, method, context.seed, held_out)
                for name in crops.features
                for method in METHODS
            }
            for name in crops.features:
                row: list[Cell] = [f"{crops.question}, {name}"]
                for method in METHODS:
                    points, which = maps[name, method]
                    row.append(silhouette(points, crops.classes[which]))
                scores.append(tuple(row))
            path = context.folder / f"map-{crops.question.replace(' ', '-')}.png"
            draw_maps(crops, maps, path)
            pictures.append(Picture(path, f"{crops.question}: crops of 2 s by pooled features; title: silhouette"))
    return Results(
        [
            Table(
                "Recognition, balanced accuracy in %",
                ("question and features", "linear probe", "small CNN", "guessing", "classes", "crops", "recordings"),
                tuple(rows),
                note="Cross-validated; no source, artist or speaker is both trained and tested on.",
            ),
            Table(
                "Silhouette of the classes on maps",
                ("question and features", *METHODS),
                tuple(scores),
                note="1: apart, 0: touching, below 0: mixed. LDA is fitted to other groups than those that it shows.",
            ),
        ],
        pictures,
        notes=[
            "Latents are those of the shipped codec: before quantisation, and as a decoder gets them at 6 kbps. "
            "Log-mel has as many frames and bands, and goes through the same classifiers. Time-domain latents are "
            "those of a convolutional autoencoder on samples, trained here; the last table says how far.",
        ],
    )


def _questions(context: Context) -> Iterator[LabelledCrops]:
    dataset, recordings = recognise(context.material.folder)
    described = [with_derived_labels(recording) for recording in recordings]
    most = RECORDINGS_FACTOR * context.scale.train_files
    asked = {label: choose(described, label, most, context.seed) for label in LABELS_BY_DATASET[dataset.name]}
    if not any(asked.values()):
        raise StreamcodecError(
            f"{context.material.folder} has no labels to recognise: probes need two classes of 6 recordings from 2 "
            "sources, by folder name, manifest.csv, or a known dataset's own lists"
        )
    functions = {**FEATURES, TIME_DOMAIN: time_domain_latents(context)}
    for label, chosen in asked.items():
        if chosen:
            with context.bar(f"features, {label}") as bar:
                yield make_crops(label, chosen, label, functions, lambda done: bar(done, ""))


def _recognise(context: Context, crops: LabelledCrops) -> dict[str, Any]:
    """Rows of the first table for one question, and the linear probe's confusion for each kind of features."""
    folds = group_folds(crops, FOLDS, context.seed)
    steps = max(2, round(CNN_SHARE_OF_STEPS * context.scale.steps))
    rows: list[list[Any]] = []
    confusion: dict[str, list[list[int]]] = {}
    with context.bar(f"probes, {crops.question}") as bar:
        for number, (name, features) in enumerate(crops.features.items()):
            guesses = np.zeros((2, len(crops.classes)), np.int64)
            for fold, (train, test) in enumerate(folds):
                run_folder = context.folder / "runs" / f"{crops.question}-{name}-{fold}".replace(" ", "-")
                cnn = functools.partial(convolutional_probe, folder=run_folder, steps=steps, seed=context.seed)
                classifiers: tuple[Classifier, ...] = (linear_probe, cnn)
                for k, classify in enumerate(classifiers):
                    guesses[k, test] = classify(features[train], crops.classes[train], features[test])
                bar((number + (fold + 1) / len(folds)) / len(crops.features), name)
            accuracy = [round(100.0 * balanced_accuracy(crops.classes, guess), 2) for guess in guesses]
            counts = [round(100.0 / len(crops.names), 2), len(crops.names), len(crops.classes), crops.recordings]
            rows.append([f"{crops.question}, {name}", *accuracy, *counts])
            taken_for = np.zeros((len(crops.names), len(crops.names)), np.int64)
            np.add.at(taken_for, (crops.classes, guesses[0]), 1)
            confusion[name] = taken_for.tolist()
    return {"rows": rows, "confusion": confusion}


EXPERIMENT = Experiment(
    "probes", "What the frozen latents of the shipped codec know: recognition and maps, against log-mel.", run
)
