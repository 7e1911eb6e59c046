"""Tokens, signalling messages and end-to-end sealing."""

from __future__ import annotations

import dataclasses
import json
import random

import pytest

from streamcodec.errors import StreamcodecError
from streamcodec.net.e2e import OVERHEAD_BYTES, RoomCipher, SealError, room_key_from_passphrase
from streamcodec.net.relay.rate_limit import RateLimit
from streamcodec.net.relay.tokens import TokenError, TokenSigner
from streamcodec.net.signalling import (
    Failure,
    Join,
    PeerInfo,
    PeerJoined,
    PeerLeft,
    Signal,
    SignallingError,
    Welcome,
    parse_client_message,
    parse_relay_message,
)

SECRET = b"0123456789abcdef"
KEY = bytes(range(32))


def test_a_token_opens_its_room_until_it_expires() -> None:
    signer = TokenSigner(SECRET)
    token = signer.issue("kitchen", 1_000.0)
    signer.verify(token, "kitchen", 999.0)
    TokenSigner(SECRET).verify(token, "kitchen", 999.0)
    with pytest.raises(TokenError, match="expired"):
        signer.verify(token, "kitchen", 1_000.0)
    with pytest.raises(TokenError, match="another room"):
        signer.verify(token, "cellar", 999.0)
    with pytest.raises(TokenError, match="signature"):
        TokenSigner(b"another secret of enough bytes").verify(token, "kitchen", 999.0)


def test_a_token_changed_anywhere_is_refused_and_never_repeated() -> None:
    signer = TokenSigner(SECRET)
    token = signer.issue("kitchen", 1_000.0)
    for position in range(len(token)):
        changed = token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]
        with pytest.raises(TokenError) as caught:
            signer.verify(changed, "kitchen", 0.0)
        assert changed not in str(caught.value)
    for strange in ("", ".", "a.b.c", "ä" * 10, "x" * 10_000):
        with pytest.raises(TokenError):
            signer.verify(strange, "kitchen", 0.0)
    assert "0123" not in repr(signer)
    with pytest.raises(StreamcodecError, match="16 bytes"):
        TokenSigner(b"short")


@pytest.mark.parametrize(
    "message", [Join("room-1", "s" * 20, "Ann", "token"), Signal(3, {"sdp": "v=0", "n": [1, None]})], ids=repr
)
def test_client_messages_survive_the_wire(message: Join | Signal) -> None:
    assert parse_client_message(message.to_json()) == message


@pytest.mark.parametrize(
    "message",
    [
        Welcome(2, (PeerInfo(0, "Ann", "abc"), PeerInfo(1, "", bitstream="lossless-1")), "def"),
        PeerJoined(PeerInfo(4, "Bob", "ghi")),
        PeerLeft(0),
        Signal(1, {}),
        Failure("room-full", "the room has its 8 peers"),
    ],
    ids=repr,
)
def test_relay_messages_survive_the_wire(message: Welcome | PeerJoined | PeerLeft | Signal | Failure) -> None:
    assert parse_relay_message(message.to_json()) == message


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "join", "room": "a b", "session": "s" * 20},
        {"type": "join", "room": "", "session": "s" * 20},
        {"type": "join", "room": "x" * 65, "session": "s" * 20},
        {"type": "join", "room": "a\n", "session": "s" * 20},
        {"type": "join", "room": "a", "session": "short"},
        {"type": "join", "room": "a", "session": "s" * 20, "name": "x" * 65},
        {"type": "join", "room": "a", "session": "s" * 20, "name": "a\nb"},
        {"type": "join", "room": "a", "session": "s" * 20, "token": 5},
        {"type": "signal", "peer": True, "data": {}},
        {"type": "signal", "peer": 255, "data": {}},
        {"type": "signal", "peer": 1, "data": []},
        {"type": "welcome", "peer": 1, "peers": []},
        {"type": None},
        [],
        "join",
    ],
)
def test_what_no_client_may_say(fields: object) -> None:
    with pytest.raises(SignallingError):
        parse_client_message(json.dumps(fields))


@pytest.mark.parametrize("text", ["", "{", "[" * 5_000, '{"type":"welcome","peer":1,"peers":[3]}', "x" * 20_000])
def test_what_no_relay_says(text: str) -> None:
    with pytest.raises(SignallingError):
        parse_relay_message(text)


