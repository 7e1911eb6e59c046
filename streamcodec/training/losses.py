"""Reconstruction losses: log-mel distance at several resolutions, companded spectra, waveform."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from streamcodec.models.spectrum import mel_matrix

MEL_RESOLUTIONS = ((2048, 96), (1024, 80), (512, 48), (256, 24))
LOG_FLOOR = 3e-4


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term, one value per segment.

    Shape: four tensors ``[batch]``.
    """

    mel: Tensor
    companded: Tensor
    magnitude: Tensor
    waveform: Tensor


EARLY = (3.0, 1.0, 1.0, 0.6)
LATE_COARSE = (9.0, 0.7, 0.7, 0.0)
LATE_FINE = (6.0, 2.0, 0.7, 0.4)


def loss_weights(fineness: Tensor, progress: float) -> LossWeights:
    """Waveform-led weights until the linear path has taken hold, then weights by rate level.

    Few bits cannot describe a waveform, so coarse levels end on the spectral envelope alone; fine levels keep
    being asked for phase.

    Shape: fineness ``[batch]``, 0 at the coarsest level and 1 at the finest.
    """
    late_share = min(max((progress - 0.15) / 0.35, 0.0), 1.0)
    terms = []
    for early, coarse, fine in zip(EARLY, LATE_COARSE, LATE_FINE, strict=True):
        late = coarse + (fine - coarse) * fineness
        terms.append(early + (late - early) * late_share)
    return LossWeights(*terms)


class ReconstructionLoss(nn.Module):
    """Weighted distances between decoded and original sound, ignoring bands the original cannot vouch for."""

    def __init__(self, sample_rate_hz: int) -> None:
        super().__init__()
        self.sample_rate_hz = sample_rate_hz
        for fft, bands in MEL_RESOLUTIONS:
            mel = mel_matrix(sample_rate_hz, fft, bands)
            centres_hz = torch.from_numpy(mel).argmax(dim=1) * (sample_rate_hz / fft)
            self.register_buffer(f"mel{fft}", torch.from_numpy(mel / mel.sum(1, keepdims=True)).T.contiguous())
            self.register_buffer(f"centres{fft}", centres_hz)
            self.register_buffer(f"window{fft}", torch.hann_window(fft) * (8.0 / fft) ** 0.5)

    def forward(
        self, decoded: Tensor, original: Tensor, bandwidth_hz: Tensor, weights: LossWeights
    ) -> tuple[Tensor, dict[str, float]]:
        """Distance per segment.

        Shape: two ``[batch, samples]`` and ``[batch]`` -> ``[batch]``.
        """
        total = torch.zeros(decoded.shape[0], device=decoded.device)
        log_mel = torch.zeros_like(total)
        companded = torch.zeros_like(total)
        magnitude = torch.zeros_like(total)
        both = torch.cat([decoded, original])
        for fft, _ in MEL_RESOLUTIONS:
            window: Tensor = self.get_buffer(f"window{fft}")
            spectra = torch.stft(both, fft, fft // 4, window=window, center=False, return_complex=True)
            spectra = spectra.transpose(1, 2)
            power = spectra.real**2 + spectra.imag**2
            mel = 0.5 * torch.log(power @ self.get_buffer(f"mel{fft}") + LOG_FLOOR**2)
            ours, theirs = mel.chunk(2)
            trusted = (self.get_buffer(f"centres{fft}") < 0.95 * bandwidth_hz[:, None]).float()
            error = (ours - theirs).abs().mean(1) * trusted
            log_mel = log_mel + error.sum(-1) / trusted.sum(-1)
            if fft in (512, 1024):
                gain = (power + 1e-7) ** -0.25
                bins_hz = torch.arange(fft // 2 + 1, device=both.device) * (self.sample_rate_hz / fft)
                inside = (bins_hz < 0.95 * bandwidth_hz[:, None]).float()
                re, im = spectra.real * gain, spectra.imag * gain
                distance = (re.chunk(2)[0] - re.chunk(2)[1]).abs() + (im.chunk(2)[0] - im.chunk(2)[1]).abs()
                mags = (power + 1e-7) ** 0.25
                level = (mags.chunk(2)[1] ** 2).mean((1, 2)).sqrt() + 0.02
                companded = companded + ((distance.mean(1) * inside).sum(-1) / inside.sum(-1)) / level
                mag_error = (mags.chunk(2)[0] - mags.chunk(2)[1]).abs().mean(1) * inside
                magnitude = magnitude + mag_error.sum(-1) / inside.sum(-1) / level
        scale = original.abs().mean(-1) + 0.003
        waveform = (decoded - original).abs().mean(-1) / scale
        log_mel = log_mel / len(MEL_RESOLUTIONS)
        total = (
            weights.mel * log_mel
            + weights.companded * companded
            + weights.magnitude * magnitude
            + weights.waveform * waveform
        )
        parts = {
            "mel": float(log_mel.detach().mean()),
            "companded": float(companded.detach().mean()),
            "magnitude": float(magnitude.detach().mean()),
            "waveform": float(waveform.detach().mean()),
        }
        return total, parts
