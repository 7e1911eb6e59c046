"""What tokens grant, and that nothing more is had by guessing, forging or sharing them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from websockets.asyncio.client import connect

from streamcodec.net.client import ClientConfig, JoinError
from streamcodec.net.relay.cluster import ClusterConfig
from streamcodec.net.relay.config import RelayConfig
from streamcodec.net.relay.server import Relay
from streamcodec.net.relay.tokens import Grants, TokenError, TokenSigner
from streamcodec.net.report import is_report
from streamcodec.net.room import Room, RoomConfig
from streamcodec.net.signalling import (
    MAX_TOKEN_CHARACTERS,
    Join,
)
from tests.helpers.cluster import LocalBackbone, Wire
from tests.helpers.relay import SIGNER, Seat, run, until
from tests.helpers.report import REPORT
from tests.helpers.simulation import packet


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
        '{"room":"room","expires_s":9e9,"seats":1e999}',
        '{"room":"room","expires_s":9e9,"minutes":1%s}' % (400 * "0"),
        '{"room":"room","expires_s":NaN}',
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


def test_who_may_not_speak_and_does_stays_in_the_room_and_gets_reports_through() -> None:
    async def test() -> None:
        heard: list[bytes] = []
        config = RelayConfig(refused_packets=20)
        async with Relay(config, SIGNER, wall_clock=lambda: 1_000.0) as relay:

            def room(**grants: Any) -> Room:
                token = SIGNER.issue("room", 2_000.0, Grants(**grants))
                client = ClientConfig(relay.url, "room", token=token)
                return Room(RoomConfig(client, webrtc=None), lambda identity, datagram: heard.append(datagram))

            async with room() as ann, room(speak=False) as bob:
                await until(lambda: bool(ann.peers and bob.peers))
                assert (ann.reaches_anyone, bob.reaches_anyone) == (True, False)
                assert (ann.grants, bob.grants) == ((True, True), (False, True))
                for index in range(100):
                    bob.send(packet(index).to_bytes())
                bob.send(REPORT.to_bytes(), ann.identity)
                await until(lambda: bool(heard))
                assert len(heard) == 1
                assert is_report(heard[0])
                assert relay.stats.refused_packets == 0
                assert bob._client.stats.connects == 1

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
