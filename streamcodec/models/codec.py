"""The whole neural tier as one torch module, for training and export."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from streamcodec.models.config import NeuralConfig
from streamcodec.models.entropy import CONTEXT_FRAMES, EntropyModel, bits
from streamcodec.models.neural import Decoder, Encoder, add_noise, full_precision
from streamcodec.models.quantiser import QualityQuantiser
from streamcodec.models.spectrum import Spectrum


@dataclass
class CodecOutput:
    """What one training pass yields."""

    samples: Tensor
    """Decoded sound ``[batch, samples]``, lagging the input by ``overlap_samples``."""
    second: Tensor
    """The same with another draw of the decoder's noise."""
    frame_bits: Tensor
    """Bits per frame with noise in place of rounding, differentiable, ``[batch, frames]``."""
    frame_bits_hard: Tensor
    """Bits per frame of the rounded indices ``[batch, frames]``, without gradient."""
    decoded: Tensor
    """What the decoder network gave out, scaled by the gains, ``[batch, hops, 3 * bins]``."""
    tails: Tensor
    """The half of what follows each frame that overlap-add has by then, ``[batch, frames, overlap_samples]``."""
    second_tails: Tensor
    """The same of the other draw."""


@dataclass
class CodedLatents:
    """Latents as the decoder gets them, and what they cost."""

    dequantised: Tensor
    """``[batch, frames, latents]``, with a gradient."""
    bits: Tensor
    """Per frame, differentiable, ``[batch, frames]``."""
    bits_hard: Tensor
    """Per frame as really coded, without gradient."""


class NeuralCodec(nn.Module):
    """Encoder, quantiser, entropy model and decoder."""

    def __init__(self, config: NeuralConfig) -> None:
        super().__init__()
        self.config = config
        self.spectrum = Spectrum(config)
        self.encoder = Encoder(config)
        self.quantizer = QualityQuantiser(config)
        self.entropy = EntropyModel(config)
        self.decoder = Decoder(config)

    def forward(
        self, samples: Tensor, quality_index: Tensor, available: Tensor, lost: Tensor, gains: Tensor | None = None
    ) -> CodecOutput:
        """Encode and decode whole frames from zero state, the decoder's output scaled by ``gains`` if there are any.

        Shape:
            samples ``[batch, frames * frame_samples]``; quality_index int64 ``[batch, frames]``;
            available bool ``[batch, frames, CONTEXT_FRAMES]`` (context of the entropy model);
            lost bool ``[batch, frames]`` (frames the decoder never sees); gains ``[qualities + 1, 3 * bins]``.
        """
        coded, seen_quality, decoded = self._send(samples, quality_index, available, lost)
        decoded = self._with_gains(decoded, seen_quality, gains)
        (samples, tails), (second, second_tails) = (self._render(decoded) for _ in range(2))
        return CodecOutput(samples, second, coded.bits, coded.bits_hard, decoded, tails, second_tails)

    def _send(
        self, samples: Tensor, quality_index: Tensor, available: Tensor, lost: Tensor
    ) -> tuple[CodedLatents, Tensor, Tensor]:
        """Latents coded, the quality indices that the decoder sees, and what its network gives out.

        Shape: as for the whole codec -> coded, ``[batch, frames]``, ``[batch, hops, ...]``.
        """
        batch = samples.shape[0]
        companded = self.spectrum.compand(self.spectrum.analyse(samples))
        latents, _ = self.encoder(companded, self.encoder.initial_state(batch))
        coded = self.code(latents, quality_index, available)
        received = torch.where(lost[..., None], 0.0, coded.dequantised)
        seen_quality = torch.where(lost, self.config.qualities, quality_index)
        decoded, _ = self.decoder(received, seen_quality, self.decoder.initial_state(batch))
        return coded, seen_quality, decoded

    def _with_gains(self, decoded: Tensor, seen_quality: Tensor, gains: Tensor | None) -> Tensor:
        """What the decoder network gave out, scaled by the gains of each frame's quality index if there are any.

        Shape: ``[batch, hops, 3 * bins]``, ``[batch, frames]``, ``[qualities + 1, 3 * bins]`` -> the first.
        """
        if gains is None:
            return decoded
        return decoded * gains[seen_quality].repeat_interleave(self.config.hops_per_frame, dim=1)

    def code(self, latents: Tensor, quality_index: Tensor, available: Tensor) -> CodedLatents:
        """Quantise latents, and count the bits of their indices under the entropy model.

        Shape: latents ``[batch, frames, latents]``, quality_index and available as for the whole codec.
        """
        dequantised, noisy, indices = self.quantizer(latents, quality_index)
        step = self.quantizer.steps(quality_index)
        with full_precision(dequantised):
            location, log2_scale = self.entropy(dequantised, quality_index, available)
        log2_in_steps = log2_scale - torch.log2(step)
        soft = bits(noisy, location / step, log2_in_steps)
        with torch.no_grad():
            hard = bits(indices, location / step, log2_in_steps)
        return CodedLatents(dequantised, soft.sum(-1), hard.sum(-1))

    def render(self, decoded: Tensor) -> Tensor:
        """Sound from what the decoder network gave out, with one draw of its noise.

        Shape: ``[batch, hops, 3 * bins]`` -> ``[batch, hops * hop_samples]``.
        """
        return self._render(decoded)[0]

    def _render(self, decoded: Tensor) -> tuple[Tensor, Tensor]:
        return self._overlap_add(add_noise(decoded))

    def _overlap_add(self, companded: Tensor) -> tuple[Tensor, Tensor]:
        """Sound of companded spectra, and the tail after each frame."""
        samples, tails = self.spectrum.overlap_add(self.spectrum.expand(companded))
        return samples, tails[:, self.config.hops_per_frame - 1 :: self.config.hops_per_frame]


def context_available(batch: int, frames: int, mode: str) -> Tensor:
    """Availability mask of a coding mode: ``independent`` (no context) or ``stream`` (both previous frames).

    Shape: output bool ``[batch, frames, CONTEXT_FRAMES]``.
    """
    available = torch.zeros(batch, frames, CONTEXT_FRAMES, dtype=torch.bool)
    if mode == "stream":
        for age in range(1, CONTEXT_FRAMES + 1):
            available[:, age:, age - 1] = True
    elif mode != "independent":
        raise ValueError(f"mode must be 'independent' or 'stream', got {mode!r}")
    return available
