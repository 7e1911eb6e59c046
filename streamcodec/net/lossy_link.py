"""A bad network in user space: delay, jitter, loss, duplication, reordering and a bottleneck with a finite queue.

:class:`LossyLink` is one direction on the caller's clock. :class:`LossyUdpProxy` puts two of them between a UDP
client and a UDP server, for kernels without ``netem``.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from streamcodec.codec.options import check_fields, check_number
from streamcodec.errors import StreamcodecError
from streamcodec.net.loss_models import LossModel, NoLoss

UDP_HEADER_BYTES = 28
"""IPv4 and UDP; counted against the bottleneck."""


@dataclass(frozen=True, slots=True)
class LinkConfig:
    """One direction of a network."""

    delay_ms: float = 20.0
    jitter_ms: float = 0.0
    """Extra delay, uniform between 0 and this."""
    reorder: bool = True
    """Whether jitter may let a datagram overtake another."""
    duplicate_rate: float = 0.0
    rate_bps: float | None = None
    """Bottleneck, headers included; None for none."""
    queue_ms: float = 200.0
    """The bottleneck drops what would wait longer."""
    header_bytes: int = UDP_HEADER_BYTES
    capacity_datagrams: int = 10_000

    def __post_init__(self) -> None:
        check_fields(self, StreamcodecError, "reorder", "rate_bps")
        if self.duplicate_rate > 1.0:
            raise StreamcodecError(f"duplicate_rate must be 0 to 1, got {self.duplicate_rate}")
        if self.rate_bps is not None and check_number("rate_bps", self.rate_bps, StreamcodecError) <= 0:
            raise StreamcodecError(f"rate_bps must be positive, got {self.rate_bps}")


@dataclass(slots=True)
class LinkStats:
    """What became of the datagrams sent."""

    sent: int = 0
    lost: int = 0
    overflowed: int = 0
    duplicated: int = 0
    delivered: int = 0


@dataclass
class LossyLink:
    """One direction: put datagrams in with :meth:`send`, take those that have arrived with :meth:`receive`."""

    config: LinkConfig = field(default_factory=LinkConfig)
    loss: LossModel = field(default_factory=NoLoss)
    seed: int = 0
    stats: LinkStats = field(default_factory=LinkStats)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._in_flight: list[tuple[float, int, bytes]] = []
        self._order = 0
        self._busy_until_ms = 0.0
        self._last_arrival_ms = 0.0

    @property
    def next_arrival_ms(self) -> float | None:
        """When the next datagram arrives; None when nothing is on its way."""
        return self._in_flight[0][0] if self._in_flight else None

    def send(self, datagram: bytes, now_ms: float) -> None:
        """Put a datagram on the link."""
        self.stats.sent += 1
        leaves_ms = self._leave_bottleneck(len(datagram), now_ms)
        if leaves_ms is None or len(self._in_flight) >= self.config.capacity_datagrams:
            self.stats.overflowed += 1
            return
        if self.loss.lost():
            self.stats.lost += 1
            return
        self._deliver(datagram, leaves_ms)
        if self._random.random() < self.config.duplicate_rate:
            self.stats.duplicated += 1
            self._deliver(datagram, leaves_ms)

    def receive(self, now_ms: float) -> list[tuple[float, bytes]]:
        """Everything that has arrived by ``now_ms``, as (arrival time in ms, datagram)."""
        arrived = []
        while self._in_flight and self._in_flight[0][0] <= now_ms:
            arrival_ms, _, datagram = heapq.heappop(self._in_flight)
            arrived.append((arrival_ms, datagram))
        self.stats.delivered += len(arrived)
        return arrived

    def _leave_bottleneck(self, size_bytes: int, now_ms: float) -> float | None:
        if self.config.rate_bps is None:
            return now_ms
        start_ms = max(now_ms, self._busy_until_ms)
        if start_ms - now_ms > self.config.queue_ms:
            return None
        self._busy_until_ms = start_ms + 8_000.0 * (size_bytes + self.config.header_bytes) / self.config.rate_bps
        return self._busy_until_ms

    def _deliver(self, datagram: bytes, leaves_ms: float) -> None:
        arrival_ms = leaves_ms + self.config.delay_ms + self._random.uniform(0.0, self.config.jitter_ms)
        if not self.config.reorder:
            arrival_ms = max(arrival_ms, self._last_arrival_ms)
        self._last_arrival_ms = arrival_ms
        heapq.heappush(self._in_flight, (arrival_ms, self._order, datagram))
        self._order += 1


Address = tuple[str | Any, int]


class _Socket(asyncio.DatagramProtocol):
    def __init__(self, received: Callable[[bytes, Address], None]) -> None:
        self._received = received

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._received(data, addr)


class _Direction:
    """Runs one link on the event loop's clock and hands what arrives to ``deliver``."""

    def __init__(self, link: LossyLink, deliver: Callable[[bytes], None]) -> None:
        self._link = link
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def send(self, datagram: bytes) -> None:
        self._link.send(datagram, self._loop.time() * 1000.0)
        self._arm()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        next_ms = self._link.next_arrival_ms
        self._timer = None if next_ms is None else self._loop.call_at(next_ms / 1000.0, self._flush)

    def _flush(self) -> None:
        self._timer = None
        for _, datagram in self._link.receive(self._loop.time() * 1000.0 + 0.1):
            self._deliver(datagram)
        self._arm()


class LossyUdpProxy:
    """Forwards UDP between one client at a time and ``target``, through one link each way.

    Use: ``async with LossyUdpProxy(("127.0.0.1", 5004), forward, backward) as proxy:`` and send to ``proxy.address``.
    """

    def __init__(self, target: Address, forward: LossyLink, backward: LossyLink, host: str = "127.0.0.1") -> None:
        self._target = target
        self._links = (forward, backward)
        self._host = host
        self._client: Address | None = None

    @property
    def address(self) -> Address:
        """Where the client sends to."""
        name: Address = self._near.get_extra_info("sockname")[:2]
        return name

    async def __aenter__(self) -> LossyUdpProxy:
        loop = asyncio.get_running_loop()
        self._forward = _Direction(self._links[0], self._to_target)
        self._backward = _Direction(self._links[1], self._to_client)
        self._near, _ = await loop.create_datagram_endpoint(
            lambda: _Socket(self._from_client), local_addr=(self._host, 0)
        )
        self._far, _ = await loop.create_datagram_endpoint(
            lambda: _Socket(lambda data, _: self._backward.send(data)), remote_addr=self._target
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._forward.close()
        self._backward.close()
        self._near.close()
        self._far.close()

    def _from_client(self, data: bytes, address: Address) -> None:
        self._client = address
        self._forward.send(data)

    def _to_target(self, data: bytes) -> None:
        self._far.sendto(data)

    def _to_client(self, data: bytes) -> None:
        if self._client is not None:
            self._near.sendto(data, self._client)
