"""How well the bands of a voice repeat after its pitch period: a distribution that decoded sound is to have, too."""

from __future__ import annotations

import torch
from torch import Tensor, nn

BANDS_HZ = ((100.0, 1_000.0), (1_000.0, 2_000.0), (2_000.0, 4_000.0), (4_000.0, 7_000.0))
BAND_WEIGHTS = (0.5, 1.0, 1.5, 0.75)
FFT, HOP = 1024, 480
LEAST_VOICING = 0.4
FLOOR, FLOOR_SHARE = 0.02, 1e-4
"""Power beside which a band must stand out: of windows near digital silence, and as a share of the window's own."""


class HarmonicityDistance(nn.Module):
    """Energy distance of normalised autocorrelations at the original's pitch lag, band by band.

    The autocorrelation of a window is read off its power spectrum (Wiener and Khinchin), a band's off its bins.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(FFT), persistent=False)
        bins_hz = torch.arange(FFT // 2 + 1) * (sample_rate_hz / FFT)
        bands = torch.stack([((bins_hz >= low) & (bins_hz < high)).float() for low, high in BANDS_HZ])
        self.register_buffer("bands", bands, persistent=False)
        self.register_buffer("weights", torch.tensor(BAND_WEIGHTS), persistent=False)
        self.register_buffer("tops_hz", torch.tensor([high for _, high in BANDS_HZ]), persistent=False)

    def repeats(self, samples: Tensor, lags: Tensor) -> Tensor:
        """Normalised autocorrelation of each window and band at a lag.

        Shape: samples ``[batch, samples]``, lags in samples ``[batch, windows]`` -> ``[batch, windows, bands]``.
        """
        frames = samples.unfold(-1, FFT, HOP) * self.get_buffer("window")
        spectra = torch.fft.rfft(frames)
        power = spectra.real**2 + spectra.imag**2
        k = torch.arange(FFT // 2 + 1, device=samples.device)
        turned = torch.cos((2.0 * torch.pi / FFT) * k * lags[..., None])
        bands: Tensor = self.get_buffer("bands")
        floor = FLOOR + FLOOR_SHARE * power.sum(-1, keepdim=True)
        correlation: Tensor = ((power * turned) @ bands.T) / (power @ bands.T + floor)
        return correlation

    def forward(
        self, draws: tuple[Tensor, Tensor], original: Tensor, lags: Tensor, voicing: Tensor, bandwidth_hz: Tensor
    ) -> Tensor:
        """Distance over voiced windows, a scalar; 0 where there are none.

        Shape: draws and original ``[batch, samples]``, lags and voicing ``[batch, hops]`` of 10 ms,
        ``bandwidth_hz`` ``[batch]``.
        """
        windows = (original.shape[1] - FFT) // HOP + 1
        # The hop in the middle of a window.
        centres = (torch.arange(windows, device=lags.device) * HOP + FFT // 2) // (HOP // 2)
        centres = centres.clamp_max(lags.shape[1] - 1)
        lag, voiced = lags[:, centres], (voicing[:, centres] > LEAST_VOICING).float()
        wanted = self.repeats(original, lag)
        first, second = (self.repeats(each, lag) for each in draws)
        distance = 0.5 * ((first - wanted).abs() + (second - wanted).abs() - (first - second).abs())
        inside = (self.get_buffer("tops_hz") * 0.95 < bandwidth_hz[:, None]).float() * self.get_buffer("weights")
        weight = voiced[..., None] * inside[:, None]
        return (distance * weight).sum() / weight.sum().clamp_min(1.0)
