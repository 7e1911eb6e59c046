"""A relay in the open: floods, TLS handshakes, no descriptors left, tokens with grants, members that spoil."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from streamcodec.net.client import JoinError
from streamcodec.net.doorman import DoorConfig, Doorman
from streamcodec.net.gate import Gate, GateConfig, Visit
from streamcodec.net.metrics import MetricsServer
from streamcodec.net.relay.config import RelayConfig, RelayStats
from streamcodec.net.relay.server import Relay
from streamcodec.net.signalling import (
    Join,
    Signal,
)
from tests.helpers.relay import Seat, certificate, raw, run, until

HELLO = b"\x16\x03\x01\x00\x04\x01\x00\x02\x00"
"""A whole TLS record that holds the beginning of a handshake."""


@contextlib.contextmanager
def silent_sockets(port: int, count: int, says: bytes = b"") -> Iterator[list[socket.socket]]:
    """Connected, and never a word, or the beginning of one."""
    held = []
    try:
        for _ in range(count):
            one = socket.socket()
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(("127.0.0.1", port))
            held.append(one)
        if says:
            time.sleep(0.05)
            for one in held:
                with contextlib.suppress(OSError):
                    one.send(says)
        yield held
    finally:
        for one in held:
            one.close()


async def get(port: int, path: str = "/health", head: str = "") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer


@pytest.mark.parametrize("says", [b"", b"\x16\x03\x01", HELLO], ids=["silent", "begun", "hello"])
@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_silent_sockets_lock_nobody_out(tmp_path: Path, secure: bool, says: bytes) -> None:
    """Three times as many as may wait; with TLS their handshakes never end, and are counted all the same."""
    server, client = certificate(tmp_path) if secure else (None, None)

    async def test() -> None:
        async with Relay(RelayConfig(max_waiting=40), context=server) as relay:
            with silent_sockets(relay.port, 120, says):
                if says == HELLO and secure:
                    await until(lambda: relay.gate.dropped >= 80)
                elif secure or not says:
                    await until(lambda: relay._doorman.idle == 120)
                    assert relay.gate.waiting == 0
                assert relay.gate.waiting <= 40
                began_s = time.monotonic()
                async with Seat(relay.url, context=client) as ann, Seat(relay.url, context=client) as bob:
                    assert time.monotonic() - began_s < 1.0
                    ann.send(b"through")
                    await until(lambda: bob.heard == [(0, b"through")])
                    if not secure:
                        assert (await get(relay.port)).startswith(b"HTTP/1.1 200")
            await until(lambda: relay.gate.waiting == 0 and not relay._connections and relay._doorman.idle == 0)

    run(test())


def test_handshakes_of_tls_that_never_end_are_ended(tmp_path: Path) -> None:
    server, _ = certificate(tmp_path)

    async def test() -> None:
        async with Relay(RelayConfig(join_timeout_s=0.2), context=server) as relay:
            with silent_sockets(relay.port, 5), silent_sockets(relay.port, 5, HELLO):
                await until(lambda: relay.gate.waiting == 5 and relay._doorman.idle == 5)
                await until(lambda: relay.gate.waiting == 0 and relay._doorman.idle == 0)
                await until(lambda: relay.stats.refused_connections >= 10)

    run(test())


def test_one_address_takes_neither_all_rooms_nor_all_places() -> None:
    async def test() -> None:
        config = RelayConfig(address_people=3, address_rooms=2)
        async with Relay(config) as relay, Seat(relay.url, "a"), Seat(relay.url, "b"):
            with pytest.raises(JoinError, match="2 rooms") as caught:
                async with Seat(relay.url, "c"):
                    pass
            assert caught.value.code == "busy"
            async with Seat(relay.url, "a"):
                with pytest.raises(JoinError, match="3 people"):
                    async with Seat(relay.url, "a"):
                        pass
            async with Seat(relay.url, "a"):
                pass

    run(test())


def test_addresses_behind_a_proxy_are_told_apart_and_headers_of_strangers_are_not_believed() -> None:
    async def joined(relay: Relay, session: str, header: str) -> str:
        connection = await connect(relay.url, compression=None, additional_headers={"X-Forwarded-For": header})
        await connection.send(Join("room", session).to_json())
        answer = str(json.loads(await connection.recv())["type"])
        opened.append(connection)
        return answer

    opened: list[ClientConnection] = []

    async def test() -> None:
        async with Relay(RelayConfig(address_people=1)) as relay:
            assert await joined(relay, "a" * 20, "203.0.113.1") == "welcome"
            assert await joined(relay, "b" * 20, "203.0.113.2") == "welcome"
            assert await joined(relay, "c" * 20, "9.9.9.9, 203.0.113.2") == "failure"
        async with Relay(RelayConfig(address_people=1, trusted_proxies=("192.0.2.1",))) as relay:
            assert await joined(relay, "a" * 20, "203.0.113.1") == "welcome"
            assert await joined(relay, "b" * 20, "203.0.113.2") == "failure"
        for connection in opened:
            connection.transport.abort()

    run(test())


class NoDescriptors:
    """A listener of a process at its limit of open files, for its first accepts."""

    def __init__(self, listener: socket.socket, fails: int) -> None:
        self._listener = listener
        self.fails = fails

    def accept(self) -> Any:
        if self.fails:
            self.fails -= 1
            raise OSError(24, "Too many open files")
        return self._listener.accept()


@pytest.mark.skipif(sys.platform == "win32", reason="the limit is another there")
def test_at_the_limit_of_open_files_there_is_one_line_and_life_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        arrived: list[Visit] = []

        def protocol(visit: Visit) -> asyncio.Protocol:
            arrived.append(visit)
            return asyncio.Protocol()

        doorman = Doorman(DoorConfig("127.0.0.1", 0, 1.0), Gate(GateConfig()), protocol)
        await doorman.open(max_idle=2)
        idle = [await asyncio.open_connection("127.0.0.1", doorman.port) for _ in range(2)]
        await until(lambda: doorman.idle == 2)
        # Those who are idle make room first; then newcomers are turned away, by the descriptor kept in reserve.
        starved: Any = NoDescriptors(doorman._listeners[0], 2)
        for _ in range(2):
            doorman._accept_some(starved)
        assert doorman.idle == 0
        newcomer, _ = await asyncio.open_connection("127.0.0.1", doorman.port)
        doorman._loop.remove_reader(doorman._listeners[0])
        turned_away, _ = await asyncio.open_connection("127.0.0.1", doorman.port)
        doorman._accept_some(NoDescriptors(doorman._listeners[0], 1))  # type: ignore[arg-type]
        while doorman.idle:
            doorman._drop_idle(next(iter(doorman._idle)))
        doorman._accept_some(NoDescriptors(doorman._listeners[0], 1))  # type: ignore[arg-type]
        doorman._watch(doorman._listeners[0])
        _, writer = await asyncio.open_connection("127.0.0.1", doorman.port)
        writer.write(b"x")
        await until(lambda: len(arrived) == 1)
        assert doorman.refused >= 4
        for _, other in idle:
            other.close()
        writer.close()
        await doorman.close()
        assert newcomer is not turned_away

    run(test())
    lines = [record for record in caplog.records if "open files" in record.getMessage()]
    assert len(lines) == 1
    assert lines[0].exc_info is None


def test_health_and_metrics_have_a_port_of_their_own() -> None:
    pytest.importorskip("prometheus_client")

    async def test() -> None:
        async with (
            Relay(RelayConfig(max_waiting=5)) as relay,
            MetricsServer("127.0.0.1", 0, lambda: relay.stats) as metrics,
            Seat(relay.url),
        ):
            with silent_sockets(relay.port, 50):
                assert (await get(metrics.port)).endswith(b"ok\n")
                text = (await get(metrics.port, "/metrics")).decode()
            assert "streamcodec_relay_participants 1.0" in text
            assert "# TYPE streamcodec_relay_sent_packets_total counter" in text
            assert (await get(metrics.port, "/else")).startswith(b"HTTP/1.1 404")
            assert (await get(metrics.port, "/" + "x" * 20_000)) == b""
            with silent_sockets(metrics.port, 30):
                await asyncio.sleep(0.05)
                assert (await get(metrics.port)).endswith(b"ok\n")
            assert (await get(metrics.port)).endswith(b"ok\n")

    run(test())


# -- tokens -------------------------------------------------------------------------------------------------------


# -- what one member does to another --------------------------------------------------------------------------------


Spoil = Callable[[ClientConnection], Any]


def test_three_members_cannot_keep_a_fourth_from_its_seat_or_from_a_fifths_voice() -> None:
    """They send all that they may, to somebody whose line is slow; the victim stays, and hears the one who speaks."""

    async def test() -> None:
        config = RelayConfig(slow_timeout_s=0.5, housekeeping_s=0.05)
        async with Relay(config) as relay, Seat(relay.url, ping_timeout_s=0.5) as victim, Seat(relay.url) as voice:
            bad = [await raw(relay, session=letter * 20) for letter in "abc"]
            held = {id(connection): connection for connection in relay._connections}
            theirs = next(c for c in held.values() if c.number == victim.peer)
            stop = asyncio.Event()

            async def flood(connection: ClientConnection) -> None:
                filler = Signal(victim.peer or 0, {"x": "y" * 12_000}).to_json()
                for _ in range(50):
                    await connection.send(filler)
                while not stop.is_set():
                    for _ in range(60):
                        await connection.send(b"\xff" + bytes(1_000))
                    await asyncio.sleep(0.1)

            async def slow_line() -> None:
                """40 KB at a time, ten times a second, as a line of 3 Mbit/s would."""
                transport = victim._connection.transport
                while not stop.is_set():
                    transport.pause_reading()
                    await asyncio.sleep(0.08)
                    transport.resume_reading()
                    await asyncio.sleep(0.02)

            tasks = [asyncio.create_task(work) for work in (slow_line(), *map(flood, bad))]
            for k in range(75):
                voice.send(b"voice %d" % k)
                await asyncio.sleep(0.02)
            stop.set()
            await asyncio.gather(*tasks, return_exceptions=True)
            victim._connection.transport.resume_reading()
            await asyncio.sleep(0.3)
            assert victim.stats.connects == 1
            assert theirs.room is not None
            spoken = sum(data.startswith(b"voice") for _, data in victim.heard)
            assert spoken > 60
            for connection in bad:
                connection.transport.abort()

    run(test())


def test_coming_and_going_has_a_rate() -> None:
    async def test() -> None:
        config = RelayConfig(room_peers=2, room_joins_per_s=0.001, address_join_burst=1e6)
        async with Relay(config) as relay, Seat(relay.url) as ann:
            refused = 0
            for _ in range(90):
                connection = await connect(relay.url, compression=None)
                await connection.send(Join("room", "s" * 20).to_json())
                refused += json.loads(await connection.recv())["type"] == "failure"
                connection.transport.abort()
            assert refused > 15
            assert ann.stats.connects == 1

    run(test())


def test_counts_are_plain_numbers() -> None:
    assert all(value == 0 for value in (getattr(RelayStats(), name) for name in RelayStats.__slots__))
