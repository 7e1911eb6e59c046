"""What research models are trained on and by: crops, losses, the price of a bit. Their task: ``research_task``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from streamcodec.research.models.base import Reconstruction, ResearchModel
from streamcodec.training.adversarial_task import AdversarialConfig
from streamcodec.training.data import DatasetError
from streamcodec.training.learning_rate import Plateau, Schedule, WarmupCosine
from streamcodec.training.losses import ReconstructionLoss
from streamcodec.training.task import Figures, OptimiserConfig

Float32Array = NDArray[np.float32]
SPECTRAL_TERMS = {"mel": ("mel",), "stft": ("fine", "magnitude", "companded"), "waveform": ("waveform",)}

LOSSES: dict[str, dict[str, float]] = {
    "l1": {"l1": 1.0},
    "mse": {"mse": 1.0},
    "rmse": {"rmse": 1.0},
    "stft": {"stft": 0.3},
    "mel": {"mel": 1.0},
    "l1+mel": {"l1": 0.5, "mel": 0.5},
    "l1+stft": {"l1": 0.5, "stft": 0.15},
}
"""Losses by name, as weights of terms: l1, mse and rmse on standardised features; stft (several resolutions), mel
(several resolutions) and waveform on sound."""
PRICE_REACH = 6.0
"""How far the logarithm of the price of a bit can go over a run, at twice the target rate all the time."""


@dataclass(frozen=True)
class ResearchTraining:
    """Settings of one run."""

    loss: str = "l1"
    target_kbps: float | None = None
    """Rate that the price of a bit is steered to; without one the price stays as it is."""
    first_price: float = 0.01
    """Loss that one kbps is worth once bits have a price."""
    free_share: float = 0.2
    """Share of the run before bits have a price: a network that has learnt nothing saves them by saying nothing."""
    max_steps: int = 400
    batch_segments: int = 4
    segment_s: float = 0.5
    learning_rate: float = 2e-3
    plateau: bool = False
    """Lower the rate to a fifth after three validations without gain (the near-lossless papers), else a cosine."""
    optimiser: OptimiserConfig = dataclasses.field(default_factory=OptimiserConfig)
    adversarial: AdversarialConfig | None = None
    """A discriminator beside the loss, the same that judges the codec; None for the loss alone."""
    seed: int = 1

    def schedule(self) -> Schedule:
        """The learning rate over the run."""
        if self.plateau:
            return Plateau(self.learning_rate, factor=0.2, patience=3)
        return WarmupCosine(self.learning_rate, self.learning_rate / 20.0, warmup_steps=20)


class CropSource:
    """Random crops of sounds held in memory, a function of seed and step alone.

    Shape: sounds ``[T]`` each, batches ``[size, crop_samples]``.
    """

    def __init__(self, sounds: Sequence[Float32Array], crop_samples: int, seed: int) -> None:
        self._sounds = [sound for sound in sounds if sound.size > crop_samples]
        if not self._sounds:
            raise DatasetError(f"no training sound is longer than a crop of {crop_samples} samples; use longer files")
        shares = np.array([sound.size for sound in self._sounds], dtype=np.float64)
        self._cumulative = np.cumsum(shares / shares.sum())
        self._crop = crop_samples
        self._seed = seed

    def batch(self, step: int, size: int) -> Tensor:
        """Crops of one step."""
        rng = np.random.default_rng((self._seed, step))
        rows = []
        for _ in range(size):
            sound = self._sounds[min(int(np.searchsorted(self._cumulative, rng.random())), len(self._sounds) - 1)]
            start = int(rng.integers(0, sound.size - self._crop))
            rows.append(sound[start : start + self._crop])
        return torch.from_numpy(np.stack(rows))


class Distortion(nn.Module):
    """How far a reconstruction is from its original, by one of ``LOSSES``."""

    def __init__(self, name: str, sample_rate_hz: int) -> None:
        super().__init__()
        if name not in LOSSES:
            raise DatasetError(f"there is no loss {name!r}; choose from {', '.join(LOSSES)}")
        self.terms = LOSSES[name]
        self.sample_rate_hz = sample_rate_hz
        self.weights = {name: weight for term, weight in self.terms.items() for name in SPECTRAL_TERMS.get(term, ())}
        self.spectral = ReconstructionLoss(sample_rate_hz) if self.weights else None

    def forward(self, model: ResearchModel, found: Reconstruction) -> Tensor:
        """Mean distance of a batch, a scalar."""
        error = found.features - found.target
        total = error.new_zeros(())
        for term, weight in self.terms.items():
            if term == "l1":
                total = total + weight * error.abs().mean()
            elif term == "mse":
                total = total + weight * error.square().mean()
            elif term == "rmse":
                total = total + weight * (error.square().mean((1, 2, 3)) + 1e-9).sqrt().mean()
        if self.spectral is not None:
            sound = model.invert(found.features, found.original.shape[1], found.original)
            batch = sound.shape[0]
            each = {name: sound.new_full((batch,), value) for name, value in self.weights.items()}
            band_hz = sound.new_full((batch,), self.sample_rate_hz)
            distance, _ = self.spectral(sound, sound, found.original, band_hz, each)
            total = total + distance.mean()
        return total


@dataclass
class PricedPass:
    """One batch through a model, and what it costs."""

    found: Reconstruction
    distortion: Tensor
    price: Tensor
    """Of the rate, and what the bottlenecks add."""
    figures: Figures

    @property
    def loss(self) -> Tensor:
        """What training lowers."""
        return self.distortion + self.price


class PricedModel(nn.Module):
    """A model and the price of its bits, which rises while it spends more than its target and falls while less."""

    def __init__(self, model: ResearchModel, settings: ResearchTraining) -> None:
        super().__init__()
        self.model = model
        self.settings = settings
        self.distortion = Distortion(settings.loss, model.sample_rate_hz)
        self.register_buffer("price", torch.tensor(settings.first_price))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def code(self, samples: Tensor) -> PricedPass:
        """Code a batch ``[B, T]``; in training the price moves with its rate."""
        found: Reconstruction = self.model(samples)
        distortion = self.distortion(self.model, found)
        kbps = found.bits.mean() * (self.model.sample_rate_hz / samples.shape[1] / 1000.0)
        target = self.settings.target_kbps
        price, step = self.get_buffer("price"), self.get_buffer("step")
        priced = int(step) >= self.settings.free_share * self.settings.max_steps
        cost = found.penalty + (price.clone() * kbps if priced else 0.0)
        step.add_(1 if self.training else 0)
        if self.training and priced and target is not None:
            # The factor that the price moves by at one step is bounded: early rates say nothing yet.
            gain = PRICE_REACH / self.settings.max_steps
            price.mul_(torch.exp(gain * (kbps.detach() / target - 1.0).clamp(-1.0, 1.0)))
        return PricedPass(found, distortion, cost, {"distortion": distortion.detach(), "kbps": kbps.detach()})
