"""The same causal block serves whole signals and single frames."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from streamcodec.models.blocks import FEW_FRAMES, CausalBlock  # noqa: E402


@pytest.mark.parametrize("dilation", [1, 2, 4])
@pytest.mark.parametrize("frames", [1, FEW_FRAMES, FEW_FRAMES + 1])
def test_stepping_equals_one_long_call(dilation: int, frames: int) -> None:
    torch.manual_seed(dilation)
    block = CausalBlock(dim=8, kernel_size=5, dilation=dilation, expansion=2)
    x = torch.randn(2, 4 * frames * FEW_FRAMES + 4 * frames, 8)
    with torch.no_grad():
        whole, _ = block(x, block.initial_state(2))
        state = block.initial_state(2)
        steps = []
        for part in x.split(frames, dim=1):
            y, state = block(part, state)
            steps.append(y)
    torch.testing.assert_close(torch.cat(steps, dim=1), whole, rtol=1e-5, atol=1e-6)
