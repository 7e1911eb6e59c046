"""Clients whose relay or network was gone for a while come back by themselves."""

from __future__ import annotations

import asyncio
import time

from streamcodec.net.relay.config import RelayConfig
from streamcodec.net.relay.server import Relay
from tests.helpers.relay import Seat, raw, run, until


def test_clients_come_back_within_two_seconds_of_the_relay() -> None:
    async def test() -> None:
        relay = Relay()
        await relay.start()
        port = relay.port
        async with Seat(relay.url) as ann, Seat(relay.url) as bob:
            await relay.close()
            await until(lambda: ann.peer is None and bob.peer is None)
            ann.send(b"into the void")
            assert ann.stats.dropped == 1
            await asyncio.sleep(0.6)
            back_s = time.monotonic()
            async with Relay(RelayConfig(port=port)) as relay:
                await until(lambda: len(ann.peers) == len(bob.peers) == 1, 2.0)
                assert time.monotonic() - back_s < 2.0
                ann.send(b"again")
                await until(lambda: bob.heard == [(ann.peer, b"again")])
                assert None in ann.events
                assert ann.stats.connects == 2

    run(test())


class Cable:
    """A TCP forwarder that can go dead without closing anything, as a network does."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._dead = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Cable:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.close()

    def cut(self) -> None:
        self._dead = True

    def mend(self) -> None:
        self._dead = False

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        if self._dead:
            return
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers.append(there_writer)
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        lost = False
        while data := await source.read(65_536):
            lost = lost or self._dead
            if not lost:
                sink.write(data)


def test_clients_come_back_within_two_seconds_of_a_dead_network() -> None:
    async def test() -> None:
        quick = {"ping_interval_s": 0.1, "ping_timeout_s": 0.3, "attempt_timeout_s": 0.4}
        async with (
            Relay() as relay,
            Cable(relay.port) as cable,
            Seat(relay.url) as ann,
            Seat(cable.url, **quick) as bob,
        ):
            cable.cut()
            await until(lambda: bob.peer is None)
            await asyncio.sleep(0.5)
            cable.mend()
            mended_s = time.monotonic()
            await until(lambda: bob.peer is not None, 2.0)
            assert time.monotonic() - mended_s < 2.0
            # The relay knew the session again and took it for no third person, though the old line never closed.
            assert relay.stats.participants == 2
            ann.send(b"again")
            await until(lambda: bob.heard == [(0, b"again")])

    run(test())


def test_a_client_that_is_replaced_gives_up() -> None:
    async def test() -> None:
        async with Relay() as relay, Seat(relay.url) as ann:
            thief = await raw(relay, session=ann._join.session)
            await until(lambda: ann.failed is not None)
            assert ann.failed is not None
            assert ann.failed.code == "replaced"
            await thief.close()

    run(test())


def test_what_was_sent_last_arrives_however_soon_one_leaves() -> None:
    async def test() -> None:
        async with Relay() as relay, Seat(relay.url) as listener:
            for hold_ms in (0.0, 30.0):
                async with Seat(relay.url) as leaving:
                    await until(lambda: len(listener.peers) == 1)
                    leaving._phase.hold_ms = hold_ms
                    leaving.send(b"goodbye")
                await until(lambda: len(listener.heard) == 1)
                listener.heard.clear()
                await until(lambda: not listener.peers)
            leaving = Seat(relay.url)
            await leaving.__aenter__()
            leaving.send(b"at once")
            await leaving.__aexit__()
            await until(lambda: [data for _, data in listener.heard] == [b"at once"])
            await until(lambda: not listener.peers)

    run(test())
