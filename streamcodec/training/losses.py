"""Reconstruction losses: log and companded spectra at several resolutions, waveform, structure of the envelope."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from streamcodec.models.fast_gradients import real_fft
from streamcodec.models.spectrum import mel_density, mel_matrix
from streamcodec.training.structure import structure_distance

MEL_RESOLUTIONS = ((2048, 96), (1024, 80), (512, 48), (256, 24))
FINE_RESOLUTIONS = (2048, 1024, 512)
COMPANDED_RESOLUTIONS = (1024, 512)
STRUCTURE_RESOLUTION, STRUCTURE_BANDS, STRUCTURE_TOP_HZ = 2048, 24, 8_000.0
LOG_FLOOR = 3e-4


@dataclass(frozen=True)
class LossWeights:
    """Weight of each term, one value per segment.

    Shape: six tensors ``[batch]``.
    """

    mel: Tensor
    fine: Tensor
    companded: Tensor
    magnitude: Tensor
    waveform: Tensor
    structure: Tensor


TERMS = ("mel", "fine", "companded", "magnitude", "waveform", "structure")
EARLY = (3.0, 1.0, 1.0, 1.0, 0.6, 0.0)
LATE_COARSE = (8.0, 3.0, 1.0, 0.7, 0.0, 1.0)
LATE_FINE = (5.0, 2.0, 3.0, 1.0, 0.4, 3.0)


def loss_weights(fineness: Tensor, progress: float, late_from: float = 0.5) -> LossWeights:
    """Waveform-led weights until the linear path has taken hold, then weights by rate level.

    Few bits cannot describe a waveform, so coarse levels end on the spectral envelope alone; fine levels keep
    being asked for phase. The late weights hold from progress ``late_from`` on.

    Shape: fineness ``[batch]``, 0 at the coarsest level and 1 at the finest.
    """
    ramp_from = 0.3 * late_from
    late_share = 1.0 if progress >= late_from else max(progress - ramp_from, 0.0) / (late_from - ramp_from)
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
    (``bandwidth_hz``) are ignored. ``repulsion`` below 1 gives the last term less weight: draws a little less noisy
    than the original, which metrics that compare sound with sound (PESQ) prefer. ``by_ear`` weighs single bins as
    bands weigh them, by their share of the mel scale: evenly, less than a tenth of them would lie below 1 kHz.
    """

    def __init__(self, sample_rate_hz: int, repulsion: float = 1.0, by_ear: bool = False) -> None:
        super().__init__()
        self.sample_rate_hz = sample_rate_hz
        self.repulsion = repulsion
        self.by_ear = by_ear
        for fft, bands in MEL_RESOLUTIONS:
            self._add_bands(str(fft), fft, bands, sample_rate_hz / 2)
            self.register_buffer(f"window{fft}", torch.hann_window(fft) * (8.0 / fft) ** 0.5)
        self._add_bands("wide", STRUCTURE_RESOLUTION, STRUCTURE_BANDS, min(STRUCTURE_TOP_HZ, sample_rate_hz / 2))

    def _add_bands(self, name: str, fft: int, bands: int, top_hz: float) -> None:
        """Mel filters that average power, and the frequencies that they stand for."""
        mel = mel_matrix(self.sample_rate_hz, fft, bands, top_hz)
        centres_hz = torch.from_numpy(mel).argmax(dim=1) * (self.sample_rate_hz / fft)
        self.register_buffer(f"mel{name}", torch.from_numpy(mel / mel.sum(1, keepdims=True)).T.contiguous())
        self.register_buffer(f"centres{name}", centres_hz)

    def forward(
        self, first: Tensor, second: Tensor, original: Tensor, bandwidth_hz: Tensor, weights: LossWeights
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Distance per segment, and the mean of each term for the log.

        Shape: three ``[batch, samples]`` and ``[batch]`` -> ``[batch]``.
        """
        draws = torch.cat([first, second])
        terms = {name: torch.zeros(first.shape[0], device=first.device) for name in TERMS}
        for fft, _ in MEL_RESOLUTIONS:
            trusted = (self.get_buffer(f"centres{fft}") < 0.95 * bandwidth_hz[:, None]).float()
            bins_hz = torch.arange(fft // 2 + 1, device=first.device) * (self.sample_rate_hz / fft)
            inside = (bins_hz < 0.95 * bandwidth_hz[:, None]).float()
            if self.by_ear:
                inside = inside * mel_density(bins_hz)
            ours, theirs = self._features(draws, fft), self._features(original, fft)
            if fft == STRUCTURE_RESOLUTION:
                inner = (self.get_buffer("centreswide") < 0.95 * bandwidth_hz[:, None]).float()
                first_apart, second_apart = structure_distance(ours.wide, theirs.wide.repeat(2, 1, 1)).chunk(2)
                terms["structure"] = 0.5 * _mean_of_trusted(first_apart + second_apart, inner)
            terms["mel"] = terms["mel"] + self._energy_distance(ours.mel, theirs.mel, trusted) / len(MEL_RESOLUTIONS)
            if fft in FINE_RESOLUTIONS:
                terms["fine"] = terms["fine"] + self._energy_distance(ours.fine, theirs.fine, inside) / len(
                    FINE_RESOLUTIONS
                )
            if fft in COMPANDED_RESOLUTIONS:
                level = (theirs.root**2).mean((1, 2)).sqrt() + 0.02
                both = inside.repeat(1, 2)
                distance = 2.0 * self._energy_distance(ours.companded, theirs.companded, both)
                terms["companded"] = terms["companded"] + distance / level
                terms["magnitude"] = (
                    terms["magnitude"] + self._energy_distance(ours.root, theirs.root, inside) / level
                )
        whole = torch.ones(first.shape[0], 1, device=first.device)
        scale = original.abs().mean(-1) + 0.003
        terms["waveform"] = self._energy_distance(draws[..., None], original[..., None], whole) / scale
        total = torch.zeros(first.shape[0], device=first.device)
        for name, term in terms.items():
            total = total + getattr(weights, name) * term
        return total, {name: term.detach().mean() for name, term in terms.items()}

    def _features(self, samples: Tensor, fft: int) -> _Features:
        """What one resolution compares.

        Shape: ``[batch, samples]`` -> ``[batch, frames, bands or bins]`` each.
        """
        frames = samples.unfold(-1, fft, fft // 4) * self.get_buffer(f"window{fft}")
        real, imag = real_fft(frames)
        power = real * real + imag * imag
        mel = 0.5 * torch.log(power @ self.get_buffer(f"mel{fft}") + LOG_FLOOR**2)
        nothing = power[..., :0]
        fine = 0.5 * torch.log(power + LOG_FLOOR**2) if fft in FINE_RESOLUTIONS else nothing
        wide = nothing
        if fft == STRUCTURE_RESOLUTION:
            wide = 0.5 * torch.log(power @ self.get_buffer("melwide") + LOG_FLOOR**2)
        if fft not in COMPANDED_RESOLUTIONS:
            return _Features(mel, fine, wide, nothing, nothing)
        root = (power + 1e-7).sqrt().sqrt()
        gain = root.reciprocal()
        return _Features(mel, fine, wide, root, torch.cat([real * gain, imag * gain], dim=-1))

    def _energy_distance(self, draws: Tensor, original: Tensor, trusted: Tensor) -> Tensor:
        """Energy distance (up to the original's own term) of absolute differences.

        Shape: draws ``[2 * batch, frames, bands]`` (first, then second), original ``[batch, frames, bands]``, trusted
        ``[batch, bands]`` -> ``[batch]``.
        """
        first, second = draws.chunk(2)
        distance = (first - original).abs() + (second - original).abs() - self.repulsion * (first - second).abs()
        return 0.5 * _mean_of_trusted(distance, trusted)


def _mean_of_trusted(values: Tensor, trusted: Tensor) -> Tensor:
    """Mean over time and over the bands that count.

    Shape: values ``[batch, frames, bands]``, trusted ``[batch, bands]`` -> ``[batch]``.
    """
    return (values.mean(1) * trusted).sum(-1) / trusted.sum(-1)


@dataclass(frozen=True)
class _Features:
    """Log-mel bands, log spectrum, few wide log bands, companded magnitude, companded real and imaginary parts.

    Empty where the resolution is not asked for one.
    """

    mel: Tensor
    fine: Tensor
    wide: Tensor
    root: Tensor
    companded: Tensor
