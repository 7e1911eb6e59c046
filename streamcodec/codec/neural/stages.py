"""The calls that a packet goes through, stage by stage: the hook by which measuring tells what each of them takes.

Every coder calls these through its model, ``NeuralModel.stages``. Whoever measures gives a model others that do the
same and note the time; without that there is nothing in between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from streamcodec.codec.neural import entropy
from streamcodec.codec.neural.front_end import take_frame
from streamcodec.codec.neural.resample import BlockResampler
from streamcodec.codec.neural.synthesis import render
from streamcodec.runtime.step import StepRow


class Stages(NamedTuple):
    """In the order of the signal; each field is called like the function or method that it holds at first."""

    resample: Callable[..., Any] = BlockResampler.process
    take_frame: Callable[..., Any] = take_frame
    step: Callable[[StepRow], None] = StepRow.step
    cost: Callable[..., Any] = entropy.cost
    code: Callable[..., Any] = entropy.code
    read_indices: Callable[..., Any] = entropy.read_indices
    render: Callable[..., Any] = render


UNTRACED = Stages()
