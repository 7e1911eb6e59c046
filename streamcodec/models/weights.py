"""Weights of the networks as they are stored: safetensors under the torch module's own names; needs no torch.

Large matrices are stored in 8 bits with a scale for each output, beside them under ``<name>_scale``; other large
arrays in float16, small ones in float32. All of it is checked when it is read: names, types, shapes, finite values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from streamcodec.errors import ModelError
from streamcodec.models.config import NeuralConfig

Array = NDArray[Any]
Float32Array = NDArray[np.float32]
Shapes = dict[str, tuple[int, ...]]

SCALE_SUFFIX = "_scale"
HALF_FROM_VALUES = 2048
INT8_FROM_VALUES = 1 << 17
LARGEST_INT8 = 127
_FLOAT_DTYPES = (np.float16, np.float32)
_MATRIX_DTYPES = (np.int8, *_FLOAT_DTYPES)


@dataclass(frozen=True)
class Int8Matrix:
    """A matrix stored in 8 bits.

    Shape: values int8 ``[outputs, inputs]``, scale float32 ``[outputs]``.
    """

    values: NDArray[np.int8]
    scale: Float32Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Outputs and inputs."""
        return self.values.shape

    def floats(self) -> Float32Array:
        """The matrix itself."""
        return np.asarray(self.values * self.scale[:, None], np.float32)


Weight = Float32Array | Int8Matrix
Weights = Mapping[str, Weight]


def floats_of(weight: Weight) -> Float32Array:
    """A weight in float32."""
    return weight.floats() if isinstance(weight, Int8Matrix) else weight


def encoder_shapes(config: NeuralConfig) -> Shapes:
    """Names and shapes of the encoder's weights; ``encoder.mel`` is the constant that it computes envelopes with."""
    c = config
    hop, frame, hops, spectrum = c.encoder_dim_hop, c.encoder_dim_frame, c.hops_per_frame, 2 * c.bins
    return {
        "encoder.mel": (c.bins, c.mel_bands),
        **_linear("encoder.enter", spectrum + c.mel_bands, hop),
        **_trunk("encoder.hop_trunk", c, hop, c.encoder_blocks_hop, c.encoder_expansion),
        **_linear("encoder.down", hops * hop, frame),
        **_trunk("encoder.packet_trunk", c, frame, len(c.encoder_dilations_frame), c.encoder_expansion),
        **_linear("encoder.leave", frame, c.latents),
        **_linear("encoder.envelope_path", hops * c.mel_bands, c.envelope_latents),
        "encoder.waveform_path.weight": (c.waveform_latents, hops * spectrum),
    }


def decoder_shapes(config: NeuralConfig) -> Shapes:
    """Names and shapes of the decoder's weights."""
    c = config
    hop, frame, hops, spectrum = c.decoder_dim_hop, c.decoder_dim_frame, c.hops_per_frame, 2 * c.bins
    return {
        "decoder.input_scale": (c.latents,),
        "decoder.level_embedding.weight": (c.qualities + 1, frame),
        **_linear("decoder.enter", c.latents, frame),
        **_trunk("decoder.packet_trunk", c, frame, len(c.decoder_dilations_frame), c.decoder_expansion),
        **_linear("decoder.up", frame, hops * hop),
        **_trunk("decoder.hop_trunk", c, hop, c.decoder_blocks_hop, c.decoder_expansion),
        "decoder.norm.weight": (hop,),
        "decoder.norm.bias": (hop,),
        **_linear("decoder.gain", hop, c.bins),
        **_linear("decoder.add", hop, spectrum),
        **_linear("decoder.noise", hop, c.bins),
        "decoder.waveform_path.weight": (hops * spectrum, c.waveform_latents),
    }


def _linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _trunk(name: str, config: NeuralConfig, dim: int, blocks: int, expansion: int) -> Shapes:
    shapes: Shapes = {}
    for b in range(blocks):
        block = f"{name}.blocks.{b}"
        shapes[f"{block}.taps"] = (config.kernel_size, dim)
        shapes |= {f"{block}.{vector}": (dim,) for vector in ("scale", "norm.weight", "norm.bias")}
        shapes |= _linear(f"{block}.widen", dim, expansion * dim) | _linear(f"{block}.narrow", expansion * dim, dim)
    return shapes


def is_multiplied(name: str) -> bool:
    """Whether a weight is a matrix ``[outputs, inputs]`` that a network multiplies by; embeddings are looked up."""
    return name.endswith(".weight") and ".norm." not in name and "embedding" not in name


def is_stored_in_8_bits(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a weight of this name and shape is stored in 8 bits."""
    return is_multiplied(name) and shape[0] * shape[1] >= INT8_FROM_VALUES


def write_weights(weights: Mapping[str, Float32Array], path: Path) -> None:
    """Write arrays in their stored form."""
    stored: dict[str, Array] = {}
    for name, values in weights.items():
        if is_stored_in_8_bits(name, values.shape):
            scale = np.maximum(np.abs(values).max(axis=1), 1e-12) / np.float32(LARGEST_INT8)
            stored[name] = np.round(values / scale[:, None]).astype(np.int8)
            stored[name + SCALE_SUFFIX] = scale.astype(np.float32)
        else:
            stored[name] = values.astype(np.float16 if values.size >= HALF_FROM_VALUES else np.float32)
    write_tensors(stored, path)


def write_tensors(tensors: Mapping[str, Array], path: Path) -> None:
    """Write a safetensors file, the same bytes for the same tensors."""
    path.write_bytes(save({name: np.ascontiguousarray(values) for name, values in tensors.items()}))


def read_tensors(path: Path) -> dict[str, Array]:
    """Everything in a safetensors file; raises ModelError where it is missing or damaged."""
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} cannot be read ({error}): install or export the model again") from error


def read_weights(path: Path, shapes: Shapes) -> dict[str, Weight]:
    """The weights of these names and shapes, and no others; raises ModelError."""
    tensors = read_tensors(path)
    found: dict[str, Weight] = {}
    for name, shape in shapes.items():
        values = take(tensors, path, name, shape, _MATRIX_DTYPES if is_multiplied(name) else _FLOAT_DTYPES)
        if values.dtype == np.int8:
            scale = take(tensors, path, name + SCALE_SUFFIX, shape[:1], (np.float32,))
            found[name] = Int8Matrix(values, scale)
        else:
            found[name] = values.astype(np.float32)
    check_all_taken(tensors, path)
    return found


def take(tensors: dict[str, Array], path: Path, name: str, shape: tuple[int, ...], dtypes: tuple[Any, ...]) -> Array:
    """Take one tensor out of those of a file; raises ModelError unless it is there, as it should be, and finite."""
    values = tensors.pop(name, None)
    if values is None:
        raise ModelError(f"{path} lacks {name}: export the model again")
    kinds = [np.dtype(kind) for kind in dtypes]
    if values.shape != shape or values.dtype not in kinds:
        wanted = f"{' or '.join(kind.name for kind in kinds)} {list(shape)}"
        raise ModelError(f"{path}: {name} is {values.dtype.name} {list(values.shape)}, not {wanted}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ModelError(f"{path}: {name} holds values that are not finite; export the model again")
    return values


def check_all_taken(tensors: Mapping[str, Array], path: Path) -> None:
    """Raises ModelError if something is left that was not asked for: the file is of another version."""
    if tensors:
        raise ModelError(f"{path} holds {min(tensors)}, which this version does not know; install the one it is of")
