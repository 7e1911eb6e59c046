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
from streamcodec.net.relay.cluster import ClusterConfig
from streamcodec.net.relay.config import RelayConfig, RelayStats
from streamcodec.net.relay.server import Relay
from streamcodec.net.relay.tokens import Grants, TokenError, TokenSigner
from streamcodec.net.signalling import (
    MAX_TEXT_BYTES,
    MAX_TOKEN_CHARACTERS,
    Join,
    PeerInfo,
    Signal,
    SignallingError,
    Welcome,
    parse_client_message,
    parse_relay_message,
)
from tests.helpers.cluster import LocalBackbone, Wire
from tests.helpers.relay import SIGNER, Seat, certificate, ended, raw, run, until

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

    run(test())


# -- tokens -------------------------------------------------------------------------------------------------------


def test_a_token_says_what_its_holder_may_do() -> None:
    grants = Grants("Zoë", speak=False, minutes=5.0, seats=3)
    token = SIGNER.issue("room", 1_000.0, grants)
    allowed = SIGNER.verify(token, "room", 0.0)
    assert (allowed.grants, allowed.expires_s) == (grants, 1_000.0)
    assert SIGNER.verify(SIGNER.issue("room", 1_000.0, grants), "room", 0.0).id != allowed.id
    for wrong in (
        {"name": "x" * 65},
        {"name": "a\nb"},
        {"seats": 0},
        {"minutes": 0.0},
        {"speak": False, "listen": False},
    ):
        with pytest.raises(TokenError):
            Grants(**wrong)  # type: ignore[arg-type]
    with pytest.raises(TokenError, match="shorter"):
        SIGNER.issue("r" * 600, 1_000.0)
    assert len(SIGNER.issue("r" * 64, 1e10, Grants("😀" * 64))) <= MAX_TOKEN_CHARACTERS
    with pytest.raises(TokenError, match="none was given"):
        SIGNER.verify("", "room", 0.0)


@pytest.mark.parametrize(
    "claims",
    [
        "[]",
        "{}",
        '{"room":"room"}',
        '{"room":"room","expires_s":"x"}',
        "[" * 200,
        '{"room":"room","expires_s":9e9,"seats":-1}',
    ],
)
def test_signed_nonsense_is_refused_and_not_raised(claims: str) -> None:
    from streamcodec.net.relay.tokens import _encode

    body = f"sct1.{_encode(claims.encode())}"
    with pytest.raises(TokenError):
        SIGNER.verify(f"{body}.{_encode(SIGNER._sign(body))}", "room", 0.0)


def test_a_token_serves_its_seats_and_no_more() -> None:
    async def test() -> None:
        one, two = SIGNER.issue("room", 2_000.0), SIGNER.issue("room", 2_000.0, Grants(seats=2))
        async with Relay(RelayConfig(seat_grace_s=0.3), SIGNER, wall_clock=lambda: 1_000.0) as relay:
            async with Seat(relay.url, token=one), Seat(relay.url, token=two), Seat(relay.url, token=two):
                for token in (one, two):
                    with pytest.raises(JoinError, match="in use already") as caught:
                        async with Seat(relay.url, token=token):
                            pass
                    assert caught.value.code == "token-in-use"
            await until(lambda: relay.stats.participants == 0)
            # A holder who has vanished without a word does not keep the seat.
            gone = await connect(relay.url, compression=None)
            await gone.send(Join("room", "s" * 20, token=one).to_json())
            await until(lambda: relay.stats.participants == 1)
            await asyncio.sleep(0.4)
            async with Seat(relay.url, token=one):
                assert relay.stats.participants == 1
            gone.transport.abort()

    run(test())


def test_a_token_serves_one_seat_on_all_relays_together() -> None:
    async def test() -> None:
        wire, token = Wire(), SIGNER.issue("room", 2_000.0)
        quick = ClusterConfig(heartbeat_s=0.05, death_s=0.4, gather_s=0.03, snapshot_s=0.2)

        def relay() -> Relay:
            return Relay(None, SIGNER, wall_clock=lambda: 1_000.0, backbone=LocalBackbone(wire), cluster=quick)

        async with relay() as one, relay() as two, Seat(one.url, token=token):
            with pytest.raises(JoinError, match="in use already"):
                async with Seat(two.url, token=token):
                    pass

    run(test())


def test_the_end_of_a_token_is_the_end_of_its_seat() -> None:
    now_s = 1_000.0

    async def test() -> None:
        nonlocal now_s
        timed = SIGNER.issue("room", 9_000.0, Grants(minutes=2.0))
        config = RelayConfig(housekeeping_s=0.02)
        async with Relay(config, SIGNER, wall_clock=lambda: now_s) as relay:
            async with (
                Seat(relay.url, token=SIGNER.issue("room", 1_100.0)) as expiring,
                Seat(relay.url, token=timed) as timing,
                Seat(relay.url, token=SIGNER.issue("room", 9_000.0)) as staying,
            ):
                now_s = 1_101.0
                await until(lambda: expiring.failed is not None)
                assert expiring.failed is not None
                assert expiring.failed.code == "expired"
                assert timing.failed is None
                now_s = 1_121.0
                await until(lambda: timing.failed is not None)
                await until(lambda: not staying.peers)
                assert staying.failed is None
            with pytest.raises(JoinError, match="2 minutes of this token are over"):
                async with Seat(relay.url, token=timed):
                    pass
            assert relay.stats.expired == 2

    run(test())


