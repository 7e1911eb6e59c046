"""Networks stepped by kernels of this project's own: one compiled call for a network and all streams in step.

The kernels are in ``native_dsp.networks.codec_networks``. What streams remember lies in one array per trunk, a row
for each stream, and moves on where it lies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from native_dsp.kernel_arguments import bundle_arguments
from native_dsp.networks import codec_networks as networks
from native_dsp.networks.causal_trunk import Trunk, history_frames
from streamcodec.models.config import NeuralConfig
from streamcodec.models.packed_weights import pack_decoder, pack_encoder
from streamcodec.models.weights import Weights
from streamcodec.runtime.step import Float32Array, Rows, StepGraph, StepStreams


class CompiledGraph(StepGraph):
    """A network's packed weights, and how to make streams of it."""

    def __init__(
        self,
        weights: networks.EncoderWeights | networks.DecoderWeights,
        trunks: Sequence[tuple[Trunk, int]],
        new_streams: Callable[[CompiledGraph, int], StepStreams],
    ) -> None:
        """``trunks`` with the frames that each makes in a step, in the order of the state."""
        self.weights = weights
        self.trunks = trunks
        self.state_shapes = [
            (frames.stop - frames.start - step_frames, trunk.taps.shape[2])
            for trunk, step_frames in trunks
            for frames in history_frames(trunk, step_frames)
        ]
        self._new_streams = new_streams

    @classmethod
    def encoder(cls, config: NeuralConfig, stored: Weights) -> CompiledGraph:
        """The encoder network."""
        weights = pack_encoder(config, stored)
        trunks = [(weights.hop_trunk, config.hops_per_frame), (weights.packet_trunk, 1)]
        return cls(weights, trunks, lambda graph, capacity: _EncoderStreams(graph, config, weights, capacity))

    @classmethod
    def decoder(cls, config: NeuralConfig, stored: Weights) -> CompiledGraph:
        """The decoder network."""
        weights = pack_decoder(config, stored)
        trunks = [(weights.packet_trunk, 1), (weights.hop_trunk, config.hops_per_frame)]
        return cls(weights, trunks, lambda graph, capacity: _DecoderStreams(graph, config, weights, capacity))

    def new_streams(self, capacity: int) -> StepStreams:
        """So many streams at the zero state."""
        return self._new_streams(self, capacity)


class _CompiledStreams(StepStreams):
    """What both networks have in common: histories, and which of their frames are a stream's state."""

    _run: Callable[[Rows], None]

    def __init__(self, graph: CompiledGraph, capacity: int) -> None:
        self.capacity = capacity
        self._everyone = np.arange(capacity, dtype=np.int64)
        self._histories: list[Float32Array] = []
        self._remembered: list[Float32Array] = []
        for trunk, step_frames in graph.trunks:
            blocks = history_frames(trunk, step_frames)
            history = np.zeros((capacity, blocks[-1].stop, trunk.taps.shape[2]), np.float32)
            self._histories.append(history)
            self._remembered += [history[:, frames.start : frames.stop - step_frames] for frames in blocks]

    def _be_ready(self, run: Callable[[Rows], None]) -> None:
        """Compile, or load from the cache on disk, before sound flows: a step of no streams does it."""
        self._run = run
        run(self._everyone[:0])

    def _step(self, rows: Rows | None) -> None:
        rows = self._everyone if rows is None else rows
        for start in range(0, len(rows), networks.STREAMS_AT_ONCE):
            self._run(rows[start : start + networks.STREAMS_AT_ONCE])

    def state(self, row: int) -> list[Float32Array]:
        return [frames[row].copy() for frames in self._remembered]

    def restore(self, row: int, state: Sequence[Float32Array]) -> None:
        for mine, theirs in zip(self._remembered, state, strict=True):
            np.copyto(mine[row], theirs)


class _EncoderStreams(_CompiledStreams):
    def __init__(
        self, graph: CompiledGraph, config: NeuralConfig, weights: networks.EncoderWeights, capacity: int
    ) -> None:
        super().__init__(graph, capacity)
        companded = np.zeros((capacity, config.hops_per_frame, 2 * config.bins), np.float32)
        self.inputs: dict[str, Any] = {"companded": companded}
        self.output = np.zeros((capacity, 1, config.latents), np.float32)
        scratch = networks.make_encoder_scratch(weights, config.hops_per_frame, capacity)
        hop_history, packet_history = self._histories
        arguments = bundle_arguments(
            networks.EncoderStreams(weights, scratch, hop_history, packet_history, companded, self.output)
        )
        self._be_ready(partial(networks.step_encoder, arguments))


class _DecoderStreams(_CompiledStreams):
    def __init__(
        self, graph: CompiledGraph, config: NeuralConfig, weights: networks.DecoderWeights, capacity: int
    ) -> None:
        super().__init__(graph, capacity)
        latents = np.zeros((capacity, 1, config.latents), np.float32)
        quality_index = np.zeros((capacity, 1), np.int64)
        self.inputs: dict[str, Any] = {"latents": latents, "level": quality_index}
        self.output = np.zeros((capacity, config.hops_per_frame, 3 * config.bins), np.float32)
        scratch = networks.make_decoder_scratch(weights, config.hops_per_frame, capacity)
        packet_history, hop_history = self._histories
        arguments = bundle_arguments(
            networks.DecoderStreams(
                weights, scratch, packet_history, hop_history, latents, quality_index, self.output
            )
        )
        self._be_ready(partial(networks.step_decoder, arguments))
