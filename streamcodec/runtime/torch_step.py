"""Networks stepped by torch: on the CPU as the reference, on a GPU as one CUDA graph over static buffers.

Loaded only when a torch backend is chosen. Inputs and output lie in host memory (pinned for a GPU) and are copied
to and from static device tensors; the network always runs over all rows, and a mask keeps the state of those that
are not in step, so that nothing is ever allocated or captured anew.

The CUDA graph follows the rules of torch's notes on CUDA graphs: warmed up on a side stream, captured once, replayed
on buffers whose addresses never change, with no wait for the GPU inside. It was written without a GPU at hand: the
CPU runs all of it but the capture itself, which the tests do with stand-ins; on a GPU the tests of parity run it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from streamcodec.models.config import NeuralConfig
from streamcodec.models.step_modules import DecoderStep, EncoderStep, empty_decoder_step, empty_encoder_step
from streamcodec.models.torch_weights import load_weights
from streamcodec.models.weights import Weights
from streamcodec.runtime.step import THREADS_PER_STREAM, Float32Array, Rows, StepGraph, StepStreams

WARM_UP_STEPS = 3


class TorchGraph(StepGraph):
    """A step module on a device, with the weights of a model.

    ``threads`` are those of torch on the CPU while a step runs; what the process has set comes back after it.
    """

    def __init__(
        self, module: EncoderStep | DecoderStep, weights: Weights, device: str, threads: int = THREADS_PER_STREAM
    ) -> None:
        load_weights(module, weights)
        self.device = torch.device(device)
        self.module = module.eval().requires_grad_(False).to(self.device)
        self.threads = threads
        self.state_shapes = [tuple(s.shape[1:]) for s in self.module.initial_state(1)]

    @classmethod
    def encoder(cls, config: NeuralConfig, weights: Weights, device: str, threads: int) -> TorchGraph:
        """The encoder network."""
        return cls(empty_encoder_step(config), weights, device, threads)

    @classmethod
    def decoder(cls, config: NeuralConfig, weights: Weights, device: str, threads: int) -> TorchGraph:
        """The decoder network."""
        return cls(empty_decoder_step(config), weights, device, threads)

    def new_streams(self, capacity: int) -> StepStreams:
        """So many streams at the zero state."""
        return _TorchStreams(self, capacity)


class _TorchStreams(StepStreams):
    def __init__(self, graph: TorchGraph, capacity: int) -> None:
        self.capacity = capacity
        self._module, self._device, self._threads = graph.module, graph.device, graph.threads
        on_gpu = self._device.type == "cuda"
        examples = self._module.inputs(capacity)
        self._host_inputs = {n: torch.zeros(v.shape, dtype=v.dtype, pin_memory=on_gpu) for n, v in examples.items()}
        self.inputs = {name: host.numpy() for name, host in self._host_inputs.items()}
        self._inputs = {name: host.to(self._device, copy=True) for name, host in self._host_inputs.items()}
        self._state = self._module.initial_state(capacity)
        self._host_mask = torch.zeros(capacity, 1, 1, dtype=torch.bool, pin_memory=on_gpu)
        self._mask = self._host_mask.to(self._device, copy=True)
        with torch.no_grad(), _threads(self._threads):
            example = self._module(*self._inputs.values(), *self._state)[0]
        self._output = torch.zeros_like(example)
        self._host_output = torch.zeros(example.shape, pin_memory=on_gpu)
        self.output: Float32Array = self._host_output.numpy()
        self._advance: Callable[[], None] = self._captured() if on_gpu else self._forward

    def _forward(self) -> None:
        """One step of all rows on the device's buffers; rows that the mask leaves out keep their state."""
        output, *after = self._module(*self._inputs.values(), *self._state)
        self._output.copy_(output)
        for mine, new in zip(self._state, after, strict=True):
            mine.copy_(torch.where(self._mask, new, mine))

    def _captured(self) -> Callable[[], None]:
        """:meth:`_forward` as a CUDA graph. The mask is empty meanwhile, so that the state stays zero."""
        with torch.cuda.device(self._device), torch.no_grad():
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_UP_STEPS):
                    self._forward()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # Other threads may be stepping streams of theirs, which must not spoil this capture.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._forward()
        replay: Callable[[], None] = graph.replay
        return replay

    @torch.no_grad()
    def _step(self, rows: Rows | None) -> None:
        if rows is None:
            self._host_mask.fill_(True)
        else:
            self._host_mask.zero_()
            self._host_mask.numpy()[rows] = True
        with _threads(self._threads):
            self._mask.copy_(self._host_mask, non_blocking=True)
            for name, host in self._host_inputs.items():
                self._inputs[name].copy_(host, non_blocking=True)
            self._advance()
            self._host_output.copy_(self._output, non_blocking=True)
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()

    def state(self, row: int) -> list[Float32Array]:
        return [tensor[row].cpu().numpy().copy() for tensor in self._state]

    @torch.no_grad()
    def restore(self, row: int, state: Sequence[Float32Array]) -> None:
        for mine, theirs in zip(self._state, state, strict=True):
            mine[row].copy_(torch.from_numpy(np.ascontiguousarray(theirs)))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if before == count:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
