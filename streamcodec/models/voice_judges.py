"""Judges that see what makes a voice: fine spectra split into bands, and the waveform folded at several periods."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from streamcodec.models.discriminator import LEAK, SpectralJudge, Verdict

DISCRIMINATOR_BANDS = ((2048, 0.0, 1_600.0), (2048, 1_200.0, 5_500.0), (1024, 1_200.0, 6_500.0), (512, 0.0, 8_000.0))


@dataclass(frozen=True)
class VoiceJudgesConfig:
    """FFT size in samples and range in Hz of each spectral judge (hop a quarter), widths, periods of the folded ones.

    A judge of its own for each range: one over all of it learns the lowest bins and nothing else (figures of run J in
    ``docs/research/index.md``), and it is above 1 kHz that a decoded voice was hiss.
    """

    bands: tuple[tuple[int, float, float], ...] = DISCRIMINATOR_BANDS
    channels: int = 24
    layers: int = 3
    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    period_channels: tuple[int, ...] = (8, 16, 32, 32)


class _PeriodJudge(nn.Module):
    """Convolutions over the waveform folded at a period, after Kong et al., "HiFi-GAN" (2020), with fewer weights."""

    def __init__(self, period: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.period = period
        widths = [1, *channels]
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, (5, 1), stride=(3, 1), padding=(2, 0))) for a, b in itertools.pairwise(widths)
        )
        self.verdict = weight_norm(nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, samples: Tensor) -> Verdict:
        whole = samples.shape[1] // self.period * self.period
        x = samples[:, :whole].reshape(len(samples), 1, -1, self.period)
        x = x.contiguous(memory_format=torch.channels_last)
        features = []
        for layer in self.layers:
            x = nn.functional.leaky_relu(layer(x), LEAK)
            features.append(x)
        return Verdict(self.verdict(x)[:, 0], features)


class VoiceJudges(nn.Module):
    """All of them, in one list of verdicts.

    The folded ones hear sound with its high bands lifted by a first difference, brought to the level of its loudness:
    in a voice as it is they would see nothing but the first formant.

    Shape: samples ``[batch, samples]``; ``bandwidth_hz`` ``[batch]``, above which the spectral ones do not look.
    """

    def __init__(self, config: VoiceJudgesConfig, sample_rate_hz: int) -> None:
        super().__init__()
        self.config = config
        self.judges = nn.ModuleList(
            SpectralJudge(*band, config.channels, config.layers, sample_rate_hz) for band in config.bands
        )
        self.folded = nn.ModuleList(_PeriodJudge(period, config.period_channels) for period in config.periods)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, samples: Tensor, bandwidth_hz: Tensor) -> list[Verdict]:
        verdicts = [judge(samples, 0.95 * bandwidth_hz) for judge in self.judges]
        lifted = samples[:, 1:] - 0.85 * samples[:, :-1]
        loudness = lifted.detach().square().mean(-1, keepdim=True).sqrt() + 1e-3
        return verdicts + [judge(0.5 * lifted / loudness) for judge in self.folded]
