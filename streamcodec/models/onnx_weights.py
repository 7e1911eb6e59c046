"""Weights out of a shipped ONNX step graph, under the names they have in the torch module that it was exported from.

Biases, norms and taps stand in the graph under their own names. A matrix does not (export transposes and compresses
it), but it is multiplied where its bias is added next, which tells whose it is. Needs onnx, not torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from streamcodec.errors import ModelError

Array = NDArray[Any]
Float32Array = NDArray[np.float32]
BLOCK_ZERO = 128
"""What stands for 0 in matrices that are multiplied in 8 bits."""


@dataclass(frozen=True)
class IntegerMatrix:
    """A matrix stored in 8 bits.

    Shape: values int8 ``[outputs, inputs]``, scale ``[outputs]``.
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


def read_weights(path: Path, wanted: Mapping[str, tuple[int, ...]]) -> dict[str, Float32Array | IntegerMatrix]:
    """What is wanted, by name and shape; matrices stored in 8 bits are left so.

    Raises ModelError where something is missing or of another shape.
    """
    graph = onnx.load(str(path)).graph
    constants, integers = _constants(graph)
    found: dict[str, Array | IntegerMatrix] = {name: constants[name] for name in wanted if name in constants}
    nameless = []
    for node in graph.node:
        matrix = _matrix(node, constants, integers)
        if matrix is None:
            continue
        name = _owner(graph, node, constants)
        if name is None:
            nameless.append(matrix)
        elif name in wanted:
            found[name] = matrix
    for name in wanted.keys() - found.keys():
        fitting = [m for m in nameless if m.shape == wanted[name]]
        if len(fitting) != 1:
            raise ModelError(f"{path.name} does not say which weights are {name}: export the model again")
        found[name] = fitting[0]
    return {name: _of_shape(values, wanted[name], f"{path.name} has {name}") for name, values in found.items()}


def _of_shape(values: Array | IntegerMatrix, shape: tuple[int, ...], owner: str) -> Float32Array | IntegerMatrix:
    # A single row, as older exports have of the decoder's gains, serves all levels.
    if values.shape not in (shape, shape[1:]):
        raise ModelError(f"{owner} of shape {values.shape}, not {shape}")
    return values if isinstance(values, IntegerMatrix) else np.array(np.broadcast_to(values, shape), np.float32)


def _constants(graph: onnx.GraphProto) -> tuple[dict[str, Array], dict[str, IntegerMatrix]]:
    """Every constant, those that the graph unpacks from 8 or 16 bits included; and those of 8 bits as they are."""
    constants: dict[str, Array] = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    integers: dict[str, IntegerMatrix] = {}
    packed: dict[str, Array] = {}
    for node in graph.node:
        if not all(name in constants for name in node.input):
            continue
        values = [constants[name] for name in node.input]
        if node.op_type == "Cast":
            constants[node.output[0]] = values[0].astype(np.float32)
            packed[node.output[0]] = values[0]
        elif node.op_type == "Mul":
            constants[node.output[0]] = values[0] * values[1]
            stored = packed.get(node.input[0])
            if stored is not None and stored.dtype == np.int8:
                integers[node.output[0]] = IntegerMatrix(stored.T, values[1].ravel())
    return constants, integers


def _matrix(
    node: onnx.NodeProto, constants: dict[str, Array], integers: dict[str, IntegerMatrix]
) -> Array | IntegerMatrix | None:
    """The constant that a node multiplies by, ``[outputs, inputs]``."""
    if len(node.input) < 2 or node.input[1] not in constants:
        return None
    name = node.input[1]
    if node.op_type == "MatMul":
        transposed: Array = constants[name].T
        return integers.get(name, transposed)
    if node.op_type == "MatMulNBits":
        inputs = next(a.i for a in node.attribute if a.name == "K")
        values = constants[name]
        outputs, blocks, _ = values.shape
        scales = constants[node.input[2]].reshape(outputs, blocks, 1)
        signed = values.astype(np.int16) - BLOCK_ZERO
        if (scales == scales[:, :1]).all():
            return IntegerMatrix(signed.reshape(outputs, -1)[:, :inputs].astype(np.int8), scales[:, 0, 0])
        unpacked: Array = (signed * scales).reshape(outputs, -1)[:, :inputs]
        return unpacked
    return None


def _owner(graph: onnx.GraphProto, node: onnx.NodeProto, constants: dict[str, Array]) -> str | None:
    """Name of the matrix, after the bias that is added to what it gives."""
    for after in graph.node:
        if after.op_type == "Add" and node.output[0] in after.input:
            for name in after.input:
                if name in constants and name.endswith(".bias"):
                    return f"{name.removesuffix('.bias')}.weight"
    return None
