"""Networks stepped by onnxruntime on the CPU: fixed buffers in, fixed buffers out, state carried between calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from streamcodec.errors import ModelError
from streamcodec.models.weights import Int8Matrix, Weights, floats_of, is_multiplied
from streamcodec.runtime.step import THREADS_PER_STREAM, Float32Array, Rows, StepGraph, StepStreams

STATE_PREFIX = "state"
NEXT_STATE_PREFIX = "next_state"
PROVIDERS = ("CPUExecutionProvider",)
MOST_AT_ONCE = 32
"""Streams in one run of a network: from 16 on a stream costs the same, and more would only fill the caches."""
_DTYPES: dict[str, np.dtype[Any]] = {"tensor(float)": np.dtype(np.float32), "tensor(int64)": np.dtype(np.int64)}

INT8_BLOCK = 64
INT8_ZERO = 128
"""What stands for 0 in matrices that are multiplied in 8 bits."""
BLOCKS_SUFFIX, BLOCK_SCALES_SUFFIX = "_blocks", "_block_scales"


def graph_weights(weights: Weights, prefix: str, in_8_bits: bool) -> dict[str, NDArray[Any]]:
    """Stored weights of one side as its graph names and takes them: float32, matrices as ``[inputs, outputs]``.

    Where the graphs multiply ``in_8_bits``, matrices stored so become the blocks and scales of ``MatMulNBits``.
    """
    given: dict[str, NDArray[Any]] = {}
    for name, weight in weights.items():
        if not name.startswith(prefix):
            continue
        if in_8_bits and isinstance(weight, Int8Matrix):
            outputs, inputs = weight.shape
            blocks = -(-inputs // INT8_BLOCK)
            padded = np.full((outputs, blocks * INT8_BLOCK), INT8_ZERO, np.uint8)
            padded[:, :inputs] = (weight.values.astype(np.int16) + INT8_ZERO).astype(np.uint8)
            given[name + BLOCKS_SUFFIX] = padded.reshape(outputs, blocks, INT8_BLOCK)
            given[name + BLOCK_SCALES_SUFFIX] = np.repeat(weight.scale, blocks)
        else:
            values = floats_of(weight)
            given[name] = np.ascontiguousarray(values.T if is_multiplied(name) else values)
    return given


class OnnxGraph(StepGraph):
    """A step graph: its inputs are named values plus ``state0..N``, its outputs ``output`` plus ``next_state0..N``.

    The first dimension of all of them is the stream. Graphs made for one stream alone (it is then 1) step many
    streams too, one after the other. ``weights`` are those that the graph leaves to be given, under its own names.
    Raises ModelError.
    """

    def __init__(
        self, path: Path, threads: int = THREADS_PER_STREAM, weights: Mapping[str, NDArray[Any]] | None = None
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._path = path
        # Kept as long as the session, which reads them where they lie.
        self._weights = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in (weights or {}).values()]
        if weights:
            options.add_external_initializers(list(weights), self._weights)
        try:
            self.session = onnxruntime.InferenceSession(str(path), sess_options=options, providers=list(PROVIDERS))
        except Exception as error:
            raise ModelError(
                f"onnxruntime cannot load {path} ({error}); install or export the model again"
            ) from error
        try:
            inputs = {i.name: (tuple(i.shape), _DTYPES[i.type]) for i in self.session.get_inputs()}
            outputs = {o.name: tuple(o.shape) for o in self.session.get_outputs()}
            states = sum(name.startswith(STATE_PREFIX) for name in inputs)
            self.state_shapes = [inputs[f"{STATE_PREFIX}{k}"][0][1:] for k in range(states)]
            after = [outputs[f"{NEXT_STATE_PREFIX}{k}"][1:] for k in range(states)]
            output = outputs["output"]
        except KeyError as error:
            raise ModelError(f"{path} is no step graph: {error} is missing or of another type") from error
        self.inputs = {n: (shape[1:], kind) for n, (shape, kind) in inputs.items() if not n.startswith(STATE_PREFIX)}
        self.output_shape: tuple[int, ...] = output[1:]
        shapes = [*self.state_shapes, self.output_shape, *(shape for shape, _ in self.inputs.values())]
        if after != self.state_shapes or not all(isinstance(size, int) for shape in shapes for size in shape):
            raise ModelError(f"{path} is no step graph: its state comes out in other shapes than it goes in")
        self.most_at_once = 1 if output[0] == 1 else MOST_AT_ONCE

    def check(self, inputs: Mapping[str, tuple[int, ...]], output: tuple[int, ...]) -> None:
        """Raise ModelError where shapes are others than kernels will read and write by, which check no bounds."""
        found = {name: tuple(shape) for name, (shape, _) in self.inputs.items()}
        if found != inputs or self.output_shape != output:
            raise ModelError(
                f"{self._path} is not the network that the description beside it is of: inputs {found} and output "
                f"{self.output_shape}, expected {dict(inputs)} and {output}; export it again"
            )

    def new_streams(self, capacity: int) -> StepStreams:
        """So many streams at the zero state."""
        return _OneStream(self) if capacity == 1 else _ManyStreams(self, capacity)


class _OnnxStreams(StepStreams):
    def __init__(self, graph: OnnxGraph, capacity: int) -> None:
        self._graph = graph
        self.capacity = capacity
        self.inputs = self._new_inputs(capacity)
        self.output = np.zeros((capacity, *graph.output_shape), np.float32)

    def _new_inputs(self, count: int) -> dict[str, NDArray[Any]]:
        return {name: np.zeros((count, *shape), kind) for name, (shape, kind) in self._graph.inputs.items()}

    def _new_state(self, count: int) -> list[Float32Array]:
        return [np.zeros((count, *shape), np.float32) for shape in self._graph.state_shapes]

    def _bind(
        self,
        inputs: Mapping[str, NDArray[Any]],
        before: Sequence[Float32Array],
        after: Sequence[Float32Array],
        output: Float32Array,
    ) -> onnxruntime.IOBinding:
        """Contiguous arrays of the same number of rows, tied to the graph's inputs and outputs where they lie."""
        binding = self._graph.session.io_binding()
        for name, array in inputs.items():
            binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for k, array in enumerate(before):
            binding.bind_input(f"{STATE_PREFIX}{k}", "cpu", 0, np.float32, array.shape, array.ctypes.data)
        binding.bind_output("output", "cpu", 0, np.float32, output.shape, output.ctypes.data)
        for k, array in enumerate(after):
            binding.bind_output(f"{NEXT_STATE_PREFIX}{k}", "cpu", 0, np.float32, array.shape, array.ctypes.data)
        return binding


