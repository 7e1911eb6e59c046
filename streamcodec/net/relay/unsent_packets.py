"""Datagrams that a client has not read yet: a queue for each sender, so that who sends most is not heard most."""

from __future__ import annotations

from collections import deque


class UnsentPackets:
    """Framed datagrams by the number of their sender, oldest first."""

    def __init__(self) -> None:
        self._queues: dict[int, deque[bytes]] = {}
        self._count = 0

    def __len__(self) -> int:
        """Datagrams of all senders."""
        return self._count

    @property
    def senders(self) -> list[int]:
        """Who has some waiting."""
        return list(self._queues)

    def add(self, source: int, framed: bytes) -> None:
        """Let one wait."""
        self._queues.setdefault(source, deque()).append(framed)
        self._count += 1

    def take(self, source: int) -> bytes:
        """The oldest of a sender that has some."""
        queue = self._queues[source]
        self._count -= 1
        framed = queue.popleft()
        if not queue:
            del self._queues[source]
        return framed

    def drop_oldest(self) -> None:
        """Let go of the oldest of the sender with the most."""
        self.take(max(self._queues, key=lambda source: len(self._queues[source])))
