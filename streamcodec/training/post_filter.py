"""The pitch filter inside the training pass: losses hear what listeners will."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from native_dsp.filters.pitch_filter import filter_pitch, make_pitch_filter
from streamcodec.training.schedule import QualityCurve, by_quality

PITCH_STRENGTHS: QualityCurve = ((0.0, 4.0), (0.2, 4.0), (0.27, 1.4), (0.33, 1.2), (0.45, 0.7), (1.0, 0.6))
"""Strength of the pitch filter after the decoder by fineness."""


def as_played(draw: Tensor, quality_index: Tensor, qualities: int, sample_rate_hz: int) -> Tensor:
    """Decoded sound as it leaves the pitch filter.

    Gradients pass as if nothing had been filtered, which is right for what repeats: the filter leaves that alone.

    Shape: draw ``[batch, packets * packet]``, quality_index ``[batch, packets]`` -> as draw.
    """
    strengths = by_quality(PITCH_STRENGTHS, qualities)[quality_index.cpu().numpy()]
    rows, packets = strengths.shape
    heard = np.array(draw.detach().float().cpu().numpy().reshape(rows, packets, -1), np.float32)
    frame_samples = heard.shape[2]
    for row in range(rows):
        state = make_pitch_filter(sample_rate_hz, frame_samples)
        for k in range(packets):
            state.ahead[:] = heard[row, k + 1, : state.ahead.size] if k + 1 < packets else 0.0
            filter_pitch(state, strengths[row, k], heard[row, k])
    filtered = torch.from_numpy(heard.reshape(draw.shape)).to(draw)
    return draw + (filtered - draw).detach()
