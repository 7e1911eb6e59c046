"""Reconstruction losses: log-mel and log spectra at several resolutions, companded spectra, waveform."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from streamcodec.models.spectrum import mel_matrix

MEL_RESOLUTIONS = ((2048, 96), (1024, 80), (512, 48), (256, 24))
FINE_RESOLUTIONS = (2048, 1024, 512)
COMPANDED_RESOLUTIONS = (1024, 512)
LOG_FLOOR = 3e-4


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term, one value per segment.

    Shape: five tensors ``[batch]``.
    """

    mel: Tensor
    fine: Tensor
    companded: Tensor
    magnitude: Tensor
    waveform: Tensor


TERMS = ("mel", "fine", "companded", "magnitude", "waveform")
EARLY = (3.0, 1.0, 1.0, 1.0, 0.6)
LATE_COARSE = (8.0, 3.0, 1.0, 0.7, 0.0)
LATE_FINE = (5.0, 2.0, 3.0, 1.0, 0.4)


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
    """Energy distance between decoded and original sound over several spectral and waveform distances.

    With two draws y, y' of the decoder's noise, ``d(x, y)/2 + d(x, y')/2 - d(y, y')/2`` is least when draws and
    original have the same distribution, so the decoder neither averages nor invents tones (Gritsenko et al., "A
    spectral energy distance for parallel speech synthesis", 2020). Bands that the original cannot vouch for
    (``bandwidth_hz``) are ignored.
    """

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
        self, first: Tensor, second: Tensor, original: Tensor, bandwidth_hz: Tensor, weights: LossWeights
    ) -> tuple[Tensor, dict[str, float]]:
        """Distance per segment, and the mean of each term for the log.

        Shape: three ``[batch, samples]`` and ``[batch]`` -> ``[batch]``.
        """
        every = torch.cat([first, second, original])
        terms = {name: torch.zeros(first.shape[0], device=first.device) for name in TERMS}
        for fft, _ in MEL_RESOLUTIONS:
            window: Tensor = self.get_buffer(f"window{fft}")
            spectra = torch.stft(every, fft, fft // 4, window=window, center=False, return_complex=True)
            spectra = spectra.transpose(1, 2)
            power = spectra.real**2 + spectra.imag**2
            mel = 0.5 * torch.log(power @ self.get_buffer(f"mel{fft}") + LOG_FLOOR**2)
            trusted = (self.get_buffer(f"centres{fft}") < 0.95 * bandwidth_hz[:, None]).float()
            terms["mel"] = terms["mel"] + _energy_distance(mel, trusted) / len(MEL_RESOLUTIONS)
            bins_hz = torch.arange(fft // 2 + 1, device=every.device) * (self.sample_rate_hz / fft)
            inside = (bins_hz < 0.95 * bandwidth_hz[:, None]).float()
            if fft in FINE_RESOLUTIONS:
                fine = 0.5 * torch.log(power + LOG_FLOOR**2)
                terms["fine"] = terms["fine"] + _energy_distance(fine, inside) / len(FINE_RESOLUTIONS)
            if fft in COMPANDED_RESOLUTIONS:
                root = (power + 1e-7) ** 0.25
                level = (root.chunk(3)[2] ** 2).mean((1, 2)).sqrt() + 0.02
                gain = 1.0 / root
                distance = _energy_distance(spectra.real * gain, inside) + _energy_distance(
                    spectra.imag * gain, inside
                )
                terms["companded"] = terms["companded"] + distance / level
                terms["magnitude"] = terms["magnitude"] + _energy_distance(root, inside) / level
        whole = torch.ones(first.shape[0], 1, device=first.device)
        scale = original.abs().mean(-1) + 0.003
        terms["waveform"] = _energy_distance(every[..., None], whole) / scale
        total = torch.zeros(first.shape[0], device=first.device)
        for name, term in terms.items():
            total = total + getattr(weights, name) * term
        return total, {name: float(term.detach().mean()) for name, term in terms.items()}


def _energy_distance(values: Tensor, trusted: Tensor) -> Tensor:
    """Energy distance (up to the original's own term) of absolute differences.

    Shape: values ``[3 * batch, frames, bands]`` (first draw, second draw, original), trusted ``[batch, bands]`` ->
    ``[batch]``.
    """
    first, second, original = values.chunk(3)
    distance = (first - original).abs() + (second - original).abs() - (first - second).abs()
    return 0.5 * (distance.mean(1) * trusted).sum(-1) / trusted.sum(-1)
