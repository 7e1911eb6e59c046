"""The two classifiers of the probes; both see features alone, the codec that made them stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from streamcodec.features.probe import LinearProbe
from streamcodec.research.models.probe import ProbeNet
from streamcodec.training.function_task import FunctionTask
from streamcodec.training.learning_rate import WarmupCosine
from streamcodec.training.loop import RunLimits, TrainingLoop
from streamcodec.training.task import Figures, OptimiserConfig

Features = NDArray[np.float32]
Labels = NDArray[np.int64]
BATCH = 32


def linear_probe(features: Features, classes: Labels, test: Features) -> Labels:
    """:class:`LinearProbe` from class numbers to class numbers.

    Shape: ``[crops, frames, dim]``, ``[crops]``, ``[tests, frames, dim]`` -> ``[tests]``.
    """
    width = len(str(int(classes.max())))
    probe = LinearProbe.fit(list(features), [f"{k:0{width}}" for k in classes])
    return np.array([int(name) for name in probe.predict(list(test))], np.int64)


def convolutional_probe(
    features: Features, classes: Labels, test: Features, folder: Path, steps: int, seed: int
) -> Labels:
    """:class:`ProbeNet` trained on standardised features, batches with all classes alike; ``folder`` is its run.

    Shape: ``[crops, frames, dim]``, ``[crops]``, ``[tests, frames, dim]`` -> ``[tests]``.
    """
    count = int(classes.max()) + 1
    mean, deviation = features.mean((0, 1)), features.std((0, 1)) + 1e-5
    inputs = torch.from_numpy((features - mean) / deviation)
    members = [np.flatnonzero(classes == k) for k in range(count)]

    def batches(step: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng((seed, step))
        chosen = rng.integers(count, size=BATCH)
        rows = [int(rng.choice(members[k])) for k in chosen]
        return inputs[rows], torch.from_numpy(chosen)

    def loss(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Figures]:
        return nn.functional.cross_entropy(network(batch[0]), batch[1], label_smoothing=0.1), {}

    torch.manual_seed(seed)
    network = ProbeNet(features.shape[-1], count)
    schedule = WarmupCosine(2e-3, 1e-5, 10)
    task = FunctionTask(
        network, loss, batches, schedule, optimiser=OptimiserConfig(weight_decay=0.05), average_decay=0.98
    )
    training = TrainingLoop(task, folder, seed)
    training.run(RunLimits(max_steps=steps))
    with training.averaged(), torch.no_grad():
        scores = network(torch.from_numpy((test - mean) / deviation))
    return np.asarray(scores.argmax(-1), np.int64)


def balanced_accuracy(truth: Labels, guess: Labels) -> float:
    """Mean over classes of the share that was recognised; guessing gives 1 / classes.

    Shape: two ``[crops]``.
    """
    return float(np.mean([np.mean(guess[truth == k] == k) for k in np.unique(truth)]))


Classifier = Callable[[Features, Labels, Features], Labels]
