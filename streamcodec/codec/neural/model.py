"""A shipped model made ready to run: loaded graphs and entropy tables, shared by all streams of the process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from native_dsp.transforms.stft import StftState, make_stft
from native_dsp.transforms.windows import low_delay_pair
from streamcodec.codec.neural.entropy import CONTEXT_FRAMES, EntropyTables
from streamcodec.codec.neural.entropy_tables import checked_tables
from streamcodec.codec.neural.post_filter import PostFilter
from streamcodec.codec.neural.stages import UNTRACED, Stages
from streamcodec.errors import ModelError
from streamcodec.models.shipped import ShippedModel, load_model
from streamcodec.runtime.backend import Backend, Choice, choose, open_graphs
from streamcodec.runtime.step import THREADS_PER_STREAM, StepGraph

Int32Array = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class NeuralModel:
    """Everything about a model that does not change from frame to frame."""

    model: ShippedModel
    tables: EntropyTables
    post_filter: PostFilter
    encoder: StepGraph
    decoder: StepGraph
    choice: Choice
    """What steps the graphs, and why."""
    stages: Stages = UNTRACED
    """What coders call; others where time is measured."""

    def new_stft(self) -> StftState:
        """Analysis and synthesis state of one stream."""
        c = self.model.config
        analysis, synthesis = low_delay_pair(c.fft_samples, c.hop_samples, c.overlap_samples)
        return make_stft(c.fft_samples, c.hop_samples, analysis, synthesis, c.hop_samples + c.overlap_samples)


def load_runtime(name_or_folder: str, backend: Backend = "auto", threads: int = THREADS_PER_STREAM) -> NeuralModel:
    """Load a model once per process, backend and number of threads; raises ModelError or BackendError."""
    return _load_runtime(name_or_folder, choose(backend), threads)


@lru_cache(maxsize=4)
def _load_runtime(name_or_folder: str, choice: Choice, threads: int) -> NeuralModel:
    return open_runtime(load_model(name_or_folder), choice, threads)


def open_runtime(model: ShippedModel, choice: Choice | None = None, threads: int = THREADS_PER_STREAM) -> NeuralModel:
    """A model read already, made ready to run; raises ModelError or BackendError."""
    choice = choice or choose("auto")
    tables = checked_tables(model.config, model.entropy, model.name)
    post_filter = PostFilter(model.config, model.post_filter)
    try:
        post_filter.new_state()
    except ValueError as error:
        raise ModelError(f"the frames of model {model.name} do not fit its post-filter: {error}") from error
    encoder, decoder = open_graphs(choice, model, threads)
    return NeuralModel(model, tables, post_filter, encoder, decoder, choice)


def forget_models() -> None:
    """Read models anew when they are asked for next: where a folder's files have been replaced."""
    load_model.cache_clear()
    _load_runtime.cache_clear()


class LatentContext:
    """Fixed-point latents of the frames before, as far as the entropy model may use them.

    ``values`` holds the frame before, the one before that, and room for the one being coded; the entropy kernels move
    it on. ``frames`` is how many frames before may be used.
    """

    def __init__(self, latents: int) -> None:
        self.values: Int32Array = np.zeros((CONTEXT_FRAMES + 1) * latents, dtype=np.int32)
        self.frames = 0

    def forget(self) -> None:
        """What comes is predicted from nothing: a key packet."""
        self.values.fill(0)
        self.frames = 0

    def advance(self, frames: int) -> None:
        """So many frames have been coded."""
        self.frames = min(self.frames + frames, CONTEXT_FRAMES)

    def take(self, other: LatentContext) -> None:
        """Become a copy of another context, without allocating."""
        np.copyto(self.values, other.values)
        self.frames = other.frames

    def copy(self) -> LatentContext:
        """An independent copy."""
        twin = LatentContext(self.values.size // (CONTEXT_FRAMES + 1))
        twin.take(self)
        return twin
