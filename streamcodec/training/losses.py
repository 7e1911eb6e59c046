"""Reconstruction losses: log and companded spectra at several resolutions, waveform, structure of the envelope."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from streamcodec.models.fast_gradients import real_fft
from streamcodec.models.spectrum import mel_density, mel_matrix
from streamcodec.training.loudness import LoudnessDistance
from streamcodec.training.structure import structure_distance

MEL_RESOLUTIONS = ((2048, 96), (1024, 80), (512, 48), (256, 24))
STRUCTURE_RESOLUTION, LOUDNESS_RESOLUTION = 2048, 1024
RESOLUTIONS = {
    "mel": tuple(fft for fft, _ in MEL_RESOLUTIONS),
    "fine": (2048, 1024, 512),
    "companded": (1024, 512),
    "magnitude": (1024, 512),
    "structure": (STRUCTURE_RESOLUTION,),
    "loudness": (LOUDNESS_RESOLUTION,),
}
"""Window lengths in samples at which a term compares spectra; it is the mean over them (the sum for two of them)."""
STRUCTURE_BANDS, STRUCTURE_TOP_HZ = 24, 8_000.0
LOG_FLOOR = 3e-4


WEIGHT_COURSES = {
    "mel": (3.0, 8.0, 5.0),
    "fine": (1.0, 3.0, 2.0),
    "companded": (1.0, 1.0, 3.0),
    "magnitude": (1.0, 0.7, 1.0),
    "waveform": (0.6, 0.0, 0.4),
    "structure": (0.0, 1.2, 4.0),
    "loudness": (0.0, 2.0, 0.7),
}
"""Weight of each term early on, late at the coarsest quality, late at the finest."""
TERMS = tuple(WEIGHT_COURSES)
LossWeights = Mapping[str, Tensor]
"""Weight of each term that is asked for, one value per segment; what is not named is not computed.

Shape: by name ``[batch]``.
"""


def loss_weights(quality: Tensor, progress: float, late_from: float = 0.5) -> LossWeights:
    """Waveform-led weights until the linear path has taken hold, then weights by quality index.

    Few bits cannot describe a waveform, so coarse qualities end on the spectral envelope alone; fine ones keep
    being asked for phase. The late weights hold from progress ``late_from`` on.

    Shape: quality ``[batch]``, 0 at the coarsest and 1 at the finest.
    """
    ramp_from = 0.3 * late_from
    late_share = 1.0 if progress >= late_from else max(progress - ramp_from, 0.0) / (late_from - ramp_from)
    weights = {}
    for name, (early, coarse, fine) in WEIGHT_COURSES.items():
        late = coarse + (fine - coarse) * quality
        weights[name] = early + (late - early) * late_share
    return weights


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
        self.loudness = LoudnessDistance(sample_rate_hz, LOUDNESS_RESOLUTION)
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
        terms = {name: torch.zeros(first.shape[0], device=first.device) for name in weights}
        for fft, _ in MEL_RESOLUTIONS:
            for name, distance in self._at_resolution(fft, draws, original, bandwidth_hz, weights.keys()).items():
                terms[name] = terms[name] + distance
        if "waveform" in weights:
            whole = torch.ones(first.shape[0], 1, device=first.device)
            scale = original.abs().mean(-1) + 0.003
            terms["waveform"] = self._energy_distance(draws[..., None], original[..., None], whole) / scale
        total = torch.zeros(first.shape[0], device=first.device)
        for name, term in terms.items():
            total = total + weights[name] * term
        return total, {name: term.detach().mean() for name, term in terms.items()}

    def _at_resolution(
        self, fft: int, draws: Tensor, original: Tensor, bandwidth_hz: Tensor, names: Set[str]
    ) -> dict[str, Tensor]:
        """What one window length has to say to those terms of ``names`` that ask it, per segment.

        Shape: draws ``[2 * batch, samples]``, original ``[batch, samples]``, ``bandwidth_hz`` ``[batch]``.
        """
        names = {name for name in names & RESOLUTIONS.keys() if fft in RESOLUTIONS[name]}
        if not names:
            return {}
        terms = {}
        bins_hz = torch.arange(fft // 2 + 1, device=draws.device) * (self.sample_rate_hz / fft)
        inside = (bins_hz < 0.95 * bandwidth_hz[:, None]).float()
        if self.by_ear:
            inside = inside * mel_density(bins_hz)
        ours, theirs = self._spectrum(draws, fft), self._spectrum(original, fft)
        if "mel" in names:
            found, wanted = (self._bands(x, str(fft)) for x in (ours, theirs))
            trusted = self._trusted(str(fft), bandwidth_hz)
            terms["mel"] = self._energy_distance(found, wanted, trusted) / len(RESOLUTIONS["mel"])
        if "structure" in names:
            found, wanted = (self._bands(x, "wide") for x in (ours, theirs))
            first, second = structure_distance(found, wanted.repeat(2, 1, 1)).chunk(2)
            terms["structure"] = 0.5 * _mean_of_trusted(first + second, self._trusted("wide", bandwidth_hz))
        if "fine" in names:
            distance = self._energy_distance(_nepers(ours.power), _nepers(theirs.power), inside)
            terms["fine"] = distance / len(RESOLUTIONS["fine"])
        if not names.isdisjoint({"companded", "magnitude"}):
            made, asked = ours.companded(), theirs.companded()
            level = (asked.root**2).mean((1, 2)).sqrt() + 0.02
            if "companded" in names:
                both = inside.repeat(1, 2)
                terms["companded"] = 2.0 * self._energy_distance(made.parts, asked.parts, both) / level
            if "magnitude" in names:
                terms["magnitude"] = self._energy_distance(made.root, asked.root, inside) / level
        if "loudness" in names:
            each_draw = ours.power.view(2, *theirs.power.shape)
            terms["loudness"] = self.loudness(each_draw, theirs.power, bandwidth_hz).mean(0)
        return terms

    def _spectrum(self, samples: Tensor, fft: int) -> _Spectrum:
        """Spectra of overlapping windows.

        Shape: ``[batch, samples]`` -> ``[batch, frames, bins]``.
        """
        frames = samples.unfold(-1, fft, fft // 4) * self.get_buffer(f"window{fft}")
        real, imag = real_fft(frames)
        return _Spectrum(real, imag, real * real + imag * imag)

    def _bands(self, spectrum: _Spectrum, name: str) -> Tensor:
        """Log amplitudes of the mel bands called ``name``."""
        return _nepers(spectrum.power @ self.get_buffer(f"mel{name}"))

    def _trusted(self, name: str, bandwidth_hz: Tensor) -> Tensor:
        """1 for each of those bands that a segment's original can vouch for, else 0.

        Shape: ``[batch]`` -> ``[batch, bands]``.
        """
        return (self.get_buffer(f"centres{name}") < 0.95 * bandwidth_hz[:, None]).float()

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


def _nepers(power: Tensor) -> Tensor:
    """Log amplitude over a floor."""
    return 0.5 * torch.log(power + LOG_FLOOR**2)


@dataclass(frozen=True)
class _Spectrum:
    """Real and imaginary parts, and power."""

    real: Tensor
    imag: Tensor
    power: Tensor

    def companded(self) -> _Companded:
        """With the square root of its magnitudes, phases as they are."""
        root = (self.power + 1e-7).sqrt().sqrt()
        gain = root.reciprocal()
        return _Companded(root, torch.cat([self.real * gain, self.imag * gain], dim=-1))


@dataclass(frozen=True)
class _Companded:
    """Companded magnitudes; companded real parts, then imaginary ones."""

    root: Tensor
    parts: Tensor
