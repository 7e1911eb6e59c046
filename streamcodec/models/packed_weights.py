"""Weights of a shipped model as the compiled networks of ``native_dsp`` read them; needs onnx, not torch.

Matrices that the model's folder holds in 8 bits are multiplied as such, whether it was exported with ``--int8`` or
not; smaller ones, the linear paths among them, in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from native_dsp.networks.causal_trunk import Norm, Trunk
from native_dsp.networks.codec_networks import DecoderWeights, EncoderWeights
from native_dsp.networks.matrix_product import Matrix, pack
from streamcodec.models.config import NeuralConfig
from streamcodec.models.onnx_weights import IntegerMatrix, read_weights

Float32Array = NDArray[np.float32]
Shapes = dict[str, tuple[int, ...]]


def read_encoder(config: NeuralConfig, path: Path) -> EncoderWeights:
    """The encoder's weights; raises ModelError."""
    c = config
    hop, packet, hops, spectrum = c.encoder_dim_hop, c.encoder_dim_frame, c.hops_per_frame, 2 * c.bins
    hop_dilations = (1,) * c.encoder_blocks_hop
    shapes = {
        "encoder.mel": (c.bins, c.mel_bands),
        **_linear("encoder.enter", spectrum + c.mel_bands, hop),
        **_trunk_shapes("encoder.hop_trunk", c, hop, hop_dilations, c.encoder_expansion),
        **_linear("encoder.down", hops * hop, packet),
        **_trunk_shapes("encoder.packet_trunk", c, packet, c.encoder_dilations_frame, c.encoder_expansion),
        **_linear("encoder.leave", packet, c.latents),
        **_linear("encoder.envelope_path", hops * c.mel_bands, c.envelope_latents),
        "encoder.waveform_path.weight": (c.waveform_latents, hops * spectrum),
    }
    found = _Found(read_weights(path, shapes))
    return EncoderWeights(
        mel=pack(found.array("encoder.mel").T[None]),
        enter=found.matrix("encoder.enter"),
        hop_trunk=found.trunk("encoder.hop_trunk", hop_dilations),
        down=found.matrix("encoder.down"),
        packet_trunk=found.trunk("encoder.packet_trunk", c.encoder_dilations_frame),
        leave=found.matrix("encoder.leave"),
        envelope_path=found.matrix("encoder.envelope_path"),
        waveform_path=found.matrix("encoder.waveform_path"),
    )


def read_decoder(config: NeuralConfig, path: Path) -> DecoderWeights:
    """The decoder's weights; raises ModelError."""
    c = config
    hop, packet, hops, spectrum = c.decoder_dim_hop, c.decoder_dim_frame, c.hops_per_frame, 2 * c.bins
    hop_dilations = (1,) * c.decoder_blocks_hop
    shapes = {
        "decoder.input_scale": (c.latents,),
        "decoder.level_embedding.weight": (c.qualities + 1, packet),
        **_linear("decoder.enter", c.latents, packet),
        **_trunk_shapes("decoder.packet_trunk", c, packet, c.decoder_dilations_frame, c.decoder_expansion),
        **_linear("decoder.up", packet, hops * hop),
        **_trunk_shapes("decoder.hop_trunk", c, hop, hop_dilations, c.decoder_expansion),
        "decoder.norm.weight": (hop,),
        "decoder.norm.bias": (hop,),
        **_linear("decoder.gain", hop, c.bins),
        **_linear("decoder.add", hop, spectrum),
        **_linear("decoder.noise", hop, c.bins),
        "decoder.waveform_path.weight": (hops * spectrum, c.waveform_latents),
        "gains": (c.qualities + 1, 3 * c.bins),
    }
    found = _Found(read_weights(path, shapes))
    return DecoderWeights(
        input_scale=found.array("decoder.input_scale"),
        level_embedding=found.array("decoder.level_embedding.weight"),
        enter=found.matrix("decoder.enter"),
        packet_trunk=found.trunk("decoder.packet_trunk", c.decoder_dilations_frame),
        up=found.matrix("decoder.up"),
        hop_trunk=found.trunk("decoder.hop_trunk", hop_dilations),
        norm=found.norm("decoder.norm"),
        gain=found.matrix("decoder.gain"),
        add=found.matrix("decoder.add"),
        noise=found.matrix("decoder.noise"),
        waveform_path=found.matrix("decoder.waveform_path"),
        gains=found.array("gains"),
    )


def _linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _trunk_shapes(name: str, config: NeuralConfig, dim: int, dilations: tuple[int, ...], expansion: int) -> Shapes:
    shapes: Shapes = {}
    for b in range(len(dilations)):
        block = f"{name}.blocks.{b}"
        shapes[f"{block}.taps"] = (config.kernel_size, dim)
        shapes |= {f"{block}.{vector}": (dim,) for vector in ("scale", "norm.weight", "norm.bias")}
        shapes |= _linear(f"{block}.widen", dim, expansion * dim) | _linear(f"{block}.narrow", expansion * dim, dim)
    return shapes


class _Found:
    """Weights by name; several names are stacked, as the blocks of a trunk are."""

    def __init__(self, weights: Mapping[str, Float32Array | IntegerMatrix]) -> None:
        self._weights = weights

    def array(self, name: str) -> Float32Array:
        values = self._weights[name]
        return values.floats() if isinstance(values, IntegerMatrix) else values

    def matrix(self, *names: str) -> Matrix:
        stored = [self._weights[f"{name}.weight"] for name in names]
        bias = self._stack(names, "bias") if f"{names[0]}.bias" in self._weights else None
        integers = [matrix for matrix in stored if isinstance(matrix, IntegerMatrix)]
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
