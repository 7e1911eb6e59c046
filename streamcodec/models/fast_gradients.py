"""Operations whose automatic backward pass wastes most of a training step, with one written by hand.

Forward values are those of the plain torch operations; tests compare gradients with theirs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _RealFft(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, frames: Tensor) -> tuple[Tensor, Tensor]:
        ctx.length = frames.shape[-1]
        spectra = torch.fft.rfft(frames)
        return spectra.real, spectra.imag

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # The adjoint of a real transform is a half-spectrum inverse one, not the full complex one autograd takes.
        spectra = torch.complex(*gradients) * (0.5 * ctx.length)
        spectra[..., 0] *= 2.0
        spectra[..., -1] *= 2.0
        gradient: Tensor = torch.fft.irfft(spectra, n=ctx.length)
        return gradient


def real_fft(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary parts of the transform of frames of even length.

    Shape: ``[..., length]`` -> two of ``[..., length // 2 + 1]``.
    """
    real, imag = _RealFft.apply(frames)  # type: ignore[no-untyped-call]
    return real, imag


class _CausalDepthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, padded: Tensor, taps: Tensor, dilation: int) -> Tensor:
        ctx.save_for_backward(padded, taps)
        ctx.dilation = dilation
        frames = padded.shape[1] - (taps.shape[0] - 1) * dilation
        out: Tensor = padded[:, :frames] * taps[0]
        for k in range(1, taps.shape[0]):
            out.addcmul_(padded[:, k * dilation : k * dilation + frames], taps[k])
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (gradient,) = gradients
        padded, taps = ctx.saved_tensors
        frames = gradient.shape[1]
        for_padded = torch.zeros_like(padded)
        for_taps = torch.empty_like(taps)
        for k in range(taps.shape[0]):
            window = slice(k * ctx.dilation, k * ctx.dilation + frames)
            for_padded[:, window].addcmul_(gradient, taps[k])
            for_taps[k] = (gradient * padded[:, window]).sum((0, 1))
        return for_padded, for_taps, None


def causal_depthwise(padded: Tensor, taps: Tensor, dilation: int) -> Tensor:
    """Depthwise convolution over frames, each output from its frame and those before.

    Shape: padded ``[batch, (kernel_size - 1) * dilation + frames, dim]``, taps ``[kernel_size, dim]`` ->
    ``[batch, frames, dim]``.
    """
    out: Tensor = _CausalDepthwise.apply(padded, taps, dilation)  # type: ignore[no-untyped-call]
    return out
