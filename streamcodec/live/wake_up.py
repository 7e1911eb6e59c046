"""How a callback wakes a thread without ever waiting for it."""

from __future__ import annotations

import threading


class WakeUp:
    """One thread rings, one waits; ringing twice before the other has heard it counts once.

    A lock that is held while nobody has rung: to ring is to release it, which never blocks. An Event or Condition
    would take an inner lock, and a callback could then be held up by the very thread that it wakes.
    """

    def __init__(self) -> None:
        self._quiet = threading.Lock()
        self._quiet.acquire()

    def ring(self) -> None:
        """Wake the waiting thread; from one thread only, never blocks."""
        if self._quiet.locked():
            self._quiet.release()

    def wait(self, timeout_s: float) -> bool:
        """Return True once rung, False after the timeout."""
        return self._quiet.acquire(timeout=timeout_s)