def test_secrets_do_not_show_in_messages_printed() -> None:
    shown = repr(Join("room", "secret-session-1234", "Ann", "secret-token"))
    assert "secret" not in shown


def pair(purpose: str = "media") -> tuple[RoomCipher, RoomCipher]:
    return RoomCipher(KEY, "room", purpose), RoomCipher(KEY, "room", purpose)


def test_what_one_seals_the_others_open() -> None:
    ann, bob = pair()
    cid = RoomCipher(KEY, "room")
    for index in range(300):
        datagram = b"datagram %d" % index
        sealed = ann.seal(datagram)
        assert len(sealed) == len(datagram) + OVERHEAD_BYTES
        assert datagram not in sealed
        assert bob.open(sealed) == cid.open(sealed) == datagram
        assert ann.open(bob.seal(datagram)) == datagram


def test_the_same_datagram_is_never_sealed_alike() -> None:
    ann, bob = pair()
    sealed = [cipher.seal(b"same")[13:] for cipher in (ann, bob) for _ in range(50)]
    assert len(set(sealed)) == 100


def test_replay_is_refused_and_reordering_is_not() -> None:
    ann, bob = pair()
    sealed = [ann.seal(b"%d" % index) for index in range(1_500)]
    order = list(range(400))
    random.Random(1).shuffle(order)
    for index in order:
        assert bob.open(sealed[index]) == b"%d" % index
    for index in order:
        with pytest.raises(SealError, match="replayed"):
            bob.open(sealed[index])
    assert bob.open(sealed[1_499]) == b"1499"
    assert bob.open(sealed[500]) == b"500"
    with pytest.raises(SealError, match="too late"):
        bob.open(sealed[450])


def test_damage_other_rooms_other_purposes_and_other_keys_are_refused() -> None:
    ann, bob = pair()
    sealed = ann.seal(b"hello")
    for position in range(len(sealed)):
        damaged = bytearray(sealed)
        damaged[position] ^= 1
        with pytest.raises(SealError):
            bob.open(bytes(damaged))
    for cut in range(len(sealed)):
        with pytest.raises(SealError):
            bob.open(sealed[:cut])
    for stranger in (RoomCipher(KEY, "other"), RoomCipher(KEY, "room", "signal"), RoomCipher(KEY[::-1], "room")):
        with pytest.raises(SealError):
            stranger.open(sealed)
    with pytest.raises(SealError, match="own"):
        ann.open(sealed)
    # Refused attempts leave no trace that would lock the true datagram out.
    assert bob.open(sealed) == b"hello"


def test_an_old_stream_cannot_be_replayed_to_a_newcomer_and_memory_is_bounded() -> None:
    now_s = 1_000_000.0
    ann = RoomCipher(KEY, "room", wall_clock=lambda: now_s)
    sealed = ann.seal(b"yesterday")
    newcomer = RoomCipher(KEY, "room", wall_clock=lambda: now_s + 100_000.0)
    with pytest.raises(SealError, match="too long ago"):
        newcomer.open(sealed)
    receiver = RoomCipher(KEY, "room")
    for _ in range(200):
        assert receiver.open(RoomCipher(KEY, "room").seal(b"x")) == b"x"
    assert len(receiver._senders) <= 64


def test_keys_are_checked_hidden_and_derived_from_passphrases() -> None:
    with pytest.raises(StreamcodecError, match="32 bytes"):
        RoomCipher(b"short", "room")
    assert "hidden" in repr(RoomCipher(KEY, "room"))
    key = room_key_from_passphrase("correct horse", "room")
    assert len(key) == 32
    assert key == room_key_from_passphrase("correct horse", "room")
    assert key != room_key_from_passphrase("correct horse", "other")


def test_a_rate_limit_allows_its_burst_and_then_its_rate() -> None:
    limit = RateLimit(per_second=10.0, burst=5.0)
    assert [limit.allow(0.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [limit.allow(0.2) for _ in range(3)] == [True, True, False]
    assert sum(limit.allow(1.0 + step / 100) for step in range(1_000)) == pytest.approx(105, abs=2)


def test_messages_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PeerLeft(1).peer = 2  # type: ignore[misc]
