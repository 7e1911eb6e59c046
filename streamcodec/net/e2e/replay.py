"""Which numbers have come: each may come once, and none that is too far behind the highest."""

from __future__ import annotations

from streamcodec.net.e2e.sframe import SealError

WINDOW = 1_024


class ReplayWindow:
    """Of one sender's counters; those below ``first`` count as seen."""

    __slots__ = ("_first", "_seen", "highest")

    def __init__(self, first: int = 0) -> None:
        self._first = first
        self._seen = 0
        """Bit i: ``highest - i`` has come."""
        self.highest = first - 1

    def check(self, counter: int) -> None:
        """Errors: SealError for one that has come already, or is too old to tell. Changes nothing."""
        behind = self.highest - counter
        if counter < self._first or (behind >= 0 and (behind >= WINDOW or self._seen >> behind & 1)):
            raise SealError("replayed, or came too late to tell")

    def mark(self, counter: int) -> None:
        """It has come, and was genuine."""
        ahead = counter - self.highest
        if ahead > 0:
            self._seen = (self._seen << ahead if ahead < WINDOW else 0) & ((1 << WINDOW) - 1) | 1
            self.highest = counter
        else:
            self._seen |= 1 << -ahead
