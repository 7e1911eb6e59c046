"""Rooms: direct lines over loopback, fallback to the relay, and two real processes."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aioice.ice
import pytest
from aiortc import RTCSessionDescription

from streamcodec.codec.packet import Packet
from streamcodec.errors import StreamcodecError
from streamcodec.net.client import ClientConfig
from streamcodec.net.fragments import Fragmenter
from streamcodec.net.relay.config import RelayConfig
from streamcodec.net.relay.server import Relay
from streamcodec.net.report import ReceiverReport, is_report
from streamcodec.net.room import Room, RoomConfig
from streamcodec.net.rtp_media import SrtpProfile
from streamcodec.net.signalling import PeerInfo
from streamcodec.net.webrtc import DirectLine, WebRtcConfig
from tests.helpers.relay import run, until
from tests.helpers.room import QUICK, Guest
from tests.helpers.simulation import packet as numbered

KEY = bytes(range(32))
REPORT = ReceiverReport(0.1, 0.0, 1.5, 9, 2.5, 8.1, 0.0, 44.0, 6_100.0, 990, 10, 123_456).to_bytes()
TURN_SERVER = shutil.which("turnserver")


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """ICE leaves loopback addresses out; these tests use nothing else."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


def packet(index: int, payload: bytes | None = None) -> Packet:
    sent = numbered(index)
    return sent if payload is None else replace(sent, payload=payload)


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
            channel = line_of(ann)._channel
            assert channel is not None
            assert (channel.ordered, channel.maxRetransmits) == (False, 0)
            assert line_of(ann).carries == line_of(bob).carries == "srtp"
            ann.send(bytes(1_099))
            await until(lambda: bob.heard[-1:] == [bytes(1_099)])
            with pytest.raises(StreamcodecError, match="1 to 1099"):
                ann.send(bytes(1_100))
            assert ann.seen == [("Bob", True)]

    run(test())


def line_of(guest: Guest) -> DirectLine:
    (member,) = guest._members.values()
    assert member.line is not None
    return member.line


async def exchange(ann: Guest, bob: Guest) -> None:
    """A few packets, a report and the pieces of a long packet each way."""
    await until(lambda: ann.reached("direct") and bob.reached("direct"))
    long = Fragmenter().split(bytes(range(256)) * 10)
    sent = [packet(index).to_bytes() for index in range(20)] + [REPORT] + long
    for index, datagram in enumerate(sent):
        ann.send(datagram, bob.identity if datagram == REPORT else None)
        bob.send(datagram, ann.identity if datagram == REPORT else None)
        await asyncio.sleep(0.002 * (index < 20))
    await until(lambda: len(ann.heard) == len(bob.heard) == len(sent))
    for guest in (ann, bob):
        assert sorted(d for d in guest.heard if not is_report(d)) == sorted(d for d in sent if d != REPORT)
        (report,) = (ReceiverReport.from_bytes(d) for d in guest.heard if is_report(d))
        assert report.received_packets == 990
        assert line_of(guest).stats.damaged == guest.stats.damaged == 0


