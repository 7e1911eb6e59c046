"""From sound to latents: analysis STFT, companding, and the encoder network, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from native_dsp.transforms.companding import analyse_companded
from native_dsp.transforms.stft import StftState
from streamcodec.codec.neural.model import NeuralModel
from streamcodec.runtime.step import StepRow

Float32Array = NDArray[np.float32]


@dataclass
class AnalysisState:
    """What :class:`LatentAnalysis` remembers."""

    stft: StftState
    network: list[Float32Array]


class LatentAnalysis:
    """Sound to latents: analysis STFT, companding, encoder network.

    ``stream`` is a row of a network stepped for many streams at once, by whoever calls :meth:`prepare` for each of
    them, then steps the network, then reads :attr:`latents`; alone, :meth:`step` does the three.
    """

    def __init__(self, runtime: NeuralModel, stream: StepRow | None = None) -> None:
        config = runtime.model.config
        self._stages = runtime.stages
        self._stft = runtime.new_stft()
        self._stream = stream or runtime.encoder.new_stream()
        self.companded: Float32Array = self._stream.inputs["companded"][0]
        """Spectra of the block prepared last, overwritten by the next; ``[hops, 2 * bins]``."""
        self.latents: Float32Array = self._stream.output.reshape(-1)
        """Of the last block, overwritten by the next; ``[latents]``."""
        self._re = np.zeros(config.bins, np.float32)
        self._im = np.zeros(config.bins, np.float32)

    def reset(self) -> None:
        """Back to the start of a stream."""
        self._stft.reset()
        self._stream.reset()

    def state(self) -> AnalysisState:
        """A copy of everything remembered."""
        return AnalysisState(self._stft.copy(), self._stream.state())

    def restore(self, state: AnalysisState) -> None:
        """Continue from a copied state."""
        self._stft = state.stft.copy()
        self._stream.restore(state.network)

    def parts(self) -> tuple[StftState, Float32Array, Float32Array, Float32Array]:
        """Arguments of ``analyse_companded`` beside the block, for who calls it in place of :meth:`prepare`."""
        return self._stft, self._re, self._im, self.companded

    def prepare(self, block: Float32Array) -> None:
        """Everything before the network.

        Shape: ``[frame_samples]``.
        """
        analyse_companded(self._stft, block, self._re, self._im, self.companded)

    def step(self, block: Float32Array) -> Float32Array:
        """Latents of one block; the array is overwritten by the next call.

        Shape: ``[frame_samples]`` -> ``[latents]``.
        """
        self.prepare(block)
        self._stages.step(self._stream)
        return self.latents
