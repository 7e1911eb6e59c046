"""Torch forms of the codec's STFT, companding and mel features, for training and export.

The live path uses the numba kernels of ``native_dsp``; tests hold the two against each other.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from native_dsp.transforms.windows import low_delay_pair
from streamcodec.models.config import Framing

MAGNITUDE_FLOOR = 1e-5


def mel_matrix(sample_rate_hz: int, fft_samples: int, bands: int, max_hz: float | None = None) -> NDArray[np.float32]:
    """Triangular mel filters of unit peak on the HTK scale.

    Shape: output ``[bands, fft_samples // 2 + 1]``.
    """
    top_hz = max_hz if max_hz is not None else sample_rate_hz / 2
    edges_mel = np.linspace(0.0, 2595.0 * np.log10(1.0 + top_hz / 700.0), bands + 2)
    return triangular_filters(700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0), sample_rate_hz, fft_samples)


def triangular_filters(edges_hz: NDArray[np.float64], sample_rate_hz: int, fft_samples: int) -> NDArray[np.float32]:
    """Triangles of unit peak, each from one edge over the next to the one after it.

    Shape: ``[bands + 2]`` -> ``[bands, fft_samples // 2 + 1]``.
    """
    bins_hz = np.arange(fft_samples // 2 + 1) * sample_rate_hz / fft_samples
    low, centre, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    width_hz = sample_rate_hz / fft_samples
    rise = (bins_hz - low) / np.maximum(centre - low, width_hz)
    fall = (high - bins_hz) / np.maximum(high - centre, width_hz)
    return np.maximum(0.0, np.minimum(rise, fall)).astype(np.float32)


def mel_density(frequencies_hz: Tensor) -> Tensor:
    """How much of the mel scale a hertz takes at each frequency, relative to 0 Hz.

    Shape: any.
    """
    return 1.0 / (1.0 + frequencies_hz / 700.0)


class Spectrum(nn.Module):
    """Analysis and synthesis of whole signals, companding between linear and compressed spectra."""

    def __init__(self, config: Framing) -> None:
        super().__init__()
        self.config = config
        analysis, synthesis = low_delay_pair(config.fft_samples, config.hop_samples, config.overlap_samples)
        self.register_buffer("analysis_window", torch.from_numpy(analysis), persistent=False)
        self.register_buffer("synthesis_window", torch.from_numpy(synthesis), persistent=False)

    def analyse(self, samples: Tensor) -> Tensor:
        """Spectra of every hop, past samples only.

        Shape: ``[batch, hops * hop_samples]`` -> complex ``[batch, hops, bins]``.
        """
        c = self.config
        padded = nn.functional.pad(samples, (c.fft_samples - c.hop_samples, 0))
        frames = padded.unfold(-1, c.fft_samples, c.hop_samples)
        window: Tensor = self.get_buffer("analysis_window")
        spectra: Tensor = torch.fft.rfft(frames * window)
        return spectra

    def synthesise(self, spectra: Tensor) -> Tensor:
        """Overlap-add; the output lags the input by ``overlap_samples``.

        Shape: complex ``[batch, hops, bins]`` -> ``[batch, hops * hop_samples]``.
        """
        return self.overlap_add(spectra)[0]

    def overlap_add(self, spectra: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`synthesise`, and the half of what follows each hop that has been added up by then.

        Shape: complex ``[batch, hops, bins]`` -> ``[batch, hops * hop_samples]``, ``[batch, hops, overlap_samples]``.
        """
        c = self.config
        window: Tensor = self.get_buffer("synthesis_window")
        support = c.hop_samples + c.overlap_samples
        frames = (torch.fft.irfft(spectra, n=c.fft_samples) * window)[..., -support:]
        tails = frames[..., c.hop_samples :]
        head = frames[..., : c.overlap_samples] + nn.functional.pad(tails[:, :-1], (0, 0, 1, 0))
        body = frames[..., c.overlap_samples : c.hop_samples]
        return torch.cat([head, body], dim=-1).flatten(1), tails

    def compand(self, spectra: Tensor) -> Tensor:
        """Complex spectrum to power-law compressed real and imaginary parts.

        Shape: complex ``[batch, hops, bins]`` -> ``[batch, hops, 2 * bins]``.
        """
        real, imag = spectra.real, spectra.imag
        power = real * real + imag * imag + MAGNITUDE_FLOOR**2
        gain = power ** (0.5 * (self.config.compand_power - 1.0))
        return torch.cat([real * gain, imag * gain], dim=-1)

    def expand(self, companded: Tensor) -> Tensor:
        """Inverse of :meth:`compand`.

        Shape: ``[batch, hops, 2 * bins]`` -> complex ``[batch, hops, bins]``.
        """
        real, imag = companded.chunk(2, dim=-1)
        power = real * real + imag * imag + MAGNITUDE_FLOOR ** (2 * self.config.compand_power)
        gain = power ** (0.5 * (1.0 / self.config.compand_power - 1.0))
        return torch.complex(real * gain, imag * gain)
