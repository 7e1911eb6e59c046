"""Keeps each loss's pull on what a network gives out at a stated share, whatever the scale of the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from streamcodec.training.distributed import DistributedGroup

REFERENCE = "reference"


@dataclass
class Balancer:
    """Gradients of several losses at a network's outputs, rescaled to shares of the first one's.

    Défossez et al., "High Fidelity Neural Audio Compression" (2022), section 3.4, rescale each gradient to a share
    of a fixed norm, divided by a moving average of its own norm. Here the reference is the reconstruction loss's own
    averaged norm, and its gradient is left as it is, so that its exchange rate with the price of bits stays too.
    """

    shares: Mapping[str, float]
    """Norm of each other loss's gradient, as a multiple of the reference's."""
    decay: float = 0.99
    distributed: DistributedGroup = field(default_factory=DistributedGroup)
    norms: dict[str, float] = field(default_factory=dict)
    """Moving averages of the gradients' norms, up to a common factor; the balancer's whole state."""

    def combine(
        self, reference: Tensor, others: Mapping[str, Tensor], outputs: Sequence[Tensor], ramp: float
    ) -> Tensor:
        """A scalar whose gradient at ``outputs`` is the balanced one; its own value means nothing.

        ``ramp`` from 0 to 1 scales all shares.
        """
        gradients = {name: _at(outputs, loss) for name, loss in {REFERENCE: reference, **others}.items()}
        self._follow(gradients)
        combined = gradients[REFERENCE]
        for name in others:
            scale = ramp * self.shares[name] * self.norms[REFERENCE] / max(self.norms[name], 1e-12)
            combined = [c + scale * g for c, g in zip(combined, gradients[name], strict=True)]
        return torch.stack([(out * c).sum() for out, c in zip(outputs, combined, strict=True)]).sum()

    def _follow(self, gradients: Mapping[str, list[Tensor]]) -> None:
        """Update the averages: one message between processes and one wait for the device for all norms."""
        measured = torch.stack([torch.cat([part.flatten() for part in parts]).norm() for parts in gradients.values()])
        self.distributed.average(measured)
        for name, norm in zip(gradients, measured.tolist(), strict=True):
            if math.isfinite(norm):
                self.norms[name] = self.decay * self.norms.get(name, 0.0) + (1.0 - self.decay) * norm


def _at(outputs: Sequence[Tensor], loss: Tensor) -> list[Tensor]:
    found = torch.autograd.grad(loss, outputs, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(out) if g is None else g for out, g in zip(outputs, found, strict=True)]
