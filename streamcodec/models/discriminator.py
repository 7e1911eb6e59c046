"""A small judge of sound in the frequency domain, for the adversarial stage of training; never shipped."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

COMPAND_FLOOR = 1e-8
LEAK = 0.2


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Resolutions (FFT sizes, hop a quarter of each) and width of the judging networks."""

    fft_sizes_samples: tuple[int, ...] = (2048, 1024, 512)
    channels: int = 16
    layers: int = 4


@dataclass
class Verdict:
    """What one resolution makes of a batch of sounds."""

    score: Tensor
    """Above 0 for sound taken as original, ``[batch, frames, bins]``."""
    features: list[Tensor]
    """What the layers saw, ``[batch, channels, frames, bins]`` each."""


class _Judge(nn.Module):
    """Convolutions over one companded complex spectrogram, halving the frequency axis layer by layer."""

    def __init__(self, config: DiscriminatorConfig, fft_samples: int) -> None:
        super().__init__()
        self.fft_samples = fft_samples
        self.register_buffer("window", torch.hann_window(fft_samples) * (8.0 / fft_samples) ** 0.5, persistent=False)
        widths = [2] + [config.channels] * config.layers
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, (3, 9), stride=(1, 2), padding=(1, 4))) for a, b in itertools.pairwise(widths)
        )
        self.last = weight_norm(nn.Conv2d(config.channels, 1, (3, 3), padding=(1, 1)))

    def forward(self, samples: Tensor, trusted_hz_share: Tensor) -> Verdict:
        hop = self.fft_samples // 4
        frames = samples.unfold(-1, self.fft_samples, hop) * self.get_buffer("window")
        spectra = torch.fft.rfft(frames)
        real, imag = spectra.real, spectra.imag
        places = torch.linspace(0.0, 1.0, real.shape[-1], device=samples.device)
        inside = (places < trusted_hz_share[:, None]).to(samples.dtype)[:, None]
        # Companding by the square root of the magnitude: quiet detail counts, phase stays.
        gain = inside * (real * real + imag * imag + COMPAND_FLOOR) ** -0.25
        x = torch.stack([real * gain, imag * gain], dim=1)
        features = []
        for layer in self.layers:
            x = nn.functional.leaky_relu(layer(x), LEAK)
            features.append(x)
        return Verdict(self.last(x)[:, 0], features)


class Discriminator(nn.Module):
    """One judge per resolution, after the multi-scale STFT discriminator of Défossez et al., "High Fidelity Neural
    Audio Compression" (2022), with fewer weights and companded spectra.

    Shape: samples ``[batch, samples]``; ``bandwidth_hz`` ``[batch]``, above which nothing is looked at.
    """

    def __init__(self, config: DiscriminatorConfig, sample_rate_hz: int) -> None:
        super().__init__()
        self.config = config
        self.nyquist_hz = sample_rate_hz / 2
        self.judges = nn.ModuleList(_Judge(config, size) for size in config.fft_sizes_samples)

    def forward(self, samples: Tensor, bandwidth_hz: Tensor) -> list[Verdict]:
        share = 0.95 * bandwidth_hz / self.nyquist_hz
        return [judge(samples, share) for judge in self.judges]
