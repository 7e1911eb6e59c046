"""A small judge of sound in the frequency domain, for the adversarial stage of training; never shipped."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

COMPAND_FLOOR, LOG_FLOOR = 1e-8, 1e-7
LEAK = 0.2


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Resolutions (FFT sizes, hop a quarter of each), width of the judging networks, and how high they look.

    What few bits spoil is told by the lowest harmonics of a voice: a judge that looks at all bins finds next to
    nothing there in the time in which one that looks no higher than ``top_hz`` is right about three of four pieces
    (figures in ``docs/research/index.md``).
    """

    fft_sizes_samples: tuple[int, ...] = (2048, 1024, 512)
    channels: int = 24
    layers: int = 3
    top_hz: float = 3_000.0


@dataclass
class Verdict:
    """What one resolution makes of a batch of sounds."""

    score: Tensor
    """The higher, the more like an original, ``[batch, frames, bins]``."""
    features: list[Tensor]
    """What the layers saw, ``[batch, channels, frames, bins]`` each."""


class SpectralJudge(nn.Module):
    """Convolutions over one range of a spectrogram, companded and logarithmic, halving the frequency axis layer by
    layer; the hop is a quarter of ``fft_samples``, the range in Hz."""

    def __init__(
        self, fft_samples: int, low_hz: float, high_hz: float, channels: int, layers: int, sample_rate_hz: int
    ) -> None:
        super().__init__()
        self.fft_samples = fft_samples
        width_hz = sample_rate_hz / fft_samples
        first, last = int(low_hz / width_hz), min(int(high_hz / width_hz), fft_samples // 2) + 1
        self.bins = slice(first, last)
        self.register_buffer("window", torch.hann_window(fft_samples) * (8.0 / fft_samples) ** 0.5, persistent=False)
        self.register_buffer("places_hz", torch.arange(first, last) * width_hz, persistent=False)
        widths = [3] + [channels] * layers
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, (3, 5), stride=(1, 2), padding=(1, 2))) for a, b in itertools.pairwise(widths)
        )
        self.last = weight_norm(nn.Conv2d(channels, 1, (3, 3), padding=(1, 1)))

    def forward(self, samples: Tensor, trusted_hz: Tensor) -> Verdict:
        hop = self.fft_samples // 4
        frames = samples.unfold(-1, self.fft_samples, hop) * self.get_buffer("window")
        places_hz: Tensor = self.get_buffer("places_hz")
        spectra = torch.fft.rfft(frames)[..., self.bins]
        real, imag = spectra.real, spectra.imag
        power = real * real + imag * imag
        inside = (places_hz < trusted_hz[:, None]).to(samples.dtype)[:, None]
        # Companding by the square root of the magnitude: quiet detail counts, phase stays.
        gain = inside * (power + COMPAND_FLOOR) ** -0.25
        loudness = inside * (1.0 + 0.25 * torch.log(power + LOG_FLOOR))
        x = torch.stack([real * gain, imag * gain, loudness], dim=1).contiguous(memory_format=torch.channels_last)
        features = []
        for layer in self.layers:
            x = nn.functional.leaky_relu(layer(x), LEAK)
            features.append(x)
        return Verdict(self.last(x)[:, 0], features)


class Discriminator(nn.Module):
    """One judge per resolution, after the multi-scale STFT discriminator of Défossez et al., "High Fidelity Neural
    Audio Compression" (2022), with fewer weights, low frequencies, and logarithms beside companded spectra.

    Shape: samples ``[batch, samples]``; ``bandwidth_hz`` ``[batch]``, above which nothing is looked at.
    """

    def __init__(self, config: DiscriminatorConfig, sample_rate_hz: int) -> None:
        super().__init__()
        self.config = config
        self.judges = nn.ModuleList(
            SpectralJudge(size, 0.0, config.top_hz, config.channels, config.layers, sample_rate_hz)
            for size in config.fft_sizes_samples
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, samples: Tensor, bandwidth_hz: Tensor) -> list[Verdict]:
        return [judge(samples, 0.95 * bandwidth_hz) for judge in self.judges]
