"""Structural similarity of long-window spectra: do rises and falls of the original recur where they were?"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SIDE, CORNER = 0.0838251475442633, 0.0113033910173052
NEIGHBOURHOOD = ((CORNER, SIDE, CORNER), (SIDE, 1.0 - 4.0 * (SIDE + CORNER), SIDE), (CORNER, SIDE, CORNER))
"""Weights of a band's neighbours in time and frequency."""
REGULARISER = 1e-3
"""Variance (square nepers) under which differences mean nothing."""


def structure_distance(decoded: Tensor, original: Tensor) -> Tensor:
    """1 minus the correlation of log spectra in every neighbourhood of 3 frames x 3 bands.

    The structure term of NSIM (Hines and Harte, "Speech intelligibility prediction using a neurogram similarity index
    measure", 2012), with the neighbourhood's weights as in ViSQOL. Levels and slopes cancel; what remains is whether
    the spectral envelope moves as the original's.

    Shape: two ``[batch, frames, bands]``, natural logarithms of amplitudes -> ``[batch, frames, bands]``.
    """
    x, y = decoded, original
    mean_x, mean_y, xx, yy, xy = _local_means(torch.stack([x, y, x * x, y * y, x * y], dim=1)).unbind(1)
    variance_x = (xx - mean_x * mean_x).clamp_min(0.0) + REGULARISER
    variance_y = (yy - mean_y * mean_y).clamp_min(0.0) + REGULARISER
    covariance = xy - mean_x * mean_y + REGULARISER
    return 1.0 - covariance * (variance_x * variance_y).rsqrt()


def _local_means(maps: Tensor) -> Tensor:
    """Weighted means over each neighbourhood, edges repeated.

    Shape: ``[batch, maps, frames, bands]`` -> the same.
    """
    channels = maps.shape[1]
    kernel = maps.new_tensor(NEIGHBOURHOOD).expand(channels, 1, 3, 3)
    return functional.conv2d(functional.pad(maps, (1, 1, 1, 1), mode="replicate"), kernel, groups=channels)