@pytest.mark.parametrize(("one", "other", "tag_bytes"), [("sha1-80", "sha1-80", 10), ("sha1-80", "gcm", 16)])
def test_srtp_carries_media_and_reports_and_the_channel_what_is_too_long(
    one: SrtpProfile, other: SrtpProfile, tag_bytes: int
) -> None:
    async def test() -> None:
        async with (
            Relay() as relay,
            Guest(relay.url, webrtc=replace(QUICK, srtp=one)) as ann,
            Guest(relay.url, webrtc=replace(QUICK, srtp=other)) as bob,
        ):
            await until(lambda: ann.reached("direct") and bob.reached("direct"))
            await asyncio.sleep(0.2)
            sent: list[int] = []
            media = line_of(ann)._media
            assert media is not None
            transport = media._transceiver.sender.transport.transport
            send = transport._send

            async def watched(data: bytes) -> None:
                sent.append(len(data))
                await send(data)

            transport._send = watched
            for index in range(20, 60):
                ann.send(packet(index, payload=bytes(15)).to_bytes())
                await asyncio.sleep(0.001)
            await until(lambda: len(bob.heard) == 40)
            transport._send = send
            # RTP header, one byte of ours, payload, tag: no extensions, and nothing else goes out meanwhile.
            assert sorted(sent)[len(sent) // 2] == 12 + 1 + 15 + tag_bytes
            assert len(sent) <= 44
            ann.heard.clear()
            bob.heard.clear()
            await exchange(ann, bob)
            assert line_of(ann)._channel_framer.unit == 0
            assert line_of(ann).carries == line_of(bob).carries == "srtp"

    run(test())


@pytest.mark.parametrize("both", [False, True])
def test_where_one_side_has_no_srtp_the_channel_carries_everything(both: bool) -> None:
    async def test() -> None:
        plain = replace(QUICK, media="data-channel")
        async with (
            Relay() as relay,
            Guest(relay.url, webrtc=plain) as ann,
            Guest(relay.url, webrtc=plain if both else QUICK) as bob,
        ):
            await exchange(ann, bob)
            assert line_of(ann).carries == line_of(bob).carries == "data-channel"

    run(test())


def test_heartbeats_go_only_into_silence() -> None:
    async def test() -> None:
        async with Relay() as relay, Guest(relay.url) as ann, Guest(relay.url) as bob:
            await until(lambda: ann.reached("direct") and bob.reached("direct"))
            beats = 0
            line = line_of(ann)
            heartbeat = line._send_heartbeat

            def counted() -> None:
                nonlocal beats
                beats += 1
                heartbeat()

            line._send_heartbeat = counted  # type: ignore[method-assign]
            for index in range(30):
                ann.send(packet(index).to_bytes())
                await asyncio.sleep(0.01)
            while_talking = beats
            await asyncio.sleep(0.6)
            # Longer than the line may be silent: they are what keeps it open.
            assert bob.reached("direct")
            assert while_talking <= 2
            assert beats >= while_talking + 5

    run(test())


def test_the_relay_is_left_alone_while_direct_lines_carry_the_call() -> None:
    async def test() -> None:
        async with Relay() as relay, Guest(relay.url) as ann, Guest(relay.url) as bob:
            for guest in (ann, bob):
                object.__setattr__(guest._client.config, "ping_interval_s", 0.05)
            await until(lambda: ann.reached("direct") and bob.reached("direct"))
            await until(lambda: ann._client.relaxed and bob._client.relaxed)
            await asyncio.sleep(0.2)
            sent = ann._client.wire_bytes.sent
            await asyncio.sleep(0.5)
            assert ann._client.wire_bytes.sent == sent
            # Without the line the relay matters again.
            line_of(ann)._drop()
            await until(lambda: not ann._client.relaxed)
            await until(lambda: ann._client.wire_bytes.sent > sent)

    run(test())


def test_bytes_of_a_line_count_on_when_the_other_end_has_gone() -> None:
    async def test() -> None:
        async with Relay() as relay, Guest(relay.url) as ann:
            async with Guest(relay.url) as bob:
                await until(lambda: ann.reached("direct") and bob.reached("direct"))
                for index in range(50):
                    ann.send(packet(index).to_bytes())
                    await asyncio.sleep(0.001)
                await until(lambda: len(bob.heard) == 50)
                before = ann.wire_bytes
                assert before.sent > 50 * 40
            totals = []
            await until(lambda: totals.append(ann.wire_bytes) or not ann.peers)  # type: ignore[func-returns-value]
            totals.append(ann.wire_bytes)
            for earlier, later in pairwise([before, *totals]):
                assert later.sent >= earlier.sent
                assert later.received >= earlier.received

    run(test())


def test_another_wire_format_gets_no_direct_line() -> None:
    async def test() -> None:
        async with Relay() as relay, Guest(relay.url) as ann, Guest(relay.url) as bob:
            for guest in (ann, bob):
                signal = guest._client.signal
                guest._client.signal = lambda peer, data, signal=signal: signal(  # type: ignore[method-assign,misc]
                    peer, {**data, "wire": 2} if "wire" in data else data
                )
            await asyncio.sleep(0.5)
            assert ann.reached("relay")
            ann.send(b"over the relay")
            await until(lambda: bob.heard == [b"over the relay"])

    run(test())


def test_a_line_over_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["::1"])

    async def test() -> None:
        config = RelayConfig(host="::1")
        async with Relay(config) as relay, Guest(relay.url) as ann, Guest(relay.url) as bob:
            assert relay.url.startswith("ws://[::1]:")
            await exchange(ann, bob)

    run(test())


def test_over_the_relay_a_report_rides_with_the_next_packet() -> None:
    async def test() -> None:
        async with (
            Relay() as relay,
            Guest(relay.url, webrtc=None) as ann,
            Guest(relay.url, webrtc=None) as bob,
        ):
            await until(lambda: ann.reached("relay") and bob.reached("relay"))
            ann.send(REPORT, bob.identity)
            ann.send(packet(0).to_bytes())
            await until(lambda: len(bob.heard) == 2)
            assert is_report(bob.heard[0])
            assert relay.stats.received_packets == 1
            # And alone where there is none.
            ann.send(REPORT, bob.identity)
            await until(lambda: len(bob.heard) == 3)
            assert relay.stats.received_packets == 2

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


