"""Tokens and signalling messages. End-to-end encryption has tests of its own in ``e2e``."""

from __future__ import annotations

import dataclasses
import json

import pytest

from streamcodec.errors import StreamcodecError
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


def test_a_rate_limit_allows_its_burst_and_then_its_rate() -> None:
    limit = RateLimit(per_second=10.0, burst=5.0)
    assert [limit.allow(0.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [limit.allow(0.2) for _ in range(3)] == [True, True, False]
    assert sum(limit.allow(1.0 + step / 100) for step in range(1_000)) == pytest.approx(105, abs=2)


def test_messages_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PeerLeft(1).peer = 2  # type: ignore[misc]
