"""Backward passes written by hand give what automatic differentiation gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from streamcodec.models.fast_gradients import causal_depthwise, real_fft


def test_real_fft_and_its_gradient() -> None:
    torch.manual_seed(0)
    frames = torch.randn(3, 5, 64, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 3, 5, 33, dtype=torch.float64)
    plain = torch.fft.rfft(frames)
    real, imag = real_fft(frames)
    torch.testing.assert_close(real, plain.real)
    torch.testing.assert_close(imag, plain.imag)
    (wanted,) = torch.autograd.grad((plain.real * weights[0] + plain.imag * weights[1]).sum(), frames)
    (found,) = torch.autograd.grad((real * weights[0] + imag * weights[1]).sum(), frames)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("dilation", [1, 3])
def test_causal_depthwise_and_its_gradients(dilation: int) -> None:
    torch.manual_seed(0)
    padded = torch.randn(2, 4 * dilation + 7, 6, dtype=torch.float64, requires_grad=True)
    taps = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)

    def plain(x: Tensor, w: Tensor) -> Tensor:
        out = torch.nn.functional.conv1d(x.transpose(1, 2), w.T[:, None], groups=6, dilation=dilation)
        return out.transpose(1, 2)

    torch.testing.assert_close(causal_depthwise(padded, taps, dilation), plain(padded, taps))
    assert torch.autograd.gradcheck(lambda x, w: causal_depthwise(x, w, dilation), (padded, taps))
