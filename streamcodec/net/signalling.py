"""What clients and relay say to each other beside the media: JSON objects in websocket text messages.

Client to relay: ``join`` (first, once), ``signal``. Relay to client: ``welcome``, ``peer-joined``, ``peer-left``,
``signal``, ``failure``. Media are binary messages: one byte of peer number (destination on the way to the relay,
source on the way from it; 255 for everyone else in the room), then the datagram.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from streamcodec.errors import StreamcodecError

EVERYONE = 255
MAX_PEERS = 255
MAX_TEXT_BYTES = 16_384
"""From a client, and of a signal whoever passes it on."""
MAX_RELAY_TEXT_BYTES = 262_144
"""From a relay: a welcome names up to 254 people."""
MAX_JSON_DEPTH = 16
MAX_DATAGRAM_BYTES = 1_100
"""Data-channel messages above this may be split on paths that carry 1,280 bytes, once headers are on."""
_ROOM = re.compile(r"[A-Za-z0-9._~-]{1,64}\Z")
_SESSION = re.compile(r"[A-Za-z0-9_-]{16,64}\Z")
MAX_NAME_CHARACTERS = 64
MAX_TOKEN_CHARACTERS = 768
MAX_BITSTREAM_CHARACTERS = 64


class SignallingError(StreamcodecError):
    """A text message that is not one of ours."""


@dataclass(frozen=True, slots=True)
class Join:
    """Enter a room. ``session`` is a secret of this client's: whoever shows it again takes the old one's place."""

    room: str
    session: str = field(repr=False)
    name: str = ""
    token: str = field(default="", repr=False)
    bitstream: str = ""
    """What this client sends (:mod:`streamcodec.codec.bitstream`); empty for who sends nothing, or does not say."""

    def to_json(self) -> str:
        """The message."""
        return _dump("join", **asdict(self))


@dataclass(frozen=True, slots=True)
class Signal:
    """Anything one peer tells another through the relay: offers, answers. ``peer`` is the other one."""

    peer: int
    data: dict[str, Any] = field(repr=False)

    def to_json(self) -> str:
        """The message."""
        return _dump("signal", peer=self.peer, data=self.data)


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """Someone in the room. ``identity`` stays the same over reconnections, when ``peer`` may not."""

    peer: int
    name: str
    identity: str = ""
    bitstream: str = ""
    speaks: bool = True
    """Whether the relay takes sound from this one."""
    hears: bool = True
    """Whether the relay lets this one hear."""


@dataclass(frozen=True, slots=True)
class Welcome:
    """You are in, under this number; these were there before."""

    peer: int
    peers: tuple[PeerInfo, ...]
    identity: str = ""
    speaks: bool = True
    """Whether our token lets us speak; see :class:`PeerInfo`."""
    hears: bool = True

    def to_json(self) -> str:
        """The message."""
        return _dump("welcome", **{**asdict(self), "peers": [asdict(peer) for peer in self.peers]})


@dataclass(frozen=True, slots=True)
class PeerJoined:
    """Someone has entered."""

    info: PeerInfo

    def to_json(self) -> str:
        """The message."""
        return _dump("peer-joined", **asdict(self.info))


@dataclass(frozen=True, slots=True)
class PeerLeft:
    """Someone has gone."""

    peer: int

    def to_json(self) -> str:
        """The message."""
        return _dump("peer-left", peer=self.peer)


@dataclass(frozen=True, slots=True)
class Failure:
    """The relay refuses or ends the connection. ``code``: see :data:`PERMANENT`; ``reason`` is for people."""

    code: str
    reason: str

    def to_json(self) -> str:
        """The message."""
        return _dump("failure", code=self.code, reason=self.reason)


PERMANENT = frozenset({"bad-token", "token-in-use", "expired", "bad-message", "replaced"})
"""Failures that trying again will not mend; the others are ``room-full``, ``busy``, ``too-slow``, ``rate``."""

ClientMessage = Join | Signal
RelayMessage = Welcome | PeerJoined | PeerLeft | Signal | Failure


def parse_client_message(text: str | bytes) -> ClientMessage:
    """What a client said; raises SignallingError."""
    fields = _load(text)
    kind = fields.get("type")
    if kind == "join":
        return Join(
            room=_match(fields, "room", _ROOM),
            session=_match(fields, "session", _SESSION),
            name=_text(fields, "name", MAX_NAME_CHARACTERS),
            token=_text(fields, "token", MAX_TOKEN_CHARACTERS),
            bitstream=_text(fields, "bitstream", MAX_BITSTREAM_CHARACTERS),
        )
    if kind == "signal":
        return _signal(fields)
    raise SignallingError("a client's message is of type join or signal")


def parse_relay_message(text: str | bytes) -> RelayMessage:
    """What the relay said; raises SignallingError."""
    fields = _load(text, MAX_RELAY_TEXT_BYTES)
    kind = fields.get("type")
    if kind == "welcome":
        peers = fields.get("peers")
        if not isinstance(peers, list) or len(peers) > MAX_PEERS:
            raise SignallingError("welcome needs a list of peers")
        return Welcome(
            _peer(fields),
            tuple(map(parse_peer_info, peers)),
            _text(fields, "identity", 64),
            fields.get("speaks") is not False,
            fields.get("hears") is not False,
        )
    if kind == "peer-joined":
        return PeerJoined(_info(fields))
    if kind == "peer-left":
        return PeerLeft(_peer(fields))
    if kind == "signal":
        return _signal(fields)
    if kind == "failure":
        return Failure(_text(fields, "code", 32), _text(fields, "reason", 256))
    raise SignallingError("a relay's message is of type welcome, peer-joined, peer-left, signal or failure")


def parse_peer_info(fields: object) -> PeerInfo:
    """One entry of a list of peers; raises SignallingError."""
    if not isinstance(fields, dict):
        raise SignallingError("a peer is described by an object")
    return _info(fields)


def parse_signal(text: str | bytes) -> tuple[int, Signal]:
    """(source, signal) as relays pass it on to each other; raises SignallingError."""
    fields = _load(text, MAX_RELAY_TEXT_BYTES)
    source = _peer({"peer": fields.get("source")})
    return source, _signal(fields)


def check_room(room: str) -> str:
    """Return a room's name, or raise SignallingError."""
    if not _ROOM.match(room):
        raise SignallingError(f"a room is named with 1 to 64 letters, digits and . _ ~ -, got {room!r}")
    return room


