"""A codec or transform against the clock: something to call, and how much sound a call deals with."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streamcodec.evaluation.errors import EvaluationError


class PeerMissingError(EvaluationError):
    """A peer that is not installed here; the message says what is missing."""


def peer_module(module: str, peer: str, install: str) -> Any:
    """A package that a peer needs. Errors: PeerMissingError, with what to install."""
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        raise PeerMissingError(f"{peer}: {error}; pip install {install}") from error


@dataclass(frozen=True)
class TimedPeer:
    """One row of the table."""

    name: str
    note: str
    sound_ms: float
    """Of a call."""
    calls: int
    """In one round: enough to be timed, few enough that the peers take turns often."""
    step: Callable[[], object]
