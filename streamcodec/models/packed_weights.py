"""Weights of a model as the compiled networks of ``native_dsp`` read them; needs no torch.

Matrices that are stored in 8 bits are multiplied as such; smaller ones, the linear paths among them, in float32.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native_dsp.networks.causal_trunk import Norm, Trunk
from native_dsp.networks.codec_networks import DecoderWeights, EncoderWeights
from native_dsp.networks.matrix_product import Matrix, pack
from streamcodec.models.config import NeuralConfig
from streamcodec.models.weights import Int8Matrix, Weights, floats_of

Float32Array = NDArray[np.float32]


def pack_encoder(config: NeuralConfig, weights: Weights) -> EncoderWeights:
    """The encoder's weights."""
    found = _Found(weights)
    return EncoderWeights(
        mel=pack(found.array("encoder.mel").T[None]),
        enter=found.matrix("encoder.enter"),
        hop_trunk=found.trunk("encoder.hop_trunk", (1,) * config.encoder_blocks_hop),
        down=found.matrix("encoder.down"),
        packet_trunk=found.trunk("encoder.packet_trunk", config.encoder_dilations_frame),
        leave=found.matrix("encoder.leave"),
        envelope_path=found.matrix("encoder.envelope_path"),
        waveform_path=found.matrix("encoder.waveform_path"),
    )


def pack_decoder(config: NeuralConfig, weights: Weights) -> DecoderWeights:
    """The decoder's weights."""
    found = _Found(weights)
    return DecoderWeights(
        input_scale=found.array("decoder.input_scale"),
        level_embedding=found.array("decoder.level_embedding.weight"),
        enter=found.matrix("decoder.enter"),
        packet_trunk=found.trunk("decoder.packet_trunk", config.decoder_dilations_frame),
        up=found.matrix("decoder.up"),
        hop_trunk=found.trunk("decoder.hop_trunk", (1,) * config.decoder_blocks_hop),
        norm=found.norm("decoder.norm"),
        gain=found.matrix("decoder.gain"),
        add=found.matrix("decoder.add"),
        noise=found.matrix("decoder.noise"),
        waveform_path=found.matrix("decoder.waveform_path"),
    )


class _Found:
    """Weights by name; several names are stacked, as the blocks of a trunk are."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def array(self, name: str) -> Float32Array:
        return floats_of(self._weights[name])

    def matrix(self, *names: str) -> Matrix:
        stored = [self._weights[f"{name}.weight"] for name in names]
        bias = self._stack(names, "bias") if f"{names[0]}.bias" in self._weights else None
        integers = [matrix for matrix in stored if isinstance(matrix, Int8Matrix)]
        if len(integers) == len(stored):
            return pack(np.stack([m.values for m in integers]), np.stack([m.scale for m in integers]), bias)
        return pack(self._stack(names, "weight"), None, bias)

    def norm(self, *names: str) -> Norm:
        return Norm(self._stack(names, "weight"), self._stack(names, "bias"))

    def trunk(self, name: str, dilations: tuple[int, ...]) -> Trunk:
        blocks = [f"{name}.blocks.{b}" for b in range(len(dilations))]
        return Trunk(
            taps=self._stack(blocks, "taps"),
            scale=self._stack(blocks, "scale"),
            dilation=np.array(dilations, np.int64),
            norm=self.norm(*(f"{block}.norm" for block in blocks)),
            widen=self.matrix(*(f"{block}.widen" for block in blocks)),
            narrow=self.matrix(*(f"{block}.narrow" for block in blocks)),
        )

    def _stack(self, owners: list[str] | tuple[str, ...], name: str) -> Float32Array:
        return np.stack([self.array(f"{owner}.{name}") for owner in owners])
