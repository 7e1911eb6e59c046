"""Relays that share rooms: over a stand-in within the process, and over a real NATS server."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from streamcodec.net.client import JoinError
from streamcodec.net.relay.cluster import ClusterConfig, ClusterError, Member, NatsBackbone, Snapshot, topic_of
from streamcodec.net.relay.config import RelayConfig
from streamcodec.net.relay.server import Relay
from streamcodec.net.signalling import PeerInfo, PeerLeft, Signal
from tests.helpers.cluster import LocalBackbone, Wire
from tests.helpers.ports import until_somebody_listens
from tests.helpers.relay import Seat, free_port, raw, run, until
from tests.helpers.room import Guest

QUICK = ClusterConfig(heartbeat_s=0.05, death_s=0.4, gather_s=0.03, snapshot_s=0.2)
NATS_SERVER = shutil.which("nats-server", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
ROOT = Path(__file__).parents[2]


def relay_on(wire: Wire, config: RelayConfig | None = None) -> Relay:
    return Relay(config, backbone=LocalBackbone(wire), cluster=QUICK)


def test_a_room_spans_relays() -> None:
    async def test() -> None:
        wire = Wire()
        async with relay_on(wire) as one, relay_on(wire) as two, Seat(one.url, name="Ann") as ann:
            async with Seat(two.url, name="Bob") as bob, Seat(two.url, name="Cid") as cid:
                await until(lambda: all(len(seat.peers) == 2 for seat in (ann, bob, cid)))
                numbers = {seat.peer for seat in (ann, bob, cid)}
                assert len(numbers) == 3
                assert {info.name for info in bob.peers.values()} == {"Ann", "Cid"}
                ann.send(b"to all")
                bob.send(b"to ann", peer=ann.peer or 0)
                cid.signal(ann.peer or 0, {"offer": 1})
                await until(lambda: bool(ann.heard and bob.heard and cid.heard and len(ann.events) == 4))
                assert bob.heard == cid.heard == [(ann.peer, b"to all")]
                assert ann.heard == [(bob.peer, b"to ann")]
                assert ann.events[-1] == Signal(cid.peer or 0, {"offer": 1})
                left = bob.peer or 0
            await until(lambda: not ann.peers)
            assert PeerLeft(left) in ann.events

    run(test())


def test_rooms_do_not_mix_and_limits_count_everyone() -> None:
    async def test() -> None:
        wire = Wire()
        config = RelayConfig(room_peers=2)
        async with (
            relay_on(wire, config) as one,
            relay_on(wire, config) as two,
            Seat(one.url, room="a") as ann,
            Seat(two.url, room="b") as bob,
            Seat(two.url, room="a") as cid,
        ):
            await until(lambda: len(ann.peers) == 1)
            ann.send(b"in a")
            await until(lambda: len(cid.heard) == 1)
            assert (bob.heard, bob.peers) == ([], {})
            with pytest.raises(JoinError, match="2 peers"):
                async with Seat(one.url, room="a"):
                    pass

    run(test())


def test_a_client_that_moves_is_where_it_came_last() -> None:
    async def test() -> None:
        wire = Wire()
        async with relay_on(wire) as one, relay_on(wire) as two, Seat(two.url) as ann:
            old = await raw(one, session="s" * 20)
            await until(lambda: len(ann.peers) == 1)
            new = await raw(two, session="s" * 20)
            await until(lambda: one.stats.participants == 0)
            await until(lambda: len(ann.peers) == 1)
            assert two.stats.participants == 2
            await old.close()
            await asyncio.sleep(3 * QUICK.snapshot_s)
            assert len(ann.peers) == 1
            await new.close()

    run(test())


def test_a_relay_that_was_frozen_while_somebody_moved_away_does_not_take_them_back() -> None:
    async def test() -> None:
        wire = Wire()
        async with relay_on(wire) as relay, Seat(relay.url) as ann:
            cluster = relay._cluster
            assert cluster is not None
            slow, quick = b"1" * 8, b"2" * 8

            def say(relay: bytes, *members: Member, came: str = "") -> None:
                body = Snapshot(members, came=came).to_bytes()
                cluster._hear(topic_of("room"), b"\x01" + relay + body)

            before, after = Member(PeerInfo(101, "Bob", "b"), 10.0), Member(PeerInfo(102, "Bob", "b"), 20.0)
            say(slow, before, came="b")
            say(quick, after, came="b")
            say(slow, before)
            say(slow)
            cluster._hear(topic_of("room"), b"\x02" + quick + bytes((102, 255)) + b"hello")
            await until(lambda: ann.heard == [(102, b"hello")])
            assert [info.peer for info in ann.peers.values()] == [102]
            # And back again.
            say(slow, Member(PeerInfo(103, "Bob", "b"), 30.0), came="b")
            await until(lambda: [info.peer for info in ann.peers.values()] == [103])

    run(test())


def test_two_with_one_number_end_up_with_two() -> None:
    """Both relays give out number 7 while they cannot hear each other; the clients settle it by joining again."""

    async def test() -> None:
        wire = Wire()
        async with relay_on(wire) as one, relay_on(wire) as two:
            for relay in (one, two):
                relay._free_number = lambda others, relay=relay: next(  # type: ignore[method-assign,misc]
                    number for number in range(7, 255) if number not in {info.peer for info in others}
                )
            for end in wire.ends:
                end.cut = True
            async with Seat(one.url) as ann, Seat(two.url) as bob:
                assert ann.peer == bob.peer == 7
                for end in wire.ends:
                    end.cut = False
                await until(lambda: len(ann.peers) == len(bob.peers) == 1)
                await until(lambda: {ann.peer, bob.peer} == {7, 8})
                ann.send(b"hello")
                await until(lambda: bob.heard == [(ann.peer, b"hello")])

    run(test())


def test_people_of_a_relay_unheard_of_have_left_and_come_back_with_it() -> None:
    async def test() -> None:
        wire = Wire()
        async with relay_on(wire) as one, relay_on(wire) as two, Seat(one.url) as ann, Seat(two.url) as bob:
            await until(lambda: len(ann.peers) == len(bob.peers) == 1)
            wire.ends[0].cut = True
            await until(lambda: not ann.peers and not bob.peers)
            wire.ends[0].cut = False
            await until(lambda: len(ann.peers) == len(bob.peers) == 1)

    run(test())


def test_nonsense_on_the_backbone_is_counted_and_ignored() -> None:
    async def test() -> None:
        wire = Wire()
        stranger = LocalBackbone(wire)
        async with relay_on(wire) as relay, Seat(relay.url) as ann:
            await stranger.start(lambda topic, data: None)
            topic = next(topic for topic in wire.ends[0]._topics if "room" in topic)
            for data in (b"", b"\x01", b"\x01" + bytes(8), b"\x02" + bytes(8) + b"[]", b"\x09" + bytes(20)):
                stranger.publish(topic, data)
            stranger.publish(topic, b"\x02" + bytes(8) + b"\x05\xffspoofed")
            stranger.publish("streamcodec.relays", b"short")
            await asyncio.sleep(0.05)
            assert relay._cluster is not None
            assert relay._cluster.damaged == 3
            assert ann.heard == []

    run(test())


def test_snapshots_survive_the_wire_and_nonsense_does_not() -> None:
    snapshot = Snapshot((Member(PeerInfo(3, "Ann", "ab", "neural-1-01234567"), 12.5),), asks=True, came="ab")
    assert Snapshot.from_bytes(snapshot.to_bytes()) == snapshot
    for data in (b"", b"[]", b'{"members":[{"peer":999}]}', b'{"members":5}', b'{"members":["x"]}'):
        with pytest.raises((ClusterError, ValueError)):
            Snapshot.from_bytes(data)


@asynccontextmanager
async def nats_server(port: int) -> AsyncIterator[str]:
    assert NATS_SERVER is not None
    process = await asyncio.create_subprocess_exec(
        NATS_SERVER, "-a", "127.0.0.1", "-p", str(port), stderr=asyncio.subprocess.DEVNULL
    )
    await until_somebody_listens(port)
    try:
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


needs_nats = pytest.mark.skipif(NATS_SERVER is None, reason="nats-server is not installed")


@needs_nats
def test_over_nats_and_over_its_restart() -> None:
    async def test() -> None:
        port = free_port()
        async with nats_server(port) as url:
            one = Relay(backbone=NatsBackbone(url), cluster=QUICK)
            two = Relay(backbone=NatsBackbone(url), cluster=QUICK)
            await one.start()
            await two.start()
            ann, bob = Seat(one.url), Seat(two.url)
            await ann.__aenter__()
            await bob.__aenter__()
            await until(lambda: len(ann.peers) == len(bob.peers) == 1)
            ann.send(b"hello")
            await until(lambda: bob.heard == [(ann.peer, b"hello")])
        await until(lambda: not ann.peers and not bob.peers)
        async with nats_server(port):
            await until(lambda: len(ann.peers) == len(bob.peers) == 1)
            bob.send(b"again")
            await until(lambda: ann.heard == [(bob.peer, b"again")])
            for closing in (ann, bob, one, two):
                await closing.__aexit__()

    run(test())


@needs_nats
def test_a_relay_killed_in_the_middle_of_a_call() -> None:
    """Two relay processes; the one that Ann uses is killed. She comes back through the other, as the same person."""

    async def start(url: str) -> tuple[asyncio.subprocess.Process, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.helpers.relay_process",
            url,
            "127.0.0.1",
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        return process, (await process.stdout.readline()).decode().strip()

    async def test() -> None:
        async with nats_server(free_port()) as url:
            (one, one_url), (two, two_url) = await asyncio.gather(start(url), start(url))
            try:
                async with (
                    Guest(one_url, alternates=(two_url,), name="Ann", webrtc=None) as ann,
                    Guest(two_url, name="Bob", webrtc=None) as bob,
                ):
                    await until(lambda: ann.reached("relay") and bob.reached("relay"))
                    ann.send(b"hello")
                    await until(lambda: bob.heard == [b"hello"])
                    identity = ann.identity
                    one.kill()
                    killed_s = time.monotonic()

                    def reached() -> bool:
                        ann.send(b"back")
                        return bob.heard[-1] == b"back"

                    await until(reached, 2.0)
                    assert time.monotonic() - killed_s < 2.0
                    assert ann.identity == identity
                    assert ann.seen == [("Bob", True)]
                    assert bob.seen == [("Ann", True)]
            finally:
                for process in (one, two):
                    if process.returncode is None:
                        process.kill()
                    await process.wait()

    run(test())


def test_a_relay_that_cannot_listen_leaves_the_backbone() -> None:
    async def test() -> None:
        async with Relay() as first:
            wire = Wire()
            with pytest.raises(OSError, match="in use"):
                async with relay_on(wire, RelayConfig(port=first.port)):
                    pass
            assert not wire.ends

    run(test())
