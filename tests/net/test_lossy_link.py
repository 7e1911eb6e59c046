from __future__ import annotations

import asyncio

import pytest

from streamcodec.errors import StreamcodecError
from streamcodec.net.loss_models import GilbertElliott, GilbertElliottConfig, PatternLoss
from streamcodec.net.lossy_link import LinkConfig, LossyLink, LossyUdpProxy


def deliver(link: LossyLink, count: int, size: int = 100, spacing_ms: float = 20.0) -> list[tuple[float, int]]:
    for index in range(count):
        link.send(index.to_bytes(4, "big") + bytes(size - 4), index * spacing_ms)
    return [(at, int.from_bytes(data[:4], "big")) for at, data in link.receive(1e9)]


def test_delay_and_nothing_else() -> None:
    link = LossyLink(LinkConfig(delay_ms=30.0))
    assert deliver(link, 5) == [(30.0 + 20 * i, i) for i in range(5)]
    assert link.next_arrival_ms is None


def test_only_what_has_arrived_is_received() -> None:
    link = LossyLink(LinkConfig(delay_ms=30.0))
    link.send(b"a", 0.0)
    link.send(b"b", 20.0)
    assert link.receive(29.9) == []
    assert link.next_arrival_ms == 30.0
    assert link.receive(30.0) == [(30.0, b"a")]
    assert link.receive(100.0) == [(50.0, b"b")]


def test_jitter_reorders_only_where_allowed() -> None:
    shuffled = deliver(LossyLink(LinkConfig(jitter_ms=80.0), seed=4), 200)
    assert [index for _, index in shuffled] != list(range(200))
    ordered = deliver(LossyLink(LinkConfig(jitter_ms=80.0, reorder=False), seed=4), 200)
    assert [index for _, index in ordered] == list(range(200))
    assert all(20.0 <= at - 20 * index <= 100.0 for at, index in shuffled)


def test_loss_and_duplication_are_counted() -> None:
    link = LossyLink(LinkConfig(duplicate_rate=0.1), GilbertElliott(GilbertElliottConfig(0.1, 2.0), seed=1), seed=2)
    arrived = deliver(link, 5_000)
    stats = link.stats
    assert stats.sent == 5_000
    assert stats.delivered == len(arrived) == stats.sent - stats.lost + stats.duplicated
    assert stats.lost == pytest.approx(500, rel=0.2)
    assert stats.duplicated == pytest.approx(450, rel=0.2)


def test_a_bottleneck_queues_and_then_drops() -> None:
    # 100 + 28 bytes at 25.6 kbps take 40 ms each; one is sent every 20 ms.
    link = LossyLink(LinkConfig(delay_ms=0.0, rate_bps=25_600.0, queue_ms=100.0))
    arrived = deliver(link, 100)
    waits = [at - 20.0 * index for at, index in arrived]
    assert waits[0] == pytest.approx(40.0)
    assert max(waits) <= 140.0
    assert link.stats.overflowed == pytest.approx(50, abs=4)


def test_nonsense_is_refused() -> None:
    with pytest.raises(StreamcodecError, match="duplicate_rate"):
        LinkConfig(duplicate_rate=2.0)
    with pytest.raises(StreamcodecError, match="rate_bps"):
        LinkConfig(rate_bps=0.0)


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.transport.sendto(b"echo " + data, addr)  # type: ignore[attr-defined]


def test_the_udp_proxy_carries_both_ways_and_loses_what_it_should() -> None:
    async def run() -> tuple[list[bytes], LossyLink]:
        loop = asyncio.get_running_loop()
        server, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
        forward = LossyLink(LinkConfig(delay_ms=1.0), PatternLoss("..x"))
        backward = LossyLink(LinkConfig(delay_ms=1.0, reorder=False))
        heard: asyncio.Queue[bytes] = asyncio.Queue()

        class Client(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: object) -> None:
                heard.put_nowait(data)

        async with LossyUdpProxy(server.get_extra_info("sockname"), forward, backward) as proxy:
            client, _ = await loop.create_datagram_endpoint(Client, remote_addr=proxy.address)
            out = []
            for index in range(10):
                client.sendto(b"%d" % index)
                if index % 3 != 2:
                    out.append(await asyncio.wait_for(heard.get(), 5))
            client.close()
        server.close()
        return out, forward

    out, forward = asyncio.run(run())
    assert out == [b"echo %d" % index for index in range(10) if index % 3 != 2]
    assert forward.stats.lost == 3
