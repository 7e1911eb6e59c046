"""What every research model shares: features in, latents through bottlenecks, features and sound out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from streamcodec.research.models.bottlenecks import Bottleneck
from streamcodec.research.models.representations import Representation, RepresentationConfig

Float32Array = NDArray[np.float32]
Int32Array = NDArray[np.int32]


@dataclass
class Reconstruction:
    """One training pass, features standardised.

    Shape: target and features ``[B, C, F, N]``, original ``[B, T]``, bits ``[B]``, penalty scalar.
    """

    target: Tensor
    features: Tensor
    bits: Tensor
    penalty: Tensor
    original: Tensor


class ResearchModel(nn.Module, ABC):
    """An encoder, a bottleneck for each of its latents, and a decoder, on one representation of sound.

    Subclasses give :meth:`encode`, :meth:`decode` and :meth:`positions`. The networks see standardised features:
    zero mean for each row, unit spread over all.
    """

    def __init__(self, representation: RepresentationConfig, bottlenecks: Sequence[Bottleneck]) -> None:
        super().__init__()
        self.representation = Representation(representation)
        self.bottlenecks = nn.ModuleList(bottlenecks)
        c = representation
        self.register_buffer("feature_mean", torch.zeros(c.channels, c.rows, 1))
        self.register_buffer("feature_spread", torch.ones(()))

    @abstractmethod
    def encode(self, features: Tensor) -> list[Tensor]:
        """Latents before their bottlenecks.

        Shape: ``[B, C, F, N]`` -> each ``[B, bottleneck.inputs, P]``.
        """

    @abstractmethod
    def decode(self, latents: list[Tensor], columns: int) -> Tensor:
        """Features of ``columns`` columns.

        Shape: each ``[B, bottleneck.channels, P]`` -> ``[B, C, F, columns]``.
        """

    @abstractmethod
    def positions(self, columns: int) -> list[int]:
        """Positions of each latent for features of ``columns`` columns."""

    def begin(self, features: Tensor) -> None:
        """Set start values, if there are any, from standardised features ``[B, C, F, N]`` of training sound."""
        return

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the sound it codes."""
        return self.representation.config.sample_rate_hz

    @torch.no_grad()
    def calibrate(self, samples: Tensor) -> None:
        """Take the mean and spread of features, and the bottlenecks' start, from some training sound.

        Shape: ``[B, T]``.
        """
        features = self.representation.analyse(samples)
        mean = features.mean((0, 3))[..., None]
        if self.representation.config.kind == "waveform":
            mean = torch.zeros_like(mean)
        self.get_buffer("feature_mean").copy_(mean)
        self.get_buffer("feature_spread").copy_((features - mean).square().mean().sqrt().clamp_min(1e-6))
        standardised = self.analyse(samples)
        self.begin(standardised)
        for bottleneck, latent in zip(self.bottlenecks, self.encode(standardised), strict=True):
            _bottleneck(bottleneck).calibrate(latent)

    def analyse(self, samples: Tensor) -> Tensor:
        """Standardised features: ``[B, T]`` -> ``[B, C, F, N]``."""
        raw = self.representation.analyse(samples)
        return (raw - self.get_buffer("feature_mean")) / self.get_buffer("feature_spread")

    def invert(self, features: Tensor, samples: int, original: Tensor | None = None) -> Tensor:
        """Sound from standardised features, see :meth:`Representation.invert`."""
        raw = features * self.get_buffer("feature_spread") + self.get_buffer("feature_mean")
        return self.representation.invert(raw, samples, original)

    def forward(self, samples: Tensor) -> Reconstruction:
        """One training pass over whole sounds ``[B, T]``."""
        target = self.analyse(samples)
        return Reconstruction(target, *self.through(target), samples)

    def through(self, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Standardised features through encoder, bottlenecks and decoder: features, bits, penalty.

        Shape: ``[B, C, F, N]`` -> the same, ``[B]``, scalar.
        """
        bits, penalty, values = target.new_zeros(target.shape[0]), target.new_zeros(()), []
        for bottleneck, latent in zip(self.bottlenecks, self.encode(target), strict=True):
            quantised = bottleneck(latent)
            bits, penalty = bits + quantised.bits, penalty + quantised.penalty
            values.append(quantised.values)
        return self.decode(values, target.shape[-1]), bits, penalty

    @torch.no_grad()
    def unquantised(self, target: Tensor) -> Tensor:
        """Features from latents as they are before anything is rounded: what papers that count latents report.

        Shape: ``[B, C, F, N]`` -> the same.
        """
        latents = zip(self.bottlenecks, self.encode(target), strict=True)
        return self.decode([_bottleneck(b).centre(latent) for b, latent in latents], target.shape[-1])

    @torch.no_grad()
    def indices(self, samples: Float32Array) -> list[Int32Array]:
        """Whole numbers of one sound: ``[T]`` -> each ``[rows, P]``."""
        device = self.get_buffer("feature_mean").device
        features = self.analyse(_tensor(samples, device))
        latents = self.encode(features)
        return [
            _bottleneck(b).indices(latent)[0].cpu().numpy()
            for b, latent in zip(self.bottlenecks, latents, strict=True)
        ]

    @torch.no_grad()
    def features(self, indices: Sequence[Int32Array], samples: int) -> Tensor:
        """Standardised features that the decoder makes of whole numbers.

        Shape: each ``[rows, P]`` -> ``[1, C, F, N]``.
        """
        device = self.get_buffer("feature_mean").device
        values = [
            _bottleneck(b).values(_tensor(each, device)) for b, each in zip(self.bottlenecks, indices, strict=True)
        ]
        return self.decode(values, self.representation.columns(samples))

    @torch.no_grad()
    def sound(
        self, indices: Sequence[Int32Array], samples: int, original: Float32Array | None = None
    ) -> Float32Array:
        """Sound from whole numbers; ``original`` lends its phase where the representation has none of its own.

        Shape: each ``[rows, P]`` -> ``[samples]``.
        """
        features = self.features(indices, samples)
        lent = None if original is None else _tensor(original, features.device)
        decoded = self.invert(features, samples, lent)[0]
        return np.asarray(decoded.cpu().numpy(), np.float32)

    def rows(self) -> list[int]:
        """Whole numbers per position of each latent."""
        return [_bottleneck(b).rows for b in self.bottlenecks]


def _bottleneck(module: nn.Module) -> Bottleneck:
    assert isinstance(module, Bottleneck)
    return module


def _tensor(values: NDArray[Any], device: torch.device) -> Tensor:
    """A batch of one, in order of its axes: matrix products round differently in another layout."""
    return torch.from_numpy(np.ascontiguousarray(values))[None].to(device)


def pad_columns(features: Tensor, multiple: int) -> Tensor:
    """Zero columns at the end, up to a multiple: ``[..., N]`` -> ``[..., N']``."""
    return nn.functional.pad(features, (0, -features.shape[-1] % multiple))
