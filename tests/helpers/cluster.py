"""A backbone in memory for relays that share rooms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Wire:
    """What the backbones of one test have in common."""

    def __init__(self) -> None:
        self.ends: list[LocalBackbone] = []


class LocalBackbone:
    """A backbone within one process."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._topics: set[str] = set()
        self.cut = False

    async def start(self, on_message: Callable[[str, bytes], None]) -> None:
        self._on_message = on_message
        self._wire.ends.append(self)

    async def stop(self) -> None:
        self._wire.ends.remove(self)

    async def subscribe(self, topic: str) -> None:
        self._topics.add(topic)

    async def unsubscribe(self, topic: str) -> None:
        self._topics.discard(topic)

    def publish(self, topic: str, data: bytes) -> None:
        for end in self._wire.ends:
            if end is not self and topic in end._topics and not (self.cut or end.cut):
                asyncio.get_running_loop().call_soon(end._on_message, topic, data)
