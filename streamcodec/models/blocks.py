"""Causal building blocks whose state is an explicit value: ``y, state = block(x, state)``.

The same call serves offline (all frames, zero state) and streaming (one frame, carried state), so parity is by
construction.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from streamcodec.models.fast_gradients import causal_depthwise

FEW_FRAMES = 2
"""Up to here (one frame, when streaming) the number of operations counts, beyond it the bytes they move."""


class CausalBlock(nn.Module):
    """ConvNeXt-style residual block: causal depthwise convolution, then a pointwise MLP.

    After Liu et al., "A ConvNet for the 2020s" (2022) and Siuzdak, "Vocos" (2023), made causal.

    Shape:
        x: ``[batch, frames, dim]``; state: ``[batch, state_frames, dim]``.
        returns y ``[batch, frames, dim]`` and the next state.
    """

    def __init__(self, dim: int, kernel_size: int, dilation: int, expansion: int) -> None:
        super().__init__()
        self.dim = dim
        self.dilation = dilation
        self.state_frames = (kernel_size - 1) * dilation
        self.taps = nn.Parameter(torch.randn(kernel_size, dim) * kernel_size**-0.5)
        self.norm = nn.LayerNorm(dim)
        self.widen = nn.Linear(dim, expansion * dim)
        self.narrow = nn.Linear(expansion * dim, dim)
        self.scale = nn.Parameter(torch.full((dim,), 0.2))

    def initial_state(self, batch: int) -> Tensor:
        """Zero state for ``batch`` streams."""
        return torch.zeros(batch, self.state_frames, self.dim, device=self.taps.device)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        frames = x.shape[1]
        padded = torch.cat([state, x], dim=1)
        y = (
            self._few_frames(padded, frames)
            if frames <= FEW_FRAMES
            else causal_depthwise(padded, self.taps, self.dilation)
        )
        y = self.narrow(nn.functional.gelu(self.widen(self.norm(y)), approximate="tanh"))
        return x + self.scale * y, padded[:, frames:]

    def _few_frames(self, padded: Tensor, frames: int) -> Tensor:
        """The same convolution in three operations instead of three per tap, which is what a step's time goes to."""
        kernel_size = self.taps.shape[0]
        first = torch.arange(frames, device=padded.device)
        index = first[:, None] + self.dilation * torch.arange(kernel_size, device=padded.device)
        windows = padded.index_select(1, index.flatten()).reshape(-1, frames, kernel_size, self.dim)
        return torch.sum(windows * self.taps, dim=2)


class Trunk(nn.Module):
    """A chain of :class:`CausalBlock`; its state is the list of their states."""

    def __init__(self, dim: int, dilations: tuple[int, ...], kernel_size: int, expansion: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(CausalBlock(dim, kernel_size, d, expansion) for d in dilations)

    def initial_state(self, batch: int) -> list[Tensor]:
        """Zero states for ``batch`` streams, one per block."""
        return [block.initial_state(batch) for block in self._typed()]

    def forward(self, x: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        next_state = []
        for block, block_state in zip(self._typed(), state, strict=True):
            x, new = block(x, block_state)
            next_state.append(new)
        return x, next_state

    def _typed(self) -> list[CausalBlock]:
        return [block for block in self.blocks if isinstance(block, CausalBlock)]
