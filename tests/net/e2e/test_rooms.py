"""Rooms over a real relay that is not honest, and rooms whose people do not share a passphrase."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import pytest

from streamcodec.codec.packet import Packet
from streamcodec.net.call import Call, CallConfig, CallEvent, Came
from streamcodec.net.client import ClientConfig
from streamcodec.net.e2e import SealState, room_key_from_passphrase
from streamcodec.net.relay.config import RelayConfig
from streamcodec.net.relay.connection import RelayRoom
from streamcodec.net.relay.frames import packet_frame
from streamcodec.net.relay.server import Relay
from streamcodec.net.room import Room, RoomConfig
from tests.helpers.fake_codec import FakeDecoder, FakeEncoder
from tests.helpers.relay import run, until
from tests.helpers.report import REPORT

KEY = bytes(range(32))


class Guest(Room):
    """A room without direct lines that keeps what it hears, by the name of whom it hears."""

    def __init__(self, url: str, name: str, key: bytes | None = KEY, room: str = "room", **config: Any) -> None:
        self.heard: list[tuple[str, bytes]] = []
        client = ClientConfig(url, room, name=name, retry_s=(0.05, 0.1), bitstream=f"neural-{name}")
        super().__init__(
            RoomConfig(client, room_key=key, webrtc=None, absence_s=1.0, **config),
            lambda identity, datagram: self.heard.append((self.peers[identity].name, datagram)),
        )

    @property
    def names(self) -> set[str]:
        """Whom it counts as here."""
        return {info.name for info in self.peers.values()}


class EvilRelay(Relay):
    """Keeps what passes; ``swap`` gives packets of numbers 0 and 1 to each other."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[int, bytes]] = []
        self.swap = False

    def pass_packet(self, room: RelayRoom, source: int, destination: int, datagram: bytes) -> None:
        self.kept.append((source, datagram))
        super().pass_packet(room, 1 - source if self.swap and source < 2 else source, destination, datagram)


def test_a_relay_cannot_swap_speakers_or_replay_a_finished_session() -> None:
    async def test() -> None:
        async with EvilRelay() as relay:
            async with (
                Guest(relay.url, "Alice") as ann,
                Guest(relay.url, "Bob") as bob,
                Guest(relay.url, "Carol") as cid,
            ):
                await until(lambda: all(len(guest.peers) == 2 for guest in (ann, bob, cid)))
                ann.send(b"I am Alice")
                bob.send(b"I am Bob")
                await until(lambda: len(cid.heard) == 2)
                assert sorted(cid.heard) == [("Alice", b"I am Alice"), ("Bob", b"I am Bob")]
                cid.heard.clear()
                relay.swap = True
                for _ in range(5):
                    ann.send(b"I am Alice")
                    bob.send(b"I am Bob")
                    ann.send(b"a report", cid.identity)
                await until(lambda: cid.stats.unopened >= 15)
                assert cid.heard == []
                relay.swap = False
            old = list(relay.kept)
            async with Guest(relay.url, "Alice") as ann, Guest(relay.url, "Carol") as cid:
                await until(lambda: len(ann.peers) == len(cid.peers) == 1)
                for connection in relay._rooms["room"].peers.values():
                    for source, datagram in old:
                        connection.send_packet(packet_frame(source % 2, datagram), source % 2)
                ann.send(b"today")
                await until(lambda: cid.heard == [("Alice", b"today")])
                assert cid.heard == [("Alice", b"today")]
                assert ann.heard == []

    run(test())


