"""Relay and client over real sockets on 127.0.0.1."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streamcodec.errors import StreamcodecError
from streamcodec.net.client import JoinError
from streamcodec.net.relay.config import RelayConfig
from streamcodec.net.relay.server import Relay
from streamcodec.net.signalling import EVERYONE, Join, PeerLeft, Signal
from tests.helpers.relay import SIGNER, Seat, certificate, ended, raw, run, until


def test_datagrams_signals_and_comings_and_goings() -> None:
    async def test() -> None:
        async with Relay() as relay, Seat(relay.url, name="Ann") as ann, Seat(relay.url, name="Bob") as bob:
            async with Seat(relay.url) as cid, Seat(relay.url, room="elsewhere") as dan:
                assert (ann.peer, bob.peer, cid.peer, dan.peer) == (0, 1, 2, 0)
                assert cid.events == [("welcome", 2, [(0, "Ann"), (1, "Bob")])]
                ann.send(b"to all")
                bob.send(b"to ann", peer=0)
                cid.signal(1, {"offer": "x"})
                cid.send(b"to nobody", peer=77)
                dan.send(b"alone")
                await until(lambda: len(bob.heard) == len(cid.heard) == len(ann.heard) == 1 and len(bob.events) == 3)
                assert ann.heard == [(1, b"to ann")]
                assert bob.heard == cid.heard == [(0, b"to all")]
                assert bob.events[1:] == [("joined", 2, ""), Signal(2, {"offer": "x"})]
                assert relay.stats.participants == 4
                assert relay.stats.rooms == 2
            await until(lambda: PeerLeft(2) in ann.events)
            assert list(ann.peers) == [1]
            await until(lambda: relay.stats.rooms == 1)
        assert relay.stats.participants == 0

    run(test())


def test_datagrams_of_every_size_allowed() -> None:
    async def test() -> None:
        async with Relay() as relay, Seat(relay.url) as ann, Seat(relay.url) as bob:
            sizes = [1, 2, 123, 124, 125, 126, 127, 128, 1_000, 1_100]
            for size in sizes:
                ann.send(bytes(size))
            await until(lambda: len(bob.heard) == len(sizes))
            assert [len(data) for _, data in bob.heard] == sizes
            for size in (0, 1_101):
                with pytest.raises(StreamcodecError, match="1 to 1100"):
                    ann.send(bytes(size))

    run(test())


def test_tokens_are_asked_for_and_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def test() -> None:
        async with Relay(signer=SIGNER, wall_clock=lambda: 1_000.0) as relay:
            good = SIGNER.issue("room", 2_000.0)
            for token in ("", SIGNER.issue("room", 500.0), SIGNER.issue("other", 2_000.0), good[:-1] + "_"):
                with pytest.raises(JoinError) as caught:
                    async with Seat(relay.url, token=token):
                        pass
                assert caught.value.code == "bad-token"
            async with Seat(relay.url, token=good) as ann:
                assert ann.peer == 0
            assert relay.stats.refused_joins == 4
            assert good not in caplog.text
            assert good.rpartition(".")[2] not in caplog.text
            assert ann._join.session not in caplog.text

    run(test())


def test_pages_from_elsewhere_are_turned_away() -> None:
    async def test() -> None:
        config = RelayConfig(origins=("https://calls.example",))
        async with Relay(config) as relay:
            async with Seat(relay.url), Seat(relay.url, origin="https://calls.example"):
                pass
            with pytest.raises(InvalidStatus, match="403"):
                async with Seat(relay.url, origin="https://evil.example"):
                    pass

    run(test())


def test_rooms_participants_and_peers_are_limited() -> None:
    async def code(relay: Relay, room: str) -> str:
        with pytest.raises(JoinError) as caught:
            async with Seat(relay.url, room=room):
                pass
        return caught.value.code

    async def test() -> None:
        async with (
            Relay(RelayConfig(room_peers=2, max_rooms=2, max_participants=3)) as relay,
            Seat(relay.url, room="a"),
            Seat(relay.url, room="a"),
        ):
            assert await code(relay, "a") == "room-full"
            async with Seat(relay.url, room="b"):
                assert await code(relay, "b") == "busy"
            await until(lambda: relay.stats.rooms == 1)
        async with Relay(RelayConfig(max_rooms=1)) as relay, Seat(relay.url, room="a"):
            assert await code(relay, "b") == "busy"

    run(test())


def test_the_same_session_takes_its_old_place() -> None:
    async def test() -> None:
        async with Relay(RelayConfig(room_peers=2)) as relay, Seat(relay.url) as ann:
            old = await raw(relay, session="s" * 20)
            new = await raw(relay, session="s" * 20)
            assert "replaced" in await ended(old)
            await until(lambda: len(ann.events) == 4)
            assert ann.events[1:] == [("joined", 1, ""), PeerLeft(1), ("joined", 1, "")]
            await new.close()

    run(test())


BadConduct = Callable[[ClientConnection], Awaitable[None]]


async def too_long(connection: ClientConnection) -> None:
    await connection.send(b"x" * 20_000)


async def nonsense(connection: ClientConnection) -> None:
    await connection.send("hello?")


async def fragments(connection: ClientConnection) -> None:
    await connection.send([b"\xff", b"part", b"part"])


async def joining_twice(connection: ClientConnection) -> None:
    await connection.send(Join("room", "t" * 20).to_json())


async def chatter(connection: ClientConnection) -> None:
    for _ in range(100):
        await connection.send(Signal(1, {}).to_json())


async def pinging(connection: ClientConnection) -> None:
    for _ in range(100):
        await connection.ping()


async def flooding(connection: ClientConnection) -> None:
    for _ in range(4_000):
        await connection.send(b"\xffxxxx")


@pytest.mark.parametrize(
    "conduct", [too_long, nonsense, fragments, joining_twice, chatter, pinging, flooding], ids=lambda c: c.__name__
)
def test_bad_conduct_ends_the_connection_and_nobody_elses(conduct: BadConduct) -> None:
    async def test() -> None:
        async with Relay() as relay, Seat(relay.url) as ann, Seat(relay.url) as bob:
            bad = await raw(relay)
            with contextlib.suppress(ConnectionClosed):
                await conduct(bad)
            await ended(bad)
            await until(lambda: relay.stats.participants == 2)
            ann.send(b"still here")
            await until(lambda: bob.heard[-1:] == [(0, b"still here")])

    run(test())


def test_more_packets_than_allowed_are_not_passed_on() -> None:
    async def test() -> None:
        async with Relay(RelayConfig(packets_per_s=1.0, packet_burst=20.0)) as relay, Seat(relay.url) as bob:
            flood = await raw(relay)
            for _ in range(500):
                await flood.send(b"\xffxxxx")
            await until(lambda: relay.stats.refused_packets + relay.stats.received_packets == 500)
            assert 20 <= relay.stats.received_packets <= 22
            await until(lambda: len(bob.heard) == relay.stats.received_packets)
            await flood.close()

    run(test())


def test_datagrams_before_joining_are_refused() -> None:
    async def test() -> None:
        async with Relay() as relay:
            stranger = await raw(relay, room=None)
            await stranger.send(b"\xffdata")
            await ended(stranger)

    run(test())


def test_those_who_neither_join_nor_speak_are_disconnected() -> None:
    async def test() -> None:
        config = RelayConfig(
            join_timeout_s=0.1, ping_interval_s=0.1, idle_timeout_s=0.3, close_timeout_s=0.1, housekeeping_s=0.02
        )
        async with Relay(config) as relay:
            waiting = await raw(relay, room=None)
            half_open, writer = await asyncio.open_connection("127.0.0.1", relay.port)
            writer.write(b"GET / HTTP/1.1\r\nHost:")
            silent = await raw(relay)
            silent.transport.pause_reading()  # type: ignore[attr-defined]
            alive = await raw(relay, session="t" * 20)
            with pytest.raises(ConnectionClosed):
                await waiting.recv()
            assert await half_open.read() == b""
            await until(lambda: relay.stats.participants == 1)
            assert relay.stats.timeouts >= 3
            assert (await alive.ping()) is not None
            await alive.close()
            writer.close()

    run(test())


def test_waiting_connections_are_limited() -> None:
    async def test() -> None:
        async with Relay(RelayConfig(max_waiting=3)) as relay:
            held = [await asyncio.open_connection("127.0.0.1", relay.port) for _ in range(8)]
            for _, writer in held:
                writer.write(b"G")
            await until(lambda: relay.stats.connections == 3)
            ends = [reader for reader, _ in held]
            await until(lambda: sum(reader.at_eof() or reader.exception() is not None for reader in ends) == 5)
            for _, writer in held:
                writer.close()

    run(test())


def test_a_slow_reader_is_dropped_from_then_shed_and_others_notice_nothing() -> None:
    async def test() -> None:
        config = RelayConfig(packets_per_s=1e6, packet_burst=1e6, slow_timeout_s=0.4, housekeeping_s=0.05)
        async with Relay(config) as relay, Seat(relay.url, queue_datagrams=10_000) as ann, Seat(relay.url) as bob:
            slow = await raw(relay)
            slow.transport.pause_reading()  # type: ignore[attr-defined]
            sent = 0
            most_bytes = 0
            while relay.stats.shed == 0:
                for _ in range(50):
                    ann.send(bytes(1_100))
                    sent += 1
                await asyncio.sleep(0.005)
                for connection in relay._connections:
                    waiting = sum(len(packet) for queue in connection._unsent._queues.values() for packet in queue)
                    held = waiting + connection._transport.get_write_buffer_size()
                    most_bytes = max(most_bytes, held)
            assert relay.stats.dropped_packets > 0
            assert most_bytes <= config.write_buffer_bytes + 1_300 * (config.queue_messages + 1)
            await until(lambda: len(bob.heard) + relay.stats.dropped_packets >= sent - ann.stats.dropped, 10)
            await until(lambda: relay.stats.participants == 2)
            ann.send(b"bye")
            await until(lambda: bob.heard[-1] == (0, b"bye"))
            slow.transport.abort()

    run(test())


def test_a_health_check_is_answered_without_a_websocket() -> None:
    async def test() -> None:
        async with Relay() as relay:
            reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.close()

    run(test())


def test_wss(tmp_path: Path) -> None:
    server, client = certificate(tmp_path)

    async def test() -> None:
        async with Relay(context=server) as relay:
            assert relay.url.startswith("wss://")
            async with Seat(relay.url, context=client) as ann, Seat(relay.url, context=client) as bob:
                ann.send(b"hello")
                await until(lambda: bob.heard == [(0, b"hello")])
            with pytest.raises(ssl.SSLCertVerificationError):
                async with Seat(relay.url):
                    pass

    run(test())


def test_numbers_of_absent_peers_and_everyone_do_not_clash() -> None:
    assert RelayConfig(room_peers=EVERYONE).room_peers == 255
    with pytest.raises(StreamcodecError, match="room_peers"):
        RelayConfig(room_peers=256)
    with pytest.raises(StreamcodecError, match="must be positive"):
        RelayConfig(join_timeout_s=0.0)
