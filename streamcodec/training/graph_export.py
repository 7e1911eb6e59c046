"""Step modules as ONNX graphs: with their weights, or as templates that onnxruntime is given weights for."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from streamcodec.codec.files.output_file import write_whole
from streamcodec.models.config import NeuralConfig
from streamcodec.models.shipped import WEIGHTS_FILE
from streamcodec.models.step_modules import DecoderStep, EncoderStep, empty_decoder_step, empty_encoder_step
from streamcodec.models.weights import decoder_shapes, encoder_shapes, is_multiplied, is_stored_in_8_bits
from streamcodec.runtime.onnx_step import (
    BLOCK_SCALES_SUFFIX,
    BLOCKS_SUFFIX,
    INT8_BLOCK,
    NEXT_STATE_PREFIX,
    STATE_PREFIX,
)
from streamcodec.training.task import TrainingError


def export_graph(module: nn.Module, inputs: dict[str, Tensor], state: list[Tensor], path: Path) -> None:
    """Write a step graph of any number of streams: named inputs and ``state0..N`` in, ``output`` and
    ``next_state0..N`` out.

    ``module`` takes the inputs and then the states, and returns the output and then the next states; inputs and
    states are given for one stream.
    """
    names = [*inputs, *(f"{STATE_PREFIX}{k}" for k in range(len(state)))]
    outputs = ["output", *(f"{NEXT_STATE_PREFIX}{k}" for k in range(len(state)))]
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        raw = Path(folder) / "graph.onnx"
        module.eval()
        torch.onnx.export(
            module,
            (*inputs.values(), *state),
            str(raw),
            input_names=names,
            output_names=outputs,
            opset_version=20,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        model = onnx.load(str(raw))
    _free_batch(model)
    del model.metadata_props[:]
    model.producer_name, model.producer_version = "streamcodec", ""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    write_whole(path, model.SerializeToString())


def _free_batch(model: onnx.ModelProto) -> None:
    """Let the graph step any number of streams at once: their number comes first in every shape."""
    initializers = {i.name: i for i in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "Reshape":
            continue
        # In a target shape 0 stands for the input's own dimension, unless the node says otherwise.
        del node.attribute[:]
        shape = numpy_helper.to_array(initializers[node.input[1]]).copy()
        if shape[0] == 1 and len(shape) > 1:
            shape[0] = 0
            initializers[node.input[1]].CopyFrom(numpy_helper.from_array(shape, node.input[1]))
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "streams"


def graph_templates(config: NeuralConfig, int8: bool) -> tuple[bytes, bytes]:
    """Graphs of the encoder's and the decoder's step without weights, which onnxruntime is given when it loads them.

    They name weights as :func:`~streamcodec.runtime.onnx_step.graph_weights` does, and follow from the configuration
    alone. With ``int8`` matrices stored in 8 bits are multiplied as such, by inputs rounded to 8 bits block by block,
    which needs onnxruntime 1.22.
    """
    shapes = encoder_shapes(config) | decoder_shapes(config)
    in_8_bits = frozenset(name for name, shape in shapes.items() if int8 and is_stored_in_8_bits(name, shape))
    return _templates(config, in_8_bits)


@lru_cache(maxsize=8)
def _templates(config: NeuralConfig, in_8_bits: frozenset[str]) -> tuple[bytes, bytes]:
    steps = (empty_encoder_step(config), empty_decoder_step(config))
    encoder, decoder = (_template(step, in_8_bits) for step in steps)
    return encoder, decoder


def _template(module: EncoderStep | DecoderStep, in_8_bits: frozenset[str]) -> bytes:
    # The exporter shares equal constants and renames transposed ones: all different, each is known by its values.
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for values in (*module.parameters(), *module.buffers()):
            values.copy_(torch.rand(values.shape, generator=random))
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "graph.onnx"
        export_graph(module, module.inputs(1), module.initial_state(1), raw)
        model = onnx.load(str(raw))
    wanted = {name: values.detach().numpy() for name, values in [*module.named_parameters(), *module.named_buffers()]}
    names = {_key(values.T if is_multiplied(name) else values): name for name, values in wanted.items()}
    renamed = {}
    for initializer in model.graph.initializer:
        name = names.get(_key(numpy_helper.to_array(initializer)))
        if name is not None:
            renamed[initializer.name] = name
    if sorted(renamed.values()) != sorted(wanted):
        lost = sorted(wanted.keys() - set(renamed.values()))
        raise TrainingError(f"the exporter changed the weights {', '.join(lost)}: this version of torch is not known")
    _leave_out(model, renamed)
    if in_8_bits:
        _multiply_in_8_bits(model, {name: wanted[name].shape for name in in_8_bits & wanted.keys()})
    return bytes(model.SerializeToString(deterministic=True))


def _key(values: NDArray[np.generic]) -> tuple[tuple[int, ...], bytes]:
    return values.shape, hashlib.sha256(np.ascontiguousarray(values).tobytes()).digest()


def _leave_out(model: onnx.ModelProto, renamed: dict[str, str]) -> None:
    """Rename weights and leave only their shapes of them."""
    kept = [i for i in model.graph.initializer if i.name not in renamed]
    empty = [_placeholder(renamed[i.name], i.data_type, i.dims) for i in model.graph.initializer if i.name in renamed]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*kept, *empty])
    for node in model.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]


def _placeholder(name: str, kind: int, dims: Sequence[int]) -> onnx.TensorProto:
    """A tensor whose values are said to lie elsewhere."""
    tensor = onnx.TensorProto(name=name, data_type=kind, dims=dims, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=WEIGHTS_FILE)
    return tensor


def _multiply_in_8_bits(model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]]) -> None:
    """Matrix products of these weights, ``[outputs, inputs]``, become ``MatMulNBits``: a quarter of the bytes."""
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        name = node.input[1] if node.op_type == "MatMul" else ""
        if name not in shapes:
            nodes.append(node)
            continue
        outputs, inputs = shapes[name]
        blocks = -(-inputs // INT8_BLOCK)
        packed, scales = name + BLOCKS_SUFFIX, name + BLOCK_SCALES_SUFFIX
        model.graph.initializer.append(_placeholder(packed, TensorProto.UINT8, (outputs, blocks, INT8_BLOCK)))
        model.graph.initializer.append(_placeholder(scales, TensorProto.FLOAT, (outputs * blocks,)))
        nodes.append(
            helper.make_node(
                "MatMulNBits",
                [node.input[0], packed, scales],
                list(node.output),
                domain="com.microsoft",
                K=inputs,
                N=outputs,
                bits=8,
                block_size=INT8_BLOCK,
                accuracy_level=4,
            )
        )
    used = {name for node in nodes for name in node.input}
    kept = [i for i in model.graph.initializer if i.name in used]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(kept)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
