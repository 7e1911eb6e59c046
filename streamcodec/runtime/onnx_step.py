"""One ONNX graph stepped packet by packet: fixed buffers in, fixed buffers out, state carried between calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
STATE_PREFIX = "state"
NEXT_STATE_PREFIX = "next_state"
PROVIDERS = ("CPUExecutionProvider",)
THREADS_PER_STREAM = 1


class StepGraph:
    """A loaded graph; shared by all streams of a process, holds no stream state.

    The graph's inputs are named values plus ``state0..N``; its outputs are ``output`` plus ``next_state0..N``.
    """

    def __init__(self, path: Path, threads: int = THREADS_PER_STREAM) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(str(path), sess_options=options, providers=list(PROVIDERS))
        inputs = {i.name: (tuple(i.shape), i.type) for i in self.session.get_inputs()}
        self.state_shapes = [
            inputs[f"{STATE_PREFIX}{k}"][0] for k in range(sum(name.startswith(STATE_PREFIX) for name in inputs))
        ]
        self.input_shapes = {n: v for n, v in inputs.items() if not n.startswith(STATE_PREFIX)}
        self.output_shape: tuple[int, ...] = next(
            tuple(o.shape) for o in self.session.get_outputs() if o.name == "output"
        )

    def new_stream(self) -> StepStream:
        """A stream at the zero state."""
        return StepStream(self)


_DTYPES: dict[str, np.dtype[Any]] = {"tensor(float)": np.dtype(np.float32), "tensor(int64)": np.dtype(np.int64)}


class StepStream:
    """State and buffers of one stream: fill :attr:`inputs`, call :meth:`step`, read :attr:`output`.

    Two sets of state arrays take turns as input and output, so a step copies and allocates nothing.
    """

    def __init__(self, graph: StepGraph) -> None:
        self._graph = graph
        self.inputs: dict[str, NDArray[Any]] = {
            name: np.zeros(shape, dtype=_DTYPES[kind]) for name, (shape, kind) in graph.input_shapes.items()
        }
        self.output: Float32Array = np.zeros(graph.output_shape, dtype=np.float32)
        self._states = [[np.zeros(s, dtype=np.float32) for s in graph.state_shapes] for _ in range(2)]
        self._turn = 0
        self._bindings = [self._bind(self._states[0], self._states[1]), self._bind(self._states[1], self._states[0])]

    def _bind(self, before: Sequence[Float32Array], after: Sequence[Float32Array]) -> onnxruntime.IOBinding:
        binding = self._graph.session.io_binding()
        for name, array in self.inputs.items():
            binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for k, array in enumerate(before):
            binding.bind_input(f"{STATE_PREFIX}{k}", "cpu", 0, np.float32, array.shape, array.ctypes.data)
        binding.bind_output("output", "cpu", 0, np.float32, self.output.shape, self.output.ctypes.data)
        for k, array in enumerate(after):
            binding.bind_output(f"{NEXT_STATE_PREFIX}{k}", "cpu", 0, np.float32, array.shape, array.ctypes.data)
        return binding

    def step(self) -> None:
        """Run the graph once on :attr:`inputs`; the result is in :attr:`output`."""
        self._graph.session.run_with_iobinding(self._bindings[self._turn])
        self._turn = 1 - self._turn

    def state(self) -> list[Float32Array]:
        """A copy of the carried state."""
        return [array.copy() for array in self._states[self._turn]]

    def restore(self, state: Sequence[Float32Array]) -> None:
        """Take over a state that :meth:`state` returned."""
        for mine, theirs in zip(self._states[self._turn], state, strict=True):
            np.copyto(mine, theirs)

    def reset(self) -> None:
        """Back to the zero state."""
        for array in self._states[self._turn]:
            array.fill(0.0)
