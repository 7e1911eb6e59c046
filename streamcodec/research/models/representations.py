"""What networks see of a sound, and the ways back: STFT magnitudes, mel, cepstra, complex spectra, samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from streamcodec.models.spectrum import mel_matrix

Kind = Literal["waveform", "magnitude", "log-magnitude", "log-mel", "mfcc", "complex", "polar"]
NEEDS_PHASE = frozenset({"magnitude", "log-magnitude", "log-mel", "mfcc"})
MEL_FLOOR = 1e-4
GRIFFIN_LIM_ROUNDS = 32
GRIFFIN_LIM_MOMENTUM = 0.99


@dataclass(frozen=True)
class RepresentationConfig:
    """A representation; mono sound at ``sample_rate_hz``, Hann window of ``fft_samples``."""

    kind: Kind = "log-magnitude"
    sample_rate_hz: int = 16_000
    fft_samples: int = 1024
    hop_samples: int = 256
    mel_bands: int = 80
    cepstra: int = 40
    compand_power: float = 0.5
    """Of complex and polar spectra: magnitudes are raised to it."""

    @property
    def bins(self) -> int:
        """Frequencies of one spectrum."""
        return self.fft_samples // 2 + 1

    @property
    def rows(self) -> int:
        """Size of the frequency axis of the features (1 for a waveform)."""
        return {"waveform": 1, "log-mel": self.mel_bands, "mfcc": self.cepstra}.get(self.kind, self.bins)

    @property
    def channels(self) -> int:
        """Channels of the features."""
        return {"complex": 2, "polar": 3}.get(self.kind, 1)


class Representation(nn.Module):
    """Sound to features and back.

    A representation in ``NEEDS_PHASE`` cannot go back alone: :meth:`invert` takes the phase of the original, which
    no decoder has, or finds one by Griffin-Lim.

    Shape: samples ``[B, T]``, features ``[B, C, F, N]`` with N = 1 + T // hop (``[B, 1, 1, T]`` for a waveform).
    """

    def __init__(self, config: RepresentationConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("window", torch.hann_window(config.fft_samples), persistent=False)
        mel = torch.from_numpy(mel_matrix(config.sample_rate_hz, config.fft_samples, config.mel_bands))
        self.register_buffer("mel", mel, persistent=False)
        self.register_buffer("mel_inverse", torch.linalg.pinv(mel.double()).float(), persistent=False)
        self.register_buffer("cosines", _cosine_transform(config.cepstra, config.mel_bands), persistent=False)

    @property
    def needs_phase(self) -> bool:
        """Whether the features alone do not determine a sound."""
        return self.config.kind in NEEDS_PHASE

    def columns(self, samples: int) -> int:
        """Length of the time axis of the features of that many samples."""
        return samples if self.config.kind == "waveform" else 1 + samples // self.config.hop_samples

    def spectrum(self, samples: Tensor) -> Tensor:
        """Centred STFT, silence beyond the ends.

        Shape: ``[B, T]`` -> complex ``[B, bins, N]``.
        """
        c = self.config
        window = self.get_buffer("window")
        return torch.stft(
            samples, c.fft_samples, c.hop_samples, window=window, pad_mode="constant", return_complex=True
        )

    def sound(self, spectrum: Tensor, samples: int) -> Tensor:
        """Inverse of :meth:`spectrum`.

        Shape: complex ``[B, bins, N]`` -> ``[B, samples]``.
        """
        c = self.config
        return torch.istft(spectrum, c.fft_samples, c.hop_samples, window=self.get_buffer("window"), length=samples)

    def analyse(self, samples: Tensor) -> Tensor:
        """Shape: ``[B, T]`` -> ``[B, C, F, N]``."""
        c = self.config
        if c.kind == "waveform":
            return samples[:, None, None]
        spectrum = self.spectrum(samples)
        if c.kind == "complex":
            gain = (spectrum.abs() + 1e-8) ** (c.compand_power - 1.0)
            return torch.stack([spectrum.real * gain, spectrum.imag * gain], dim=1)
        magnitude = spectrum.abs()
        if c.kind == "polar":
            unit = spectrum / (magnitude + 1e-8)
            return torch.stack([magnitude**c.compand_power, unit.real, unit.imag], dim=1)
        if c.kind == "magnitude":
            features = magnitude
        elif c.kind == "log-magnitude":
            features = torch.log1p(magnitude)
        else:
            features = torch.log(self.get_buffer("mel") @ magnitude + MEL_FLOOR)
            if c.kind == "mfcc":
                features = self.get_buffer("cosines") @ features
        return features[:, None]

    def magnitude(self, features: Tensor) -> Tensor:
        """Magnitudes that features of a representation in ``NEEDS_PHASE`` stand for; least squares for mel bands.

        Shape: ``[B, 1, F, N]`` -> ``[B, bins, N]``.
        """
        kind, rows = self.config.kind, features[:, 0]
        if kind == "magnitude":
            return rows.clamp_min(0.0)
        if kind == "log-magnitude":
            return torch.expm1(rows.clamp(0.0, 8.0))
        if kind == "mfcc":
            rows = self.get_buffer("cosines").T @ rows
        bands = torch.exp(rows.clamp(math.log(MEL_FLOOR), 8.0)) - MEL_FLOOR
        return (self.get_buffer("mel_inverse") @ bands).clamp_min(0.0)

    def invert(self, features: Tensor, samples: int, original: Tensor | None = None) -> Tensor:
        """Sound from features; the phase, where they hold none, from the sound ``original`` or by Griffin-Lim.

        Shape: ``[B, C, F, N]``, original ``[B, samples]`` -> ``[B, samples]``.
        """
        kind = self.config.kind
        if kind == "waveform":
            return features[:, 0, 0, :samples]
        if kind == "complex":
            real, imag = features[:, 0], features[:, 1]
            power = (real * real + imag * imag + 1e-12) ** (0.5 * (1.0 / self.config.compand_power - 1.0))
            return self.sound(torch.complex(real * power, imag * power), samples)
        if kind == "polar":
            length = (features[:, 1] ** 2 + features[:, 2] ** 2 + 1e-8).sqrt()
            gain = features[:, 0].clamp_min(0.0) ** (1.0 / self.config.compand_power) / length
            return self.sound(torch.complex(features[:, 1] * gain, features[:, 2] * gain), samples)
        magnitude = self.magnitude(features)
        if original is not None:
            return self.sound(torch.polar(magnitude, self.spectrum(original).angle()), samples)
        return self.griffin_lim(magnitude, samples)

    def griffin_lim(self, magnitude: Tensor, samples: int) -> Tensor:
        """A sound whose magnitudes come near those given (Perraudin et al., "A fast Griffin-Lim algorithm", 2013).

        Starts at random phases of a fixed seed, so that the same magnitudes always give the same sound.

        Shape: ``[B, bins, N]`` -> ``[B, samples]``.
        """
        generator = torch.Generator().manual_seed(0)
        phase = 2.0 * torch.pi * torch.rand(magnitude.shape[1:], generator=generator)
        estimate = torch.polar(magnitude, phase.to(magnitude).expand_as(magnitude))
        before = torch.zeros_like(estimate)
        for _ in range(GRIFFIN_LIM_ROUNDS):
            consistent = self.spectrum(self.sound(estimate, samples))
            ahead = consistent + GRIFFIN_LIM_MOMENTUM * (consistent - before)
            before = consistent
            estimate = magnitude * ahead / (ahead.abs() + 1e-8)
        return self.sound(estimate, samples)


def _cosine_transform(cepstra: int, bands: int) -> Tensor:
    """Orthonormal DCT-II, its first rows.

    Shape: output ``[cepstra, bands]``.
    """
    k = torch.arange(cepstra, dtype=torch.float64)[:, None]
    angle = torch.pi / bands * (torch.arange(bands, dtype=torch.float64)[None] + 0.5) * k
    rows = torch.cos(angle) * math.sqrt(2.0 / bands)
    rows[0] *= math.sqrt(0.5)
    return rows.float()
