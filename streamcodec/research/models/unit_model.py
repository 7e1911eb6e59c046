"""Models that code single spectra, or single blocks of samples, each by itself."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from streamcodec.research.models.base import ResearchModel, pad_columns


class UnitModel(ResearchModel):
    """A model that sees one unit at a time: ``unit_columns`` columns of features."""

    @property
    @abstractmethod
    def unit_columns(self) -> int:
        """Columns of a unit."""

    @abstractmethod
    def receiver(self) -> Sequence[nn.Module]:
        """The networks that a decoder needs."""

    @torch.no_grad()
    def units(self, samples: Tensor) -> Tensor:
        """Standardised features of sounds, unit by unit; silence fills up the last of each sound.

        Shape: ``[B, T]`` -> ``[B * units, C, F, unit_columns]``.
        """
        features = pad_columns(self.analyse(samples), self.unit_columns)
        apart = torch.unflatten(features, 3, (-1, self.unit_columns))
        return apart.permute(0, 3, 1, 2, 4).flatten(0, 1).contiguous()

    def joined(self, units: Tensor, sounds: int) -> Tensor:
        """Inverse of :meth:`units`, on features.

        Shape: ``[B * units, C, F, unit_columns]`` -> ``[B, C, F, N]``.
        """
        return torch.unflatten(units, 0, (sounds, -1)).permute(0, 2, 3, 1, 4).flatten(3)
