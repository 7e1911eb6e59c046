"""Weights out of a shipped ONNX step graph, into the torch module that it was exported from.

Biases, norms and taps stand in the graph under their own names. A matrix does not (export transposes and compresses
it), but it is multiplied where its bias is added next, which tells whose it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from streamcodec.errors import ModelError

Array = NDArray[Any]
BLOCK_ZERO = 128
"""What stands for 0 in matrices that are multiplied in 8 bits."""


def load_weights(module: nn.Module, path: Path) -> None:
    """Fill ``module`` with what stands in the graph, in float32; raises ModelError where something is missing."""
    graph = onnx.load(str(path)).graph
    constants = _constants(graph)
    wanted = module.state_dict()
    found = {name: constants[name] for name in wanted if name in constants}
    nameless = []
    for node in graph.node:
        matrix = _matrix(node, constants)
        if matrix is None:
            continue
        name = _owner(graph, node, constants)
        if name is None:
            nameless.append(matrix)
        else:
            found[name] = matrix.T
    for name in wanted.keys() - found.keys():
        fitting = [m.T for m in nameless if m.T.shape == tuple(wanted[name].shape)]
        if len(fitting) != 1:
            raise ModelError(f"{path.name} does not say which weights are {name}: export the model again")
        found[name] = fitting[0]
    for name, values in found.items():
        shape = tuple(wanted[name].shape)
        # A single row, as older exports have of the decoder's gains, serves all levels.
        if values.shape not in (shape, shape[1:]):
            raise ModelError(f"{path.name} has {name} of shape {values.shape}, not {shape}")
        found[name] = np.broadcast_to(values, shape)
    module.load_state_dict({n: torch.from_numpy(np.array(found[n], np.float32)) for n in wanted})


def _constants(graph: onnx.GraphProto) -> dict[str, Array]:
    """Every constant, those that the graph unpacks from 8 or 16 bits included."""
    constants: dict[str, Array] = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    for node in graph.node:
        if not all(name in constants for name in node.input):
            continue
        values = [constants[name] for name in node.input]
        if node.op_type == "Cast":
            constants[node.output[0]] = values[0].astype(np.float32)
        elif node.op_type == "Mul":
            constants[node.output[0]] = values[0] * values[1]
    return constants


def _matrix(node: onnx.NodeProto, constants: dict[str, Array]) -> Array | None:
    """The constant that a node multiplies by, ``[rows, columns]``."""
    if len(node.input) < 2 or node.input[1] not in constants:
        return None
    values = constants[node.input[1]]
    if node.op_type == "MatMul":
        return values
    if node.op_type == "MatMulNBits":
        rows = next(a.i for a in node.attribute if a.name == "K")
        columns, blocks, _ = values.shape
        scales = constants[node.input[2]].reshape(columns, blocks, 1)
        unpacked: Array = (values.astype(np.float32) - BLOCK_ZERO) * scales
        matrix: Array = unpacked.reshape(columns, -1)[:, :rows].T
        return matrix
    return None


def _owner(graph: onnx.GraphProto, node: onnx.NodeProto, constants: dict[str, Array]) -> str | None:
    """Name of the matrix, after the bias that is added to what it gives."""
    for after in graph.node:
        if after.op_type == "Add" and node.output[0] in after.input:
            for name in after.input:
                if name in constants and name.endswith(".bias"):
                    return f"{name.removesuffix('.bias')}.weight"
    return None