def test_a_line_that_carries_one_way_alone_is_given_up_by_both() -> None:
    async def test() -> None:
        async with Relay() as relay, Guest(relay.url) as ann, Guest(relay.url) as bob:
            await until(lambda: ann.reached("direct") and bob.reached("direct"))
            answering = bob if ann.identity < bob.identity else ann
            other = ann if answering is bob else bob
            line = line_of(answering)
            line._heard = lambda *frame: None  # type: ignore[method-assign]
            await until(lambda: other.reached("relay"))
            del line._heard
            other.send(b"by the relay")
            await until(lambda: answering.heard == [b"by the relay"])

    run(test())


def test_an_offer_that_fails_late_leaves_the_line_of_the_next_one_alone() -> None:
    made: list[Any] = []
    description = RTCSessionDescription("v=0", "answer")

    async def test() -> None:
        signals: list[dict[str, Any]] = []
        line = DirectLine(QUICK, False, signals.append, lambda datagram: None)

        def connect(*, offers_media: bool) -> Any:
            """A connection that waits in the middle of an answer; the first one then fails."""
            goes_on = asyncio.Event()
            fails = not made

            async def remote(description: object) -> None:
                await goes_on.wait()
                if fails:
                    raise ValueError("closed")

            async def answer() -> object:
                return description

            async def local(description: object) -> None:
                pass

            made.append(
                SimpleNamespace(
                    goes_on=goes_on,
                    setRemoteDescription=remote,
                    createAnswer=answer,
                    setLocalDescription=local,
                    localDescription=description,
                )
            )
            line._connection = made[-1]
            return made[-1]

        line._connect = connect  # type: ignore[method-assign]
        for attempt in (1, 2):
            line.hear({"kind": "offer", "attempt": attempt, "wire": 1, "sdp": "v=0"})
            await asyncio.sleep(0)
        for connection in made:
            connection.goes_on.set()
            await asyncio.sleep(0.01)
        assert line._connection is made[1]
        assert [signal["attempt"] for signal in signals] == [2]

    run(test())


def test_whoever_is_back_after_us_is_the_same_however_long_the_relay_was_away() -> None:
    async def test() -> None:
        relay = Relay()
        await relay.start()
        port = relay.port
        async with (
            Guest(relay.url, name="Ann", webrtc=None) as ann,
            Guest(relay.url, name="Bob", webrtc=None, retry_s=(2.0, 2.0)) as bob,
        ):
            await until(lambda: ann.reached("relay") and bob.reached("relay"))
            await relay.close()
            await until(lambda: ann.reached("none") and bob.reached("none"))
            await asyncio.sleep(1.1 * ann.config.absence_s)
            async with Relay(RelayConfig(port=port)):
                await until(lambda: ann.reached("relay") and bob.reached("relay"))
                assert ann.seen == [("Bob", True)]
                assert bob.seen == [("Ann", True)]

    run(test())


def test_a_callback_that_raises_when_somebody_leaves_is_told() -> None:
    def refuse(info: PeerInfo, present: bool) -> None:
        if not present:
            raise RuntimeError("nobody leaves")

    async def test() -> None:
        async with Relay() as relay:
            config = RoomConfig(ClientConfig(relay.url, "room"), webrtc=None, absence_s=0.1)
            room = await Room(config, lambda *datagram: None, refuse).__aenter__()
            async with Guest(relay.url, webrtc=None):
                await until(lambda: bool(room.peers))
            await until(lambda: room.failed is not None)
            with pytest.raises(RuntimeError, match="nobody leaves"):
                await room.__aexit__()
            await until(lambda: relay.stats.participants == 0)

    run(test())


def test_a_callback_that_raises_on_entering_leaves_no_seat_behind() -> None:
    def refuse(info: PeerInfo, present: bool) -> None:
        raise RuntimeError("nobody comes")

    async def test() -> None:
        async with Relay() as relay, Guest(relay.url):
            room = Room(RoomConfig(ClientConfig(relay.url, "room")), lambda *datagram: None, refuse)
            with pytest.raises(RuntimeError, match="nobody comes"):
                async with room:
                    pass
            await until(lambda: relay.stats.participants == 1)

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
            # What comes to Eve is taken as it comes, before her room says what it is.
            eve._client._on_datagram = lambda number, frame: overheard.append(frame)
            await until(lambda: len(ann.peers) == len(bob.peers) == 1)
            assert list(ann.strangers) == list(bob.strangers) == [eve.identity]
            ann.send(b"between us")
            eve.send(b"trust me")
            await until(lambda: bob.heard == [b"between us"] and bob.stats.unopened == 1 and len(overheard) == 1)
            assert b"between us" not in overheard[0]
            # What the relay passed on once it cannot pass on again.
            eve._client.send(overheard[0])
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
