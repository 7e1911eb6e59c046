"""A decoder that shapes harmonics beside noise: what it cannot predict is in part a pulse train at its own pitch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from streamcodec.models.codec import CodecOutput, NeuralCodec
from streamcodec.models.config import NeuralConfig
from streamcodec.models.neural import Decoder
from streamcodec.models.pitch_follower import PitchFollower

MIX_START = ((0.0, -4.0), (1_000.0, -3.0), (2_000.0, 0.5), (4_500.0, 0.0), (7_000.0, -2.0), (12_000.0, -4.0))
"""Logits that the mix begins with, by frequency in Hz."""


class HarmonicDecoder(Decoder):
    """The decoder with one more head: how much of what is drawn is harmonic, bin by bin.

    Shape: as :class:`~streamcodec.models.neural.Decoder`, but the output is ``[batch, hops, 4 * bins]``: companded
    real and imaginary parts, the gain of what is drawn, and the mix 0 to 1 (:func:`draw`).
    """

    def __init__(self, config: NeuralConfig) -> None:
        super().__init__(config)
        self.mix = nn.Linear(config.decoder_dim_hop, config.bins)
        nn.init.zeros_(self.mix.weight)
        places, logits = zip(*MIX_START, strict=True)
        bins_hz = np.arange(config.bins) * config.sample_rate_hz / config.fft_samples
        with torch.no_grad():
            self.mix.bias.copy_(torch.from_numpy(np.interp(bins_hz, places, logits)))

    def forward(self, latents: Tensor, quality_index: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        predicted, x, after = self._predict(latents, quality_index, state)
        return torch.cat([predicted, torch.sigmoid(self.mix(x).float())], dim=-1), after


def draw(decoded: Tensor, excitation: Tensor, voicing: Tensor) -> Tensor:
    """Companded spectrum with what is drawn: noise of random phase, a new draw at every call, and the excitation.

    The two together have the power of the noise alone.

    Shape: decoded ``[batch, hops, 4 * bins]``, excitation ``[batch, hops, 2 * bins]``, voicing ``[batch, hops, 1]``
    -> ``[batch, hops, 2 * bins]``.
    """
    real, imag, gain, mix = decoded.chunk(4, dim=-1)
    mix = mix * voicing.sqrt()
    # Power is the fourth power of a companded amplitude. Of a sum of two with independent phases, r and h, it is
    # r^4 + h^4 + 4 r^2 h^2 on average; r is what makes that one.
    noise = gain * (torch.sqrt(1.0 + 3.0 * mix**4) - 2.0 * mix**2).clamp_min(1e-6).sqrt()
    phase = (2.0 * torch.pi) * torch.rand_like(gain)
    tone_real, tone_imag = excitation.chunk(2, dim=-1)
    tone = gain * mix
    return torch.cat(
        [real + noise * torch.cos(phase) + tone * tone_real, imag + noise * torch.sin(phase) + tone * tone_imag], -1
    )


class HarmonicCodec(NeuralCodec):
    """The codec with a :class:`HarmonicDecoder`."""

    decoder: HarmonicDecoder

    def __init__(self, config: NeuralConfig) -> None:
        super().__init__(config)
        self.decoder = HarmonicDecoder(config)
        self.follower = PitchFollower(config)

    def forward(
        self, samples: Tensor, quality_index: Tensor, available: Tensor, lost: Tensor, gains: Tensor | None = None
    ) -> CodecOutput:
        """As :meth:`NeuralCodec.forward`; gains ``[qualities + 1, 3 * bins]``."""
        coded, seen_quality, decoded = self._send(samples, quality_index, available, lost)
        bins = self.config.bins
        played, mix = decoded[..., : 3 * bins].float(), decoded[..., 3 * bins :].float()
        played = self._with_gains(played, seen_quality, gains)
        decoded = torch.cat([played, mix], dim=-1)
        excitation, voicing, _ = self.follower(self.spectrum, self.spectrum.expand(played[..., : 2 * bins].detach()))
        (first, tails), (second, second_tails) = (
            self._overlap_add(draw(decoded, excitation, voicing)) for _ in range(2)
        )
        return CodecOutput(first, second, coded.bits, coded.bits_hard, played, tails, second_tails)
