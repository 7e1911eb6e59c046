"""Rooms of EndToEnd on a simulated clock, with a relay that does what a test tells it to."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from streamcodec.net.e2e import EndToEnd, SealError, SealState

SECRET = bytes(range(32))
Signal = tuple[str, str, dict[str, Any]]


class Relay:
    """Passes signals; ``tamper`` sees each (source, destination, data) and gives what is passed in its place."""

    def __init__(self, tamper: Callable[[Signal], list[Signal]] = lambda signal: [signal]) -> None:
        self.now_s = 1_000.0
        self.tamper = tamper
        self.people: dict[str, EndToEnd] = {}
        self.seen: list[Signal] = []
        self.told: list[tuple[str, str, SealState]] = []
        """(who was told, about whom, what)."""
        self.signals: dict[str, list[dict[str, Any]]] = {}
        self._queue: deque[Signal] = deque()

    def join(self, who: str, secret: bytes | None = SECRET, room: str = "room", bitstream: str = "") -> EndToEnd:
        """Let somebody in; everybody is told of everybody."""
        person = EndToEnd(
            secret,
            room,
            lambda to, data: self._queue.append((who, to, data)),
            name=who.title(),
            bitstream=bitstream,
            clock_s=lambda: self.now_s,
            on_state=lambda about, state: self.told.append((who, about, state)),
        )
        others = dict(self.people)
        self.people[who] = person
        self.signals[who] = []
        for name, other in others.items():
            person.meet(name)
            other.meet(who)
        self.settle()
        return person

    def leave(self, who: str) -> None:
        """Somebody goes, and the others are told."""
        del self.people[who]
        for other in self.people.values():
            other.forget(who)
        self.settle()

    def settle(self) -> None:
        """Deliver until nobody has anything more to say."""
        while self._queue:
            signal = self._queue.popleft()
            self.seen.append(signal)
            for source, destination, data in self.tamper(signal):
                if destination in self.people:
                    self.signals[destination] += self.people[destination].hear(source, data)

    def run(self, seconds: float, step_s: float = 0.25) -> None:
        """Let time pass."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s += step_s
            for person in list(self.people.values()):
                person.tick()
            self.settle()

    def states(self) -> set[SealState]:
        """How everybody stands with everybody."""
        return {person.state(other) for who, person in self.people.items() for other in self.people if other != who}


def hears(relay: Relay, listener: str, speaker: str) -> bool:
    """Whether what the speaker seals for everybody is opened by the listener."""
    text = b"%d" % random.getrandbits(64)
    try:
        return relay.people[listener].open_media(speaker, relay.people[speaker].seal_media(text)) == text
    except SealError:
        return False
