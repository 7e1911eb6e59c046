"""Latents that training leaves as they are, and steps found for them afterwards."""

from __future__ import annotations

import torch
from torch import Tensor

from streamcodec.research.models.base import ResearchModel
from streamcodec.research.models.bottlenecks import Bottleneck, Quantised

LOST_DB = 0.1
"""What rounding may cost."""
SENSITIVITY_UNITS = 512
NUDGE = 0.05
"""Standard deviations that a latent is moved by to see what the decoder makes of it."""
LEAST_SENSITIVITY = 1e-6
"""Of the greatest: a latent that moves less is as good as unused, and must not get an endless step."""
HALVINGS = 24


class LaterBottleneck(Bottleneck):
    """No quantiser while training, as in papers that count latents; :func:`set_steps` gives it one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inputs = self.channels = self.rows = channels
        self.register_buffer("step", torch.ones(channels, 1))

    def calibrate(self, latents: Tensor) -> None:
        return

    def forward(self, latents: Tensor) -> Quantised:
        return Quantised(latents, latents.new_zeros(latents.shape[0]), latents.new_zeros(()))

    def indices(self, latents: Tensor) -> Tensor:
        return torch.round(latents / self.get_buffer("step")).to(torch.int32)

    def values(self, indices: Tensor) -> Tensor:
        return indices * self.get_buffer("step")


@torch.no_grad()
def set_steps(model: ResearchModel, units: Tensor, lost_db: float = LOST_DB) -> None:
    """The coarsest steps with which the units come back at most ``lost_db`` worse than from latents as they are.

    A latent's step is in proportion to how little the decoder's output moves with it, so each adds about as much
    error as every other.

    Shape: standardised features ``[U, C, F, N]``.
    """
    (bottleneck,) = model.bottlenecks
    assert isinstance(bottleneck, LaterBottleneck)
    columns = units.shape[-1]
    some = model.encode(units[:: max(1, len(units) // SENSITIVITY_UNITS)])[0]
    still = model.decode([some], columns)
    sensitivity = []
    for k in range(bottleneck.channels):
        nudge = NUDGE * some[:, k].std().clamp_min(1e-6)
        moved = some.clone()
        moved[:, k] += nudge
        sensitivity.append((model.decode([moved], columns) - still).square().mean() / nudge**2)
    gain = torch.stack(sensitivity)
    shape = gain.clamp_min(LEAST_SENSITIVITY * gain.max()).rsqrt()[:, None]
    latents = model.encode(units)[0]
    allowed = (model.decode([latents], columns) - units).square().mean() * 10.0 ** (lost_db / 10.0)
    low, high = -24.0, 24.0
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        bottleneck.get_buffer("step").copy_(shape * 2.0**middle)
        rounded = bottleneck.values(bottleneck.indices(latents))
        fits = (model.decode([rounded], columns) - units).square().mean() <= allowed
        low, high = (middle, high) if fits else (low, middle)
    bottleneck.get_buffer("step").copy_(shape * 2.0**low)
