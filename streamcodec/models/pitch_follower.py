"""The pitch of decoded low bands, followed hop by hop, and pulses in step with it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from native_dsp.filters.excitation import excite_all, make_excitation
from streamcodec.models.config import NeuralConfig
from streamcodec.models.rows import for_each_row
from streamcodec.models.spectrum import Spectrum

LOW_BAND_HZ = (1_100.0, 1_400.0)
"""Decoded sound up to here says where the pulses of a voice are; nothing above the second."""


class PitchFollower(nn.Module):
    """Pulse spectra, voicing and pitch lags in samples from a complex spectrum, without gradient.

    Shape: ``[batch, hops, bins]`` -> ``[batch, hops, 2 * bins]`` (companded, of unit power on average),
    ``[batch, hops, 1]`` (0 to 1) and ``[batch, hops]``.
    """

    def __init__(self, config: NeuralConfig) -> None:
        super().__init__()
        self.config = config
        bins_hz = torch.arange(config.bins) * (config.sample_rate_hz / config.fft_samples)
        start, end = LOW_BAND_HZ
        self.register_buffer("low", ((end - bins_hz) / (end - start)).clamp(0.0, 1.0), persistent=False)

    @torch.no_grad()
    def forward(self, spectrum: Spectrum, spectra: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        c = self.config
        low = spectrum.synthesise(spectra * self.get_buffer("low")).float()
        batch, hops = spectra.shape[:2]
        sound = low.cpu().numpy().reshape(batch, hops, c.hop_samples)
        pulses = np.zeros((batch, hops, 2 * c.bins), np.float32)
        voicing = np.zeros((batch, hops), np.float32)
        lags = np.zeros((batch, hops), np.float32)
        window = spectrum.get_buffer("analysis_window").cpu().numpy()

        def follow_row(row: int) -> None:
            state = make_excitation(window, c.sample_rate_hz, c.hop_samples)
            excite_all(state, sound[row], pulses[row], voicing[row], lags[row])

        for_each_row(follow_row, batch)
        device = spectra.device
        return (
            torch.from_numpy(pulses).to(device),
            torch.from_numpy(voicing).to(device)[..., None],
            torch.from_numpy(lags).to(device),
        )
