"""Restoration of decoded sound by a convolutional encoder, a Transformer and a transposed-convolution decoder.

After the LadLe paper on restoring lossily compressed music: it learns from pairs of decoded and original segments.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from dataclasses import dataclass

import torch
from torch import Tensor, nn

LAYERS = 4
KERNEL_SIZE = 3
STRIDE = 2
SHRINKAGE = STRIDE**LAYERS
EXTRACTOR_SEED = 1


@dataclass(frozen=True)
class RestorationConfig:
    """Shape of the network."""

    channels: tuple[int, int, int, int] = (16, 32, 48, 64)
    heads: int = 4
    transformer_layers: int = 2
    feedforward: int = 128
    residual: bool = False
    """Whether the decoder's output is added to the input instead of replacing it."""

    def to_json(self) -> str:
        """Serialise to JSON text."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> RestorationConfig:
        """Read back what :meth:`to_json` wrote; unknown keys are an error."""
        fields = json.loads(text)
        return cls(**fields | {"channels": tuple(fields["channels"])})


class RestorationNet(nn.Module):
    """Segments of decoded sound to segments of the original's length and, once trained, likeness.

    Four convolutions of kernel 3 halve the length each, a Transformer relates all positions, four transposed
    convolutions double the length again, and tanh keeps the result within full scale. Positions are told apart by
    the convolutions' padding alone.

    Shape: ``[batch, samples]`` -> ``[batch, samples]``, any length from 1 on.
    """

    def __init__(self, config: RestorationConfig) -> None:
        super().__init__()
        self.config = config
        widths = (1, *config.channels)
        self.encoder = nn.ModuleList(
            nn.Conv1d(inside, outside, KERNEL_SIZE, STRIDE, padding=1)
            for inside, outside in itertools.pairwise(widths)
        )
        layer = nn.TransformerEncoderLayer(
            widths[-1], config.heads, config.feedforward, dropout=0.0, batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, config.transformer_layers, enable_nested_tensor=False)
        self.decoder = nn.ModuleList(
            nn.ConvTranspose1d(inside, outside, KERNEL_SIZE, STRIDE, padding=1, output_padding=1)
            for inside, outside in itertools.pairwise(reversed(widths))
        )
        if config.residual:
            last = self.decoder[-1]
            assert isinstance(last, nn.ConvTranspose1d)
            assert last.bias is not None
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, samples: Tensor) -> Tensor:
        length = samples.shape[-1]
        x = nn.functional.pad(samples, (0, -length % SHRINKAGE))[:, None]
        for convolution in self.encoder:
            x = nn.functional.gelu(convolution(x))
        x = self.transformer(x.transpose(1, 2)).transpose(1, 2)
        for k, convolution in enumerate(self.decoder):
            x = convolution(x)
            if k < LAYERS - 1:
                x = nn.functional.gelu(x)
        restored = torch.tanh(x[:, 0, :length])
        return samples + restored if self.config.residual else restored


class FeatureExtractor(nn.Module):
    """Two convolutions whose outputs are compared by the perceptual loss; random, fixed, the same everywhere.

    Shape: ``[batch, samples]`` -> both layers' ``[batch, 16, samples / 4]`` and ``[batch, 32, samples / 16]``.
    """

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(EXTRACTOR_SEED)
        for name, shape in (("first", (16, 1, 15)), ("second", (32, 16, 9))):
            fan_in = shape[1] * shape[2]
            weights = torch.randn(shape, generator=generator) * (2.0 / fan_in) ** 0.5
            self.register_buffer(name, weights, persistent=False)

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        first = torch.relu(nn.functional.conv1d(samples[:, None], self.get_buffer("first"), stride=4, padding=7))
        second = torch.relu(nn.functional.conv1d(first, self.get_buffer("second"), stride=4, padding=4))
        return first, second


def restoration_loss(extractor: FeatureExtractor, restored: Tensor, original: Tensor, perceptual: float) -> Tensor:
    """Mean squared error, and ``perceptual`` times that of the features.

    Shape: two ``[batch, samples]`` -> scalar.
    """
    loss = nn.functional.mse_loss(restored, original)
    with torch.no_grad():
        wanted = extractor(original)
    for mine, theirs in zip(extractor(restored), wanted, strict=True):
        loss = loss + perceptual * nn.functional.mse_loss(mine, theirs)
    return loss
