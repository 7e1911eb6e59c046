"""The causal, frame-wise form of the restoration network: spectra in, spectra out, state as a value.

The same parts as the published one, each made causal: four convolutions of kernel 3 over past frames, attention over
a bounded past, and as transposed convolution the inverse STFT, whose window reaches 5 ms ahead and is all the delay
there is. tanh bounds what is added to the decoded spectrum, which otherwise passes through.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from streamcodec.models.blocks import Trunk
from streamcodec.models.spectrum import Spectrum, mel_matrix
from streamcodec.research.restorer import RestorerConfig

ENVELOPE_FLOOR = 1e-3


class PastAttention(nn.Module):
    """Attention of each frame to itself and the ``memory`` frames before, with a learnt bias by distance.

    Shape:
        x: ``[batch, frames, dim]``; state: ``[batch, memory, 2 * dim]``, keys and values of past frames.
        returns y ``[batch, frames, dim]`` and the next state.
    """

    def __init__(self, dim: int, heads: int, memory: int) -> None:
        super().__init__()
        self.dim, self.heads, self.memory = dim, heads, memory
        self.norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.leave = nn.Linear(dim, dim)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        self.bias = nn.Parameter(torch.zeros(heads, memory + 1))

    def initial_state(self, batch: int) -> Tensor:
        """Zero state for ``batch`` streams."""
        return torch.zeros(batch, self.memory, 2 * self.dim, device=self.bias.device)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        batch, frames, dim = x.shape
        inside = self.norm(x)
        past = torch.cat([state, self.key_value(inside)], dim=1)
        keys, values = past.reshape(batch, -1, 2, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        query = self.query(inside).reshape(batch, frames, self.heads, -1).transpose(1, 2)
        distance = torch.arange(frames, device=x.device)[:, None] + self.memory
        distance = distance - torch.arange(frames + self.memory, device=x.device)
        within = (distance >= 0) & (distance <= self.memory)
        bias = self.bias[:, distance.clamp(0, self.memory)].masked_fill(~within, -1e9)
        scores = query @ keys.transpose(-1, -2) * (dim // self.heads) ** -0.5 + bias
        heard = (torch.softmax(scores, dim=-1) @ values).transpose(1, 2).reshape(batch, frames, dim)
        return x + self.leave(heard), past[:, frames:]


class CausalRestorer(nn.Module):
    """Companded spectra of decoded sound to companded spectra nearer the original's.

    Shape:
        companded: ``[batch, hops, 2 * bins]``; state: list of tensors; returns the same shape and the next state.
    """

    def __init__(self, config: RestorerConfig) -> None:
        super().__init__()
        c = self.config = config
        self.spectrum = Spectrum(c)
        mel = mel_matrix(c.sample_rate_hz, c.fft_samples, c.mel_bands)
        self.register_buffer("mel", torch.from_numpy(mel.T.copy()), persistent=False)
        self.enter = nn.Linear(2 * c.bins + c.mel_bands, c.dim)
        self.convolutions = Trunk(c.dim, c.dilations, c.kernel_size, c.expansion)
        self.attention = PastAttention(c.dim, c.heads, c.memory_hops)
        self.mix = Trunk(c.dim, (1,), c.kernel_size, c.expansion)
        self.norm = nn.LayerNorm(c.dim)
        self.gain = nn.Linear(c.dim, c.bins)
        self.add = nn.Linear(c.dim, 2 * c.bins)
        for head in (self.gain, self.add):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def initial_state(self, batch: int) -> list[Tensor]:
        """Zero state for ``batch`` streams."""
        return [
            *self.convolutions.initial_state(batch),
            self.attention.initial_state(batch),
            *self.mix.initial_state(batch),
        ]

    def forward(self, companded: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        split = len(self.config.dilations)
        real, imag = companded.chunk(2, dim=-1)
        envelope = torch.log((real * real + imag * imag) @ self.get_buffer("mel") + ENVELOPE_FLOOR)
        x = self.enter(torch.cat([companded, envelope], dim=-1))
        x, convolution_state = self.convolutions(x, state[:split])
        x, attention_state = self.attention(x, state[split])
        x, mix_state = self.mix(x, state[split + 1 :])
        x = self.norm(x)
        gain = 2.0 * torch.sigmoid(self.gain(x))
        restored = companded * torch.cat([gain, gain], dim=-1) + torch.tanh(self.add(x))
        return restored, [*convolution_state, attention_state, *mix_state]

    def restore(self, samples: Tensor) -> Tensor:
        """Whole sounds from zero state; the output lags by ``overlap_samples``.

        Shape: ``[batch, hops * hop_samples]`` -> the same.
        """
        companded = self.spectrum.compand(self.spectrum.analyse(samples))
        restored, _ = self(companded, self.initial_state(samples.shape[0]))
        return self.spectrum.synthesise(self.spectrum.expand(restored))
