"""The neural tier's encoder and decoder networks.

Both sides hold a linear path (initialised as a Karhunen-Loeve transform of companded spectra, and of log-mel
envelopes) and a causal convolutional network that corrects it. Quantisation and entropy coding live in
``quantiser`` and ``entropy``.
"""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn

from streamcodec.models.blocks import Trunk
from streamcodec.models.config import NeuralConfig
from streamcodec.models.spectrum import mel_matrix

ENVELOPE_FLOOR = 1e-3
NOISE_START = -3.0


def full_precision(x: Tensor) -> contextlib.AbstractContextManager[object]:
    """Where a training pass in bfloat16 must keep to float32: a latent's rounding must not depend on eight bits."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else contextlib.nullcontext()


class Encoder(nn.Module):
    """Companded spectra of whole frames to scalar latents, in units of the quantiser's reference step.

    Shape:
        companded: ``[batch, hops, 2 * bins]`` (hops a multiple of ``hops_per_frame``); state: list of tensors.
        returns latents ``[batch, frames, latents]`` and the next state.
    """

    def __init__(self, config: NeuralConfig) -> None:
        super().__init__()
        c = self.config = config
        mel = mel_matrix(c.sample_rate_hz, c.fft_samples, c.mel_bands)
        self.register_buffer("mel", torch.from_numpy(mel.T.copy()), persistent=False)
        features = 2 * c.bins + c.mel_bands
        self.enter = nn.Linear(features, c.encoder_dim_hop)
        self.hop_trunk = Trunk(c.encoder_dim_hop, (1,) * c.encoder_blocks_hop, c.kernel_size, c.encoder_expansion)
        self.down = nn.Linear(c.hops_per_frame * c.encoder_dim_hop, c.encoder_dim_frame)
        self.packet_trunk = Trunk(c.encoder_dim_frame, c.encoder_dilations_frame, c.kernel_size, c.encoder_expansion)
        self.leave = nn.Linear(c.encoder_dim_frame, c.latents)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.envelope_path = nn.Linear(c.hops_per_frame * c.mel_bands, c.envelope_latents)
        self.waveform_path = nn.Linear(c.hops_per_frame * 2 * c.bins, c.waveform_latents, bias=False)

    def initial_state(self, batch: int) -> list[Tensor]:
        """Zero state for ``batch`` streams."""
        return self.hop_trunk.initial_state(batch) + self.packet_trunk.initial_state(batch)

    def envelope(self, companded: Tensor) -> Tensor:
        """Log-mel envelope of each hop.

        Shape: ``[batch, hops, 2 * bins]`` -> ``[batch, hops, mel_bands]``.
        """
        real, imag = companded.chunk(2, dim=-1)
        mel: Tensor = self.get_buffer("mel")
        with full_precision(real):
            return torch.log((real * real + imag * imag) @ mel + ENVELOPE_FLOOR)

    def forward(self, companded: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        c = self.config
        batch, hops, _ = companded.shape
        frames = hops // c.hops_per_frame
        envelope = self.envelope(companded)
        split = c.encoder_blocks_hop
        x = self.enter(torch.cat([companded, envelope], dim=-1))
        x, hop_state = self.hop_trunk(x, state[:split])
        x = self.down(x.reshape(batch, frames, -1))
        x, frame_state = self.packet_trunk(x, state[split:])
        with full_precision(x):
            linear = torch.cat(
                [
                    self.envelope_path(envelope.reshape(batch, frames, -1)),
                    self.waveform_path(companded.reshape(batch, frames, -1)),
                ],
                dim=-1,
            )
            return linear + self.leave(x.float()), hop_state + frame_state


class Decoder(nn.Module):
    """Dequantised latents to companded spectra; ``quality_index == qualities`` means the frame was lost.

    Shape:
        latents: ``[batch, frames, latents]`` (zeros where lost); quality_index: int64 ``[batch, frames]``.
        returns ``[batch, frames * hops_per_frame, 3 * bins]``: companded real and imaginary parts, and the gain
        of the noise to be added to them (:func:`add_noise`); and the next state.
    """

    def __init__(self, config: NeuralConfig) -> None:
        super().__init__()
        c = self.config = config
        self.level_embedding = nn.Embedding(c.qualities + 1, c.decoder_dim_frame)
        nn.init.normal_(self.level_embedding.weight, std=0.02)
        self.register_buffer("input_scale", torch.ones(c.latents))
        self.enter = nn.Linear(c.latents, c.decoder_dim_frame)
        self.packet_trunk = Trunk(c.decoder_dim_frame, c.decoder_dilations_frame, c.kernel_size, c.decoder_expansion)
        self.up = nn.Linear(c.decoder_dim_frame, c.hops_per_frame * c.decoder_dim_hop)
        self.hop_trunk = Trunk(c.decoder_dim_hop, (1,) * c.decoder_blocks_hop, c.kernel_size, c.decoder_expansion)
        self.norm = nn.LayerNorm(c.decoder_dim_hop)
        self.gain = nn.Linear(c.decoder_dim_hop, c.bins)
        self.add = nn.Linear(c.decoder_dim_hop, 2 * c.bins)
        for head in (self.gain, self.add):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        self.noise = nn.Linear(c.decoder_dim_hop, c.bins)
        nn.init.zeros_(self.noise.weight)
        nn.init.constant_(self.noise.bias, NOISE_START)
        self.waveform_path = nn.Linear(c.waveform_latents, c.hops_per_frame * 2 * c.bins, bias=False)

    def initial_state(self, batch: int) -> list[Tensor]:
        """Zero state for ``batch`` streams."""
        return self.packet_trunk.initial_state(batch) + self.hop_trunk.initial_state(batch)

    def forward(self, latents: Tensor, quality_index: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        predicted, _, after = self._predict(latents, quality_index, state)
        return predicted, after

    def _predict(
        self, latents: Tensor, quality_index: Tensor, state: list[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """What :meth:`forward` gives, and before the next states what it was made of, ``[batch, hops, dim]``."""
        c = self.config
        batch, frames, _ = latents.shape
        hops = frames * c.hops_per_frame
        split = len(c.decoder_dilations_frame)
        scale: Tensor = self.get_buffer("input_scale")
        x = self.enter(latents * scale) + self.level_embedding(quality_index)
        x, frame_state = self.packet_trunk(x, state[:split])
        x = self.up(x).reshape(batch, hops, c.decoder_dim_hop)
        x, hop_state = self.hop_trunk(x, state[split:])
        x = self.norm(x)
        with full_precision(x):
            linear = self.waveform_path(latents[..., c.envelope_latents :]).reshape(batch, hops, 2 * c.bins)
        gain = 2.0 * torch.sigmoid(self.gain(x))
        companded = linear * torch.cat([gain, gain], dim=-1) + self.add(x)
        noise_gain = nn.functional.softplus(self.noise(x).float())
        return torch.cat([companded, noise_gain], dim=-1), x, frame_state + hop_state


def add_noise(decoded: Tensor) -> Tensor:
    """Companded spectrum with noise of random phase at the decoder's gain, a new draw at every call.

    What few bits cannot describe is drawn, not averaged: training on the energy distance of two draws (see
    ``training.losses``) makes the draws as noisy as the original; a deterministic decoder would settle on tones.

    Shape: ``[batch, hops, 3 * bins]`` -> ``[batch, hops, 2 * bins]``.
    """
    real, imag, gain = decoded.chunk(3, dim=-1)
    phase = (2.0 * torch.pi) * torch.rand_like(gain)
    return torch.cat([real + gain * torch.cos(phase), imag + gain * torch.sin(phase)], dim=-1)
