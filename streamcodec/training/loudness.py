"""How loud a difference is: added and missing loudness of each critical band, as listeners would count them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from streamcodec.models.spectrum import triangular_filters

BANDS, TOP_HZ = 49, 8_000.0
SPEECH_DB = 79.0
"""Sound pressure level that the loud half of a segment is taken to have."""
QUIET_POWER = 0.1
"""Added to that half's power first, so that near silence is not brought there: that of white noise at -40 dB."""
EXPONENT, SONES = 0.23, 0.187
"""Of Zwicker's law: loudness grows with this power of the sound's, and its scale as P.862 has it, sones per bark."""
UNHEARD_SHARE = 0.25
"""Share of the softer sound's loudness under which a difference is not heard."""
ASYMMETRY_POWER, ASYMMETRY_FLOOR, ASYMMETRY_RANGE = 1.2, 50.0, (3.0, 12.0)
SYMMETRIC, ASYMMETRIC = 0.1, 0.0309
"""Opinion points per unit of disturbance, of all of it and of what was added."""


def bark_of(frequency_hz: float) -> float:
    """Critical-band rate after Traunmueller, "Analytical expressions for the tonotopic sensory scale" (1990)."""
    return 26.81 * frequency_hz / (1_960.0 + frequency_hz) - 0.53


class LoudnessDistance(nn.Module):
    """Opinion points lost to differences of loudness, after the model of ITU-T P.862 (2001), without its alignment.

    Loudness is Zwicker's law over the threshold in quiet (Terhardt's formula). What is added counts more than what is
    missing, since it is heard as a sound of its own: noise between the harmonics of a voice, above all.
    """

    def __init__(self, sample_rate_hz: int, fft_samples: int) -> None:
        super().__init__()
        nyquist_hz = sample_rate_hz / 2
        edges = np.linspace(bark_of(50.0), bark_of(min(TOP_HZ, nyquist_hz)), BANDS + 2)
        self.width_bark = float(edges[-1] - edges[0])
        edges_hz = 1_960.0 * (edges + 0.53) / (26.28 - edges)
        centres_hz = edges_hz[1:-1]
        khz = centres_hz / 1e3
        threshold_db = 3.64 * khz**-0.8 - 6.5 * np.exp(-0.6 * (khz - 3.3) ** 2) + 1e-3 * khz**4
        bands = triangular_filters(edges_hz, sample_rate_hz, fft_samples)
        self.register_buffer("bands", torch.from_numpy(bands.T.copy()))
        self.register_buffer("centres_hz", torch.from_numpy(centres_hz.astype(np.float32)))
        self.register_buffer("threshold", torch.from_numpy((10.0 ** (threshold_db / 10.0)).astype(np.float32)))

    def forward(self, decoded: Tensor, original: Tensor, bandwidth_hz: Tensor) -> Tensor:
        """Opinion points per segment, of each of several decodings of the same originals.

        Shape: power spectra ``[..., batch, frames, bins]`` and ``[batch, frames, bins]``, ``[batch]`` -> ``[...,
        batch]``.
        """
        heard = (self.get_buffer("centres_hz") < 0.95 * bandwidth_hz[:, None]).float()[:, None, :]
        bands: Tensor = self.get_buffer("bands")
        ours, theirs = decoded @ bands, original @ bands
        total = theirs.sum(-1)
        loud = total >= total.median(dim=1, keepdim=True).values
        speech = (total * loud).sum(1) / loud.sum(1)
        scale = 10.0 ** (SPEECH_DB / 10.0) / (speech[:, None, None] + QUIET_POWER)
        ours, theirs = ours * scale, theirs * scale
        found, wanted = self._loudness(ours), self._loudness(theirs)
        apart = torch.relu((found - wanted).abs() - UNHEARD_SHARE * torch.minimum(found, wanted).detach()) * heard
        with torch.no_grad():
            added = ((ours + ASYMMETRY_FLOOR) / (theirs + ASYMMETRY_FLOOR)) ** ASYMMETRY_POWER
            added = torch.where(added < ASYMMETRY_RANGE[0], 0.0, added.clamp_max(ASYMMETRY_RANGE[1]))
        count = heard.sum(-1)
        all_of_it = self.width_bark * ((apart * apart).sum(-1) / count + 1e-6).sqrt()
        what_was_added = self.width_bark * (apart * added).sum(-1) / count
        return (SYMMETRIC * all_of_it + ASYMMETRIC * what_was_added).mean(-1)

    def _loudness(self, power: Tensor) -> Tensor:
        """Sones per bark of powers relative to the threshold of 0 dB.

        Shape: ``[..., bands]``.
        """
        threshold: Tensor = self.get_buffer("threshold")
        ratio = (0.5 + 0.5 * power / threshold) ** EXPONENT - 1.0
        return SONES * (2.0 * threshold) ** EXPONENT * torch.relu(ratio)