class _OneStream(_OnnxStreams):
    """Two sets of state arrays take turns as input and output, so a step copies and allocates nothing."""

    def __init__(self, graph: OnnxGraph) -> None:
        super().__init__(graph, 1)
        self._states = [self._new_state(1) for _ in range(2)]
        self._turn = 0
        self._bindings = [
            self._bind(self.inputs, self._states[turn], self._states[1 - turn], self.output) for turn in range(2)
        ]

    def _step(self, rows: Rows | None) -> None:
        self._graph.session.run_with_iobinding(self._bindings[self._turn])
        self._turn = 1 - self._turn

    def state(self, row: int) -> list[Float32Array]:
        return [array[row].copy() for array in self._states[self._turn]]

    def restore(self, row: int, state: Sequence[Float32Array]) -> None:
        for mine, theirs in zip(self._states[self._turn], state, strict=True):
            np.copyto(mine[row], theirs)


class _ManyStreams(_OnnxStreams):
    """Streams in step are run a few dozen at a time, gathered into one block where they do not lie side by side."""

    def __init__(self, graph: OnnxGraph, capacity: int) -> None:
        super().__init__(graph, capacity)
        most = min(capacity, graph.most_at_once)
        self._most = most
        self._state = self._new_state(capacity)
        self._after = self._new_state(most)
        self._gathered = self._new_state(most)
        self._gathered_inputs = self._new_inputs(most)
        self._gathered_output = np.zeros((most, *graph.output_shape), np.float32)
        self._everyone = np.arange(capacity)

    def _step(self, rows: Rows | None) -> None:
        rows = self._everyone if rows is None else rows
        for start in range(0, len(rows), self._most):
            some = rows[start : start + self._most]
            first, count = int(some[0]), len(some)
            if int(some[-1]) - first == count - 1:
                self._step_neighbours(slice(first, first + count), count)
            else:
                self._step_scattered(some, count)

    def _step_neighbours(self, rows: slice, count: int) -> None:
        before, after = [array[rows] for array in self._state], [array[:count] for array in self._after]
        inputs = {name: array[rows] for name, array in self.inputs.items()}
        self._graph.session.run_with_iobinding(self._bind(inputs, before, after, self.output[rows]))
        for mine, new in zip(before, after, strict=True):
            np.copyto(mine, new)

    def _step_scattered(self, rows: Rows, count: int) -> None:
        # mode="clip": with the default, numpy gathers into an array of its own first.
        inputs = {name: array[:count] for name, array in self._gathered_inputs.items()}
        for name, array in inputs.items():
            np.take(self.inputs[name], rows, axis=0, out=array, mode="clip")
        before, after = [array[:count] for array in self._gathered], [array[:count] for array in self._after]
        for array, mine in zip(before, self._state, strict=True):
            np.take(mine, rows, axis=0, out=array, mode="clip")
        output = self._gathered_output[:count]
        self._graph.session.run_with_iobinding(self._bind(inputs, before, after, output))
        self.output[rows] = output
        for mine, new in zip(self._state, after, strict=True):
            mine[rows] = new

    def state(self, row: int) -> list[Float32Array]:
        return [array[row].copy() for array in self._state]

    def restore(self, row: int, state: Sequence[Float32Array]) -> None:
        for mine, theirs in zip(self._state, state, strict=True):
            np.copyto(mine[row], theirs)
