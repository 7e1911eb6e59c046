"""Encoder and decoder as they are stepped at run time: one frame in, one frame out, state in, state out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from streamcodec.models.config import NeuralConfig
from streamcodec.models.neural import Decoder, Encoder


class EncoderStep(nn.Module):
    """Companded spectra of one frame to latents.

    Shape: companded ``[batch, hops, 2 * bins]``, states -> latents ``[batch, 1, latents]``, next states.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def inputs(self, batch: int) -> dict[str, Tensor]:
        """Inputs of zeros, by name."""
        c = self.encoder.config
        return {"companded": torch.zeros(batch, c.hops_per_frame, 2 * c.bins)}

    def initial_state(self, batch: int) -> list[Tensor]:
        """Zero state for ``batch`` streams."""
        return self.encoder.initial_state(batch)

    def forward(self, companded: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        latents, after = self.encoder(companded, list(state))
        return (latents, *after)


class DecoderStep(nn.Module):
    """Dequantised latents of one frame to what is rendered.

    Shape: latents ``[batch, 1, latents]``, quality_index int64 ``[batch, 1]``, states -> ``[batch, hops, 3 * bins]``,
    next states.
    """

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def inputs(self, batch: int) -> dict[str, Tensor]:
        """Inputs of zeros, by name."""
        latents = torch.zeros(batch, 1, self.decoder.config.latents)
        return {"latents": latents, "level": torch.zeros(batch, 1, dtype=torch.int64)}

    def initial_state(self, batch: int) -> list[Tensor]:
        """Zero state for ``batch`` streams."""
        return self.decoder.initial_state(batch)

    def forward(self, latents: Tensor, quality_index: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        decoded, after = self.decoder(latents, quality_index, list(state))
        return (decoded, *after)


def empty_encoder_step(config: NeuralConfig) -> EncoderStep:
    """An encoder to load weights into."""
    return EncoderStep(Encoder(config))


def empty_decoder_step(config: NeuralConfig) -> DecoderStep:
    """A decoder to load weights into."""
    return DecoderStep(Decoder(config))