def test_names_and_bitstreams_are_their_owners_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay tells everybody that everybody is called Mallory and sends something else."""
    import streamcodec.net.signalling as signalling

    honest = signalling.asdict

    def lie(info: Any) -> dict[str, Any]:
        fields = honest(info)
        return {**fields, "name": "Mallory", "bitstream": "other"} if "peer" in fields else fields

    monkeypatch.setattr(signalling, "asdict", lie)

    async def test() -> None:
        async with Relay() as relay, Guest(relay.url, "Alice") as ann, Guest(relay.url, "Bob") as bob:
            await until(lambda: len(ann.peers) == len(bob.peers) == 1)
            (info,) = bob.peers.values()
            assert (info.name, info.bitstream) == ("Alice", "neural-Alice")
            async with Guest(relay.url, "Eve", None):
                await until(lambda: len(bob.strangers) == 1)
                assert [info.name for info in bob.strangers.values()] == ["Mallory"], "nobody else's word is had"

    run(test())


@pytest.mark.parametrize(
    ("key", "ours", "theirs"),
    [
        (room_key_from_passphrase("another passphrase b", "room"),) + (SealState.WRONG_PASSPHRASE,) * 2,
        (None, SealState.THEY_HAVE_NONE, SealState.WE_HAVE_NONE),
    ],
    ids=["another", "none"],
)
def test_a_wrong_passphrase_is_told_at_both_ends_within_two_seconds(
    key: bytes | None, ours: SealState, theirs: SealState
) -> None:
    """And nobody comes, as far as events go."""
    came: list[CallEvent] = []

    def person(url: str, name: str, key: bytes | None) -> Call:
        room = RoomConfig(ClientConfig(url, "room", name=name), room_key=key, webrtc=None)
        return Call(
            CallConfig(room),
            FakeEncoder(),
            FakeDecoder,
            on_event=came.append if name == "Ann" else lambda event: None,
        )

    async def test() -> None:
        async with Relay() as relay, person(relay.url, "Ann", KEY) as ann, person(relay.url, "Bob", key) as bob:
            await until(lambda: bool(ann.peers and bob.peers), 2.0)
            for call, name, state in ((ann, "Bob", ours), (bob, "Ann", theirs)):
                (stranger,) = call.peers.values()
                assert (stranger.name, stranger.seal, stranger.verification) == (name, state, "")
                assert name in stranger.seal.sentence(name)
            assert came == []
            async with person(relay.url, "Cid", KEY) as cid:
                await until(lambda: len(ann.peers) == len(cid.peers) == 2)
                sealed = [peer for call in (ann, cid) for peer in call.peers.values() if peer.verification]
                assert {peer.name for peer in sealed} == {"Ann", "Cid"}
                assert sealed[0].verification == sealed[1].verification
                assert [event.name for event in came if isinstance(event, Came)] == ["Cid"]

    run(test())


def test_a_room_outlives_its_relay_without_a_new_exchange() -> None:
    async def test() -> None:
        relay = Relay()
        await relay.start()
        port = relay.port
        async with Guest(relay.url, "Alice") as ann, Guest(relay.url, "Bob") as bob:
            await until(lambda: len(ann.peers) == len(bob.peers) == 1)
            digits = ann.verifications
            await relay.close()
            await asyncio.sleep(0.2)
            async with Relay(RelayConfig(port=port)) as relay:
                await until(lambda: list(ann.paths.values()) == list(bob.paths.values()) == ["relay"])
                ann.send(b"still here")
                await until(lambda: bob.heard == [("Alice", b"still here")])
                assert ann.verifications == digits
                assert bob.stats.unopened == 0

    run(test())


def test_clocks_that_step_by_hours_are_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    """In mid-call, both ways; and people with clocks days apart hear each other from the beginning."""
    offset_s = 0.0
    true_time = time.time
    monkeypatch.setattr(time, "time", lambda: true_time() + offset_s)

    async def test() -> None:
        nonlocal offset_s
        async with Relay() as relay, Guest(relay.url, "Alice") as ann, Guest(relay.url, "Bob") as bob:
            await until(lambda: len(ann.peers) == len(bob.peers) == 1)
            for index, step_s in enumerate((0.0, 5 * 3_600.0, -9 * 3_600.0, 400 * 86_400.0)):
                offset_s = step_s
                bob.heard.clear()
                for _ in range(20):
                    ann.send(b"%d" % index)
                    await asyncio.sleep(0.005)
                await until(lambda: len(bob.heard) == 20)
                name = f"Cid{index}"
                async with Guest(relay.url, name) as cid:
                    await until(lambda: "Alice" in cid.names and name in ann.names)  # noqa: B023
                    ann.send(b"to a newcomer")
                    await until(lambda: ("Alice", b"to a newcomer") in cid.heard)
            assert ann.stats.unopened == bob.stats.unopened == 0

    run(test())


def test_a_report_that_rides_with_a_packet_is_sealed_for_the_one_it_is_for() -> None:
    """Otherwise the relay could give it to somebody else, who would take it for a report on their own stream."""

    async def test() -> None:
        async with EvilRelay() as relay, Guest(relay.url, "Alice") as ann, Guest(relay.url, "Bob") as bob:
            await until(lambda: len(ann.peers) == len(bob.peers) == 1)
            # It may wait for its packet, and says for how long.
            reports = {("Alice", REPORT.held(waited_ms).to_bytes()) for waited_ms in range(1_000)}
            ann.send(REPORT.to_bytes(), bob.identity)
            ann.send(FakeEncoder().push(np.zeros(480, np.float32))[0].to_bytes())
            await until(lambda: not reports.isdisjoint(bob.heard))
            assert relay.kept
            for _, sealed in relay.kept:
                assert sealed[0] & 0x40, "for one"

    run(test())


def test_sealed_packets_cost_ten_bytes_on_the_relay() -> None:
    async def test() -> None:
        async with EvilRelay() as relay, Guest(relay.url, "Alice") as ann, Guest(relay.url, "Bob") as bob:
            await until(lambda: len(ann.peers) == len(bob.peers) == 1)
            datagrams = [Packet.to_bytes(packet) for packet in FakeEncoder().push(np.zeros(48_000, np.float32))]
            for datagram in datagrams:
                ann.send(datagram)
                await asyncio.sleep(0)
            await until(lambda: len(bob.heard) == len(datagrams))
            assert [text for _, text in bob.heard] == datagrams
            overhead = sum(len(sealed) for _, sealed in relay.kept) - sum(map(len, datagrams))
            assert overhead / len(datagrams) < 10.5

    run(test())
