"""Rooms: direct lines over loopback, fallback to the relay, and two real processes."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aioice.ice
import pytest

from streamcodec.errors import StreamcodecError
from streamcodec.net.client import ClientConfig
from streamcodec.net.relay.config import RelayConfig
from streamcodec.net.relay.server import Relay
from streamcodec.net.room import Room, RoomConfig
from streamcodec.net.signalling import PeerInfo
from streamcodec.net.webrtc import IceServer, WebRtcConfig
from tests.net.test_relay import free_port, run, until

KEY = bytes(range(32))
TURN_SERVER = shutil.which("turnserver")
QUICK = WebRtcConfig(open_timeout_s=3.0, heartbeat_s=0.05, silence_s=0.4, retry_s=0.2)


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """ICE leaves loopback addresses out; these tests use nothing else."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


class Guest(Room):
    """A room that keeps what it hears."""

    def __init__(self, url: str, *, name: str = "", alternates: tuple[str, ...] = (), **config: Any) -> None:
        self.heard: list[bytes] = []
        self.seen: list[tuple[str, bool]] = []
        config.setdefault("webrtc", QUICK)
        super().__init__(
            RoomConfig(
                ClientConfig(url, "room", name=name, alternates=alternates, retry_s=(0.05, 0.1)),
                absence_s=1.0,
                **config,
            ),
            lambda identity, datagram: self.heard.append(datagram),
            self._note,
        )

    def _note(self, info: PeerInfo, present: bool) -> None:
        self.seen.append((info.name, present))

    def reached(self, path: str) -> bool:
        return list(self.paths.values()) == [path]


def test_two_peers_find_a_direct_line_and_the_relay_carries_no_media() -> None:
    async def test() -> None:
        async with Relay() as relay, Guest(relay.url, name="Ann") as ann, Guest(relay.url, name="Bob") as bob:
            await until(lambda: ann.reached("direct") and bob.reached("direct"))
            relayed = relay.stats.received_packets
            for index in range(50):
                ann.send(b"a%d" % index)
                bob.send(b"b%d" % index, ann.identity)
                await asyncio.sleep(0.001)
            await until(lambda: len(ann.heard) == len(bob.heard) == 50)
            assert sorted(bob.heard) == sorted(b"a%d" % index for index in range(50))
            assert relay.stats.received_packets == relayed
            (member,) = ann._members.values()
            assert member.line is not None
            channel = member.line._channel
            assert channel is not None
            assert (channel.ordered, channel.maxRetransmits) == (False, 0)
            ann.send(bytes(1_100))
            await until(lambda: bob.heard[-1:] == [bytes(1_100)])
            with pytest.raises(StreamcodecError, match="1 to 1100"):
                ann.send(bytes(1_101))
            assert ann.seen == [("Bob", True)]

    run(test())


def test_where_ice_fails_the_relay_carries_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: [])

    async def test() -> None:
        config = WebRtcConfig(open_timeout_s=0.3, retry_s=0.1)
        async with (
            Relay() as relay,
            Guest(relay.url, webrtc=config) as ann,
            Guest(relay.url, webrtc=config) as bob,
        ):
            await until(lambda: bool(ann.peers and bob.peers))
            for index in range(40):
                ann.send(b"a%d" % index)
                await asyncio.sleep(0.02)
            await until(lambda: len(bob.heard) == 40)
            assert bob.heard == [b"a%d" % index for index in range(40)]
            assert ann.reached("relay")
            assert relay.stats.received_packets == 40

    run(test())


def test_a_line_that_falls_silent_is_replaced_by_the_relay_and_then_made_anew() -> None:
    async def test() -> None:
        async with Relay() as relay, Guest(relay.url) as ann, Guest(relay.url) as bob:
            await until(lambda: ann.reached("direct") and bob.reached("direct"))
            answering = bob if ann.identity < bob.identity else ann
            other = ann if answering is bob else bob
            (member,) = answering._members.values()
            assert member.line is not None
            member.line._drop()
            await until(lambda: other.reached("relay"))
            other.send(b"by the relay")
            await until(lambda: answering.heard == [b"by the relay"])
            await until(lambda: ann.reached("direct") and bob.reached("direct"))
            assert ann.seen == bob.seen == [("", True)]

    run(test())


def test_a_call_outlives_the_relay_and_its_return() -> None:
    async def test() -> None:
        relay = Relay()
        await relay.start()
        port = relay.port
        async with Guest(relay.url, name="Ann") as ann, Guest(relay.url, name="Bob") as bob:
            await until(lambda: ann.reached("direct") and bob.reached("direct"))
            identities = (ann.identity, bob.identity)
            await relay.close()
            await asyncio.sleep(0.8)
            ann.send(b"without a relay")
            await until(lambda: bob.heard == [b"without a relay"])
            async with Relay(RelayConfig(port=port)) as relay:
                await until(lambda: relay.stats.participants == 2, 2.0)
                await until(lambda: all(member.number is not None for member in ann._members.values()))
                assert (ann.identity, bob.identity) == identities
                ann.send(b"with one again")
                await until(lambda: bob.heard[-1] == b"with one again")
                assert ann.seen == [("Bob", True)]
                assert bob.seen == [("Ann", True)]

    run(test())


