"""What a peer is to the run: something to call, and how much sound a call deals with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


class PeerUnavailable(Exception):  # noqa: N818 - a state of the machine, not a fault
    """A peer that is not installed here; the message says what is missing."""


@dataclass(frozen=True)
class Peer:
    """One row of the table."""

    name: str
    note: str
    sound_ms: float
    """Of a call."""
    calls: int
    """In one round: enough to be timed, few enough that the peers take turns often."""
    step: Callable[[], object]