def check_datagram(datagram: bytes) -> None:
    """Raise StreamcodecError for a datagram that is empty or too long to be sent."""
    if not 1 <= len(datagram) <= MAX_DATAGRAM_BYTES:
        raise StreamcodecError(f"a datagram has 1 to {MAX_DATAGRAM_BYTES} bytes, got {len(datagram)}")


def _dump(kind: str, **fields: object) -> str:
    return json.dumps({"type": kind, **fields}, separators=(",", ":"))


def _load(text: str | bytes, longest: int = MAX_TEXT_BYTES) -> dict[str, Any]:
    if len(text) > longest:
        raise SignallingError(f"a text message has at most {longest} bytes, got {len(text)}")
    try:
        fields = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise SignallingError("a text message must be JSON") from error
    if not isinstance(fields, dict):
        raise SignallingError("a text message must be a JSON object")
    _check_depth(fields)
    return fields


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number that every reader knows")
    return value


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _check_depth(value: object) -> None:
    """Refuse what is nested too deeply to be written again, without recursion."""
    level: list[object] = [value]
    for _ in range(MAX_JSON_DEPTH):
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        level = [item for item in inner if isinstance(item, dict | list)]
        if not level:
            return
    raise SignallingError(f"a text message is nested at most {MAX_JSON_DEPTH} deep")


def _text(fields: dict[str, Any], key: str, longest: int) -> str:
    value = fields.get(key, "")
    if not isinstance(value, str) or len(value) > longest:
        raise SignallingError(f"{key} must be text of at most {longest} characters")
    if not value.isprintable():
        raise SignallingError(f"{key} must not contain control characters")
    return value


def _match(fields: dict[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    value = fields.get(key)
    if not isinstance(value, str) or not pattern.match(value):
        raise SignallingError(f"{key} must match {pattern.pattern}")
    return value


def _peer(fields: dict[str, Any]) -> int:
    value = fields.get("peer")
    if type(value) is not int or not 0 <= value < MAX_PEERS:
        raise SignallingError(f"peer must be a number from 0 to {MAX_PEERS - 1}")
    return value


def _info(fields: dict[str, Any]) -> PeerInfo:
    return PeerInfo(
        _peer(fields),
        _text(fields, "name", MAX_NAME_CHARACTERS),
        _text(fields, "identity", 64),
        _text(fields, "bitstream", MAX_BITSTREAM_CHARACTERS),
        fields.get("speaks") is not False,
        fields.get("hears") is not False,
    )


def _signal(fields: dict[str, Any]) -> Signal:
    data = fields.get("data")
    if not isinstance(data, dict):
        raise SignallingError("signal needs an object named data")
    signal = Signal(_peer(fields), data)
    # Written again it may be longer than it came: a character of two bytes becomes an escape of six.
    size = len(signal.to_json())
    if size > MAX_TEXT_BYTES:
        raise SignallingError(f"a signal has at most {MAX_TEXT_BYTES} bytes once written in ASCII, got {size}")
    return signal