def test_someone_who_leaves_is_missed_after_a_while() -> None:
    async def test() -> None:
        async with Relay() as relay, Guest(relay.url, webrtc=None) as ann:
            async with Guest(relay.url, name="Bob", webrtc=None):
                await until(lambda: ann.reached("relay"))
            await until(lambda: ann.peers == {})
            assert ann.seen == [("Bob", True), ("Bob", False)]

    run(test())


def test_the_relay_cannot_listen_and_strangers_to_the_key_are_not_heard() -> None:
    async def test() -> None:
        overheard: list[bytes] = []
        async with (
            Relay() as relay,
            Guest(relay.url, webrtc=None, room_key=KEY) as ann,
            Guest(relay.url, webrtc=None, room_key=KEY) as bob,
            Guest(relay.url, webrtc=None) as eve,
        ):
            eve._on_datagram = lambda identity, datagram: overheard.append(datagram)
            await until(lambda: len(ann.peers) == len(bob.peers) == 2)
            ann.send(b"between us")
            eve.send(b"trust me")
            await until(lambda: bob.heard == [b"between us"] and bob.stats.unopened == 1 and len(overheard) == 1)
            assert b"between us" not in overheard[0]
            # What the relay passed on once it cannot pass on again.
            eve.send(overheard[0])
            await until(lambda: bob.stats.unopened == 2)
            assert bob.heard == [b"between us"]

    run(test())


def test_sealed_peers_find_a_direct_line_too() -> None:
    async def test() -> None:
        async with (
            Relay() as relay,
            Guest(relay.url, room_key=KEY) as ann,
            Guest(relay.url, room_key=KEY) as bob,
        ):
            await until(lambda: ann.reached("direct") and bob.reached("direct"))
            ann.send(b"hello")
            await until(lambda: bob.heard == [b"hello"])
            assert ann.stats.unopened == bob.stats.unopened == 0

    run(test())


def test_two_processes_over_the_relay() -> None:
    root = Path(__file__).parents[2]

    async def peer(url: str, count: int) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.helpers.peer_process",
            url,
            "room",
            KEY.hex(),
            str(count),
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0
        result: dict[str, Any] = json.loads(out)
        return result

    async def test() -> None:
        async with Relay() as relay:
            results = await asyncio.gather(peer(relay.url, 30), peer(relay.url, 30))
            for result in results:
                assert result["received"] == 30
                assert result["damaged"] == result["unopened"] == 0
                # The end of the stream may still be in the buffer when the process leaves.
                assert result["heard"] == [f"p{index}" for index in range(len(result["heard"]))]
                assert len(result["heard"]) >= 25

    run(test())


@asynccontextmanager
async def turn_server() -> AsyncIterator[IceServer]:
    """A coturn on loopback, which it would otherwise refuse to relay to."""
    assert TURN_SERVER is not None
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            TURN_SERVER,
            "-n",
            "--listening-ip=127.0.0.1",
            "--relay-ip=127.0.0.1",
            f"--listening-port={port}",
            "--allow-loopback-peers",
            "--cli-password=unused",
            "--no-cli",
            "--no-tls",
            "--no-dtls",
            "--lt-cred-mech",
            "--user=ann:hush",
            "--realm=streamcodec.test",
            "--min-port=49160",
            "--max-port=49400",
            "--log-file=stdout",
            f"--pidfile={folder}/turn.pid",
            f"--userdb={folder}/turn.db",
            cwd=folder,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        deadline_s = time.monotonic() + 10
        while time.monotonic() < deadline_s:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            await asyncio.sleep(0.02)
        try:
            yield IceServer(f"turn:127.0.0.1:{port}?transport=udp", "ann", "hush")
        finally:
            process.kill()
            await process.wait()


@pytest.mark.skipif(TURN_SERVER is None, reason="coturn is not installed")
def test_a_line_through_a_turn_server() -> None:
    """Both ends may use nothing but what coturn relays; a wrong password leaves them with the websocket relay."""

    async def test() -> None:
        async with turn_server() as server, Relay() as relay:
            config = replace(QUICK, ice_servers=(server,), turn_only=True, open_timeout_s=5.0)
            async with Guest(relay.url, webrtc=config) as ann, Guest(relay.url, webrtc=config) as bob:
                await until(lambda: ann.reached("direct") and bob.reached("direct"), 10.0)
                ann.send(b"by turn")
                await until(lambda: bob.heard == [b"by turn"])
                (member,) = ann._members.values()
                assert member.line is not None
                assert member.line._connection is not None
                assert "typ relay" in member.line._connection.localDescription.sdp
                assert "typ host" not in member.line._connection.localDescription.sdp
                assert relay.stats.received_packets == 0
            wrong = replace(config, ice_servers=(replace(server, credential="wrong"),), open_timeout_s=0.5)
            async with Guest(relay.url, webrtc=wrong) as ann, Guest(relay.url, webrtc=wrong) as bob:
                await until(lambda: bool(ann.peers and bob.peers))
                await asyncio.sleep(0.3)
                ann.send(b"by relay")
                await until(lambda: bob.heard == [b"by relay"])
                assert ann.reached("relay")

    run(test())


def test_ice_servers_are_checked_and_credentials_hidden() -> None:
    with pytest.raises(StreamcodecError, match="turn:"):
        WebRtcConfig(ice_servers=(IceServer("http://turn.example"),))
    assert "hush" not in repr(IceServer("turn:turn.example", "ann", "hush"))
