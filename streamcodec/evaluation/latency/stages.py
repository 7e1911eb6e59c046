"""Time spent in each stage of the path: a model whose stages tell a clock what they took."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from streamcodec.codec.neural.model import NeuralModel
from streamcodec.codec.neural.stages import Stages

ENCODE_STAGES = ("resample", "stft", "network", "entropy", "packet")
DECODE_STAGES = ("packet", "entropy", "network", "render", "resample")
STAGES = (*(f"encode.{s}" for s in ENCODE_STAGES), *(f"decode.{s}" for s in DECODE_STAGES))
"""In the order of the signal: resampling in; low cut, voicing, lift, STFT and companding; encoder network; quantising
and range coding; packet out; packet in; range decoding; decoder network; noise, expansion and inverse STFT;
resampling out."""

STAGE_OF_CALL = {
    "resample": "resample",
    "take_frame": "stft",
    "step": "network",
    "cost": "entropy",
    "code": "entropy",
    "read_indices": "entropy",
    "render": "render",
}


class StageClock:
    """Seconds per stage since :meth:`take`; :attr:`side` says whose stage a call counts for.

    ``slow_down`` makes a stage (a name of :data:`STAGES`) wait for so many times its own duration after each call,
    to prove that a check notices.
    """

    def __init__(self, slow_down: dict[str, float] | None = None) -> None:
        self.side = "encode"
        self._slow_down = slow_down or {}
        self._seconds = dict.fromkeys(STAGES, 0.0)

    def take(self) -> dict[str, float]:
        """What was counted since the last call, in seconds."""
        taken = self._seconds
        self._seconds = dict.fromkeys(STAGES, 0.0)
        return taken

    def trace(self, model: NeuralModel) -> NeuralModel:
        """The same model, whose coders report every stage to this clock; other models go on untold."""
        calls = {name: self.timed(stage, getattr(model.stages, name)) for name, stage in STAGE_OF_CALL.items()}
        return replace(model, stages=Stages(**calls))

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, its time counted as ``stage`` of the side that the clock is on."""

        def call(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            result = function(*arguments, **named)
            now = time.perf_counter()
            name = f"{self.side}.{stage}"
            if self._slow_down:
                until = now + (now - began) * self._slow_down.get(name, 0.0)
                while now < until:
                    now = time.perf_counter()
            self._seconds[name] = self._seconds.get(name, 0.0) + now - began
            return result

        return call
