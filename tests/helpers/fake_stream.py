"""A device's stream that only notes what is done to it, and waiting for what happens to it."""

from __future__ import annotations

import time
from collections.abc import Callable


class FakeStream:
    """Started, aborted and closed as PortAudio's may be; a test ends it by clearing ``active``."""

    latency = (0.01, 0.01)

    def __init__(self) -> None:
        self.active = False
        self.closed = False

    def start(self) -> None:
        self.active = True

    def abort(self) -> None:
        assert not self.closed, "PortAudio's stream is gone once closed"
        self.active = False

    def close(self) -> None:
        assert not self.closed
        self.closed = True


def look_until(look: Callable[[], object], done: Callable[[], bool]) -> None:
    """Look again and again until it is done or raises something, for at most 10 s."""
    until_s = time.monotonic() + 10.0
    while not done():
        assert time.monotonic() < until_s
        look()
        time.sleep(0.001)
