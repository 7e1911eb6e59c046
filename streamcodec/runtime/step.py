"""The interface that every backend implements: a network stepped frame by frame, with explicit state.

A :class:`StepGraph` is a loaded network, shared by all streams of a process. :class:`StepStreams` holds what a fixed
number of streams remember, as arrays of shape ``[capacity, ...]`` whose rows are the streams, and steps any of them
at once. :class:`StepRow` is one of them, as a codec sees it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
Rows = NDArray[np.int64]
THREADS_PER_STREAM = 1


class StepStreams(ABC):
    """State and buffers of ``capacity`` streams: fill rows of :attr:`inputs`, :meth:`step`, read :attr:`output`.

    The arrays stay where they are, so views of their rows may be kept.

    Shape: every input, and output, ``[capacity, ...]``.
    """

    capacity: int
    inputs: Mapping[str, NDArray[Any]]
    output: Float32Array

    def step(self, rows: Rows | None = None) -> None:
        """Run the network once for these streams (all of them unless said); the others stay as they are.

        Shape: rows ``[n]``, ascending, without repetition.
        """
        self._step(rows)

    @abstractmethod
    def _step(self, rows: Rows | None) -> None: ...

    @abstractmethod
    def state(self, row: int) -> list[Float32Array]:
        """A copy of one stream's state, the same arrays whatever the backend.

        Shape: each ``[frames, dim]``.
        """

    @abstractmethod
    def restore(self, row: int, state: Sequence[Float32Array]) -> None:
        """Give one stream a state that :meth:`state` returned, here or on another backend."""

    def row(self, row: int) -> StepRow:
        """One of the streams."""
        return StepRow(self, row)


class StepGraph(ABC):
    """A loaded network, shared by all streams of a process; holds no stream state."""

    state_shapes: list[tuple[int, ...]]
    """Of one stream: each ``(frames, dim)``."""

    @abstractmethod
    def new_streams(self, capacity: int) -> StepStreams:
        """So many streams at the zero state."""

    def new_stream(self) -> StepRow:
        """One stream alone."""
        return self.new_streams(1).row(0)


class StepRow:
    """One stream: fill :attr:`inputs`, call :meth:`step`, read :attr:`output`.

    Shape: every input, and output, ``[1, ...]``.
    """

    def __init__(self, streams: StepStreams, row: int) -> None:
        self.inputs = {name: array[row : row + 1] for name, array in streams.inputs.items()}
        self.output: Float32Array = streams.output[row : row + 1]
        self._streams = streams
        self._row = row
        self._rows = None if streams.capacity == 1 else np.array([row], np.int64)

    def step(self) -> None:
        """Run the network once on :attr:`inputs`; the result is in :attr:`output`."""
        self._streams.step(self._rows)

    def state(self) -> list[Float32Array]:
        """A copy of the carried state."""
        return self._streams.state(self._row)

    def restore(self, state: Sequence[Float32Array]) -> None:
        """Take over a state that :meth:`state` returned."""
        self._streams.restore(self._row, state)

    def reset(self) -> None:
        """Back to the zero state."""
        self._streams.restore(self._row, [np.zeros_like(array) for array in self.state()])
