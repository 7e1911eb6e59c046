"""Training of restorers: pairs of decoded and original segments in, a network that maps one to the other out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from streamcodec.research.models.causal_restoration import CausalRestorer
from streamcodec.research.models.restoration import FeatureExtractor, RestorationNet, restoration_loss
from streamcodec.training.function_task import FunctionTask
from streamcodec.training.learning_rate import Plateau, WarmupCosine
from streamcodec.training.losses import ReconstructionLoss
from streamcodec.training.task import Figures, OptimiserConfig

PairBatch = tuple[Tensor, Tensor, Tensor]
"""Decoded and original segments ``[batch, samples]``, and up to which frequency each original is to be trusted."""
SPECTRAL_WEIGHTS = {"mel": 4.0, "fine": 1.0, "companded": 2.0, "magnitude": 1.0, "waveform": 0.3}
"""Of the reconstruction loss's terms for the causal restorer."""
WARMUP_STEPS = 50


def causal_task(
    restorer: CausalRestorer, batches: Callable[[int], PairBatch], learning_rate: float = 1e-3
) -> FunctionTask:
    """A causal restorer by the codec's own spectral losses, deterministic output in place of two draws."""
    measure = ReconstructionLoss(restorer.config.sample_rate_hz)
    lag = restorer.config.overlap_samples

    def loss(batch: PairBatch) -> tuple[Tensor, Figures]:
        decoded, original, bandwidth_hz = batch
        restored = restorer.restore(decoded)[:, lag:]
        wanted = original[:, : original.shape[1] - lag]
        weights = {term: torch.full((len(decoded),), weight) for term, weight in SPECTRAL_WEIGHTS.items()}
        distance, parts = measure(restored, restored, wanted, bandwidth_hz, weights)
        return distance.mean(), parts

    schedule = WarmupCosine(learning_rate, 0.02 * learning_rate, WARMUP_STEPS)
    return FunctionTask(restorer, loss, batches, schedule, average_decay=0.995, shape=restorer.config.to_json())


def published_task(
    network: RestorationNet,
    batches: Callable[[int], PairBatch],
    learning_rate: float = 1e-4,
    perceptual: float = 0.5,
    held_back: Sequence[PairBatch] = (),
) -> FunctionTask:
    """The published network by its published loss: squared error, and ``perceptual`` times that of two layers of
    features. Adam, the rate halved after five validations on the batches held back without gain."""
    extractor = FeatureExtractor()

    def loss(batch: PairBatch) -> tuple[Tensor, Figures]:
        decoded, original, _ = batch
        return restoration_loss(extractor, network(decoded), original, perceptual), {}

    def validation() -> float:
        return sum(float(loss(batch)[0]) for batch in held_back) / len(held_back)

    return FunctionTask(
        network,
        loss,
        batches,
        Plateau(learning_rate, factor=0.5, patience=5),
        optimiser=OptimiserConfig("adam", (0.9, 0.999), 1e-5),
        validation=validation if held_back else None,
        shape=network.config.to_json(),
    )