def test_the_name_in_a_token_is_the_name_and_grants_hold() -> None:
    async def test() -> None:
        def token(**grants: Any) -> str:
            return SIGNER.issue("room", 2_000.0, Grants(**grants))

        async with (
            Relay(signer=SIGNER, wall_clock=lambda: 1_000.0) as relay,
            Seat(relay.url, name="Ann", token=token()) as ann,
            Seat(relay.url, name="Ann", token=token(name="Bob", speak=False)) as bob,
            Seat(relay.url, name="Cid", token=token(listen=False)) as cid,
        ):
            await until(lambda: len(ann.peers) == 2)
            shown = {info.name: (info.speaks, info.hears) for info in ann.peers.values()}
            assert shown == {"Bob": (False, True), "Cid": (True, False)}
            assert (bob.speaks, bob.hears, cid.hears) == (False, True, False)
            for _ in range(20):
                bob.send(b"sound")
                bob.send(bytes(400), peer=ann.peer or 0)
            bob.send(b"report", peer=cid.peer or 0)
            ann.send(b"to all")
            ann.send(b"report", peer=cid.peer or 0)
            await until(lambda: bool(bob.heard) and len(cid.heard) == 2)
            assert ann.heard == []
            assert sorted(cid.heard) == sorted([(bob.peer, b"report"), (ann.peer, b"report")])
            assert bob.heard == [(ann.peer, b"to all")]
            # Reports pass, sound cut small does not.
            for _ in range(50):
                bob.send(bytes(100), peer=ann.peer or 0)
            await until(lambda: relay.stats.refused_packets >= 80)
            assert len(ann.heard) <= 7

    run(test())


def test_guessing_tokens_is_slow() -> None:
    async def test() -> None:
        async with Relay(signer=SIGNER, wall_clock=lambda: 1_000.0) as relay:
            taken: list[float] = []
            for _ in range(6):
                began_s = time.monotonic()
                with pytest.raises(JoinError, match="signature"):
                    async with Seat(relay.url, token=TokenSigner(b"another secret of the tests").issue("room", 2e3)):
                        pass
                taken.append(time.monotonic() - began_s)
            assert taken[5] > 0.9
            # Somebody with the right one is not made to wait for it.
            began_s = time.monotonic()
            async with Seat(relay.url, token=SIGNER.issue("room", 2_000.0)):
                assert time.monotonic() - began_s < 0.5
            assert relay.stats.wrong_tokens == 6

    run(test())


# -- what one member does to another --------------------------------------------------------------------------------


def test_a_signal_that_grows_when_written_again_is_its_senders_trouble() -> None:
    async def test() -> None:
        async with Relay() as relay, Seat(relay.url) as victim:
            bad = await raw(relay)
            text = json.dumps({"type": "signal", "peer": 0, "data": {"x": "é" * 8_000}}, ensure_ascii=False)
            assert len(text.encode()) <= MAX_TEXT_BYTES
            await bad.send(text)
            assert "bad-message" in await ended(bad)
            await asyncio.sleep(0.05)
            assert victim.stats.connects == 1
            assert not any(isinstance(event, Signal) for event in victim.events)

    run(test())


@pytest.mark.parametrize("depth", [20, 500, 990, 1_200, 3_000, 7_900])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_deep_json_is_refused_and_not_raised(depth: int, brackets: str) -> None:
    begin = "[" if brackets == "[]" else '{"a":'
    depth = min(depth, 16_000 // (len(begin) + 1))
    body = begin * depth + ("" if brackets == "[]" else "1") + brackets[1] * depth
    with pytest.raises(SignallingError):
        parse_client_message(f'{{"type":"signal","peer":1,"data":{{"x":{body}}}}}')


@pytest.mark.parametrize(
    "text", ['{"type":"signal","peer":1,"data":{"x":NaN}}', '{"type":"signal","peer":1,"data":{"x":-Infinity}}']
)
def test_numbers_that_no_browser_reads_are_refused(text: str) -> None:
    with pytest.raises(SignallingError, match="JSON"):
        parse_client_message(text)


def test_lone_surrogates_pass_unharmed() -> None:
    signal = parse_client_message('{"type":"signal","peer":1,"data":{"x":"\\ud800"}}')
    assert isinstance(signal, Signal)
    assert parse_relay_message(signal.to_json().encode()) == signal


def test_a_welcome_to_a_full_room_of_long_names_is_read() -> None:
    peers = tuple(PeerInfo(number, "😀" * 64, "i" * 16, "b" * 64) for number in range(254))
    text = Welcome(254, peers, "identity").to_json()
    assert len(text) > 65_536
    assert parse_relay_message(text) == Welcome(254, peers, "identity")


def test_long_names_are_refused_in_one_sentence() -> None:
    async def test() -> None:
        async with Relay() as relay:
            with pytest.raises(JoinError, match="name must be text of at most 64"):
                async with Seat(relay.url, name="x" * 65):
                    pass

    run(test())


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
