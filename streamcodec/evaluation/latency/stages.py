"""Time spent in each stage of the path, taken by stepping between the codec and the functions it calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from streamcodec.codec.neural import analysis as neural_analysis
from streamcodec.codec.neural import decoder as neural_decoder
from streamcodec.codec.neural import entropy
from streamcodec.codec.neural.resample import BlockResampler
from streamcodec.codec.packet import Packet
from streamcodec.runtime.step import StepStreams

ENCODE_STAGES = ("resample", "stft", "network", "entropy", "packet")
DECODE_STAGES = ("packet", "entropy", "network", "render", "resample")
STAGES = (*(f"encode.{s}" for s in ENCODE_STAGES), *(f"decode.{s}" for s in DECODE_STAGES))
"""In the order of the signal: resampling in; STFT and companding; encoder network; quantizing and range coding;
packet out; packet in; range decoding; decoder network; noise, expansion and inverse STFT; resampling out."""

_CALLS: tuple[tuple[str, Any, str], ...] = (
    ("resample", BlockResampler, "process"),
    ("stft", neural_analysis, "analyse_companded"),
    ("network", StepStreams, "step"),
    ("entropy", entropy, "cost"),
    ("entropy", entropy, "code"),
    ("entropy", entropy, "read_indices"),
    ("render", neural_decoder, "render"),
    ("packet", Packet, "to_bytes"),
    ("packet", Packet, "from_bytes"),
)


class StageClock:
    """Seconds per stage since :meth:`take`; :attr:`side` says whose stage a call counts for."""

    def __init__(self) -> None:
        self.side = "encode"
        self._seconds = dict.fromkeys(STAGES, 0.0)

    def add(self, stage: str, seconds: float) -> None:
        """Count a call of ``stage``."""
        self._seconds[f"{self.side}.{stage}"] += seconds

    def take(self) -> dict[str, float]:
        """What was counted since the last call, in seconds."""
        taken = self._seconds
        self._seconds = dict.fromkeys(STAGES, 0.0)
        return taken


@contextmanager
def timed_stages(clock: StageClock, slow_down: dict[str, float] | None = None) -> Iterator[None]:
    """While the block runs, every stage of every stream of this process reports to ``clock``.

    ``slow_down`` makes a stage (a name of :data:`STAGES`) wait for so many times its own duration after each call,
    to prove that a check notices.
    """
    originals = [(owner, name, vars(owner)[name]) for _, owner, name in _CALLS]
    for (stage, owner, name), (_, _, original) in zip(_CALLS, originals, strict=True):
        if isinstance(original, classmethod):
            setattr(owner, name, classmethod(_timed(original.__func__, stage, clock, slow_down or {})))
        else:
            setattr(owner, name, _timed(original, stage, clock, slow_down or {}))
    try:
        yield
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)


def _timed(
    function: Callable[..., Any], stage: str, clock: StageClock, slow_down: dict[str, float]
) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        result = function(*arguments, **named)
        now = time.perf_counter()
        if slow_down:
            until = now + (now - began) * slow_down.get(f"{clock.side}.{stage}", 0.0)
            while now < until:
                now = time.perf_counter()
        clock.add(stage, now - began)
        return result

    return call
