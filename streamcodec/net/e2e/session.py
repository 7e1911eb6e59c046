"""What two ends have once they have agreed: keys for signals and media in both directions, and digits to compare."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from streamcodec.net.e2e.cpace import lv_cat
from streamcodec.net.e2e.handshake import PROTOCOL, Handshake, Introduction
from streamcodec.net.e2e.media import SUITE, MediaKey, MediaReceiver, MediaSender
from streamcodec.net.e2e.replay import ReplayWindow
from streamcodec.net.e2e.sframe import AES_256_GCM_SHA512_128, SealError, SFrameKey, decode_header

EVERYBODY = b"everybody"
_SIGNALS = AES_256_GCM_SHA512_128


class Session:
    """Made of a confirmed handshake. ``peer`` is who the other end is, as it said itself."""

    def __init__(self, handshake: Handshake, room: str) -> None:
        assert handshake.peer is not None
        self.peer = handshake.peer
        self.own = handshake.own
        digits = handshake.derive(b"verification", length=16)
        number = int.from_bytes(digits, "big") % 100_000_000
        self.verification = f"{number // 10_000:04d} {number % 10_000:04d}"
        """Eight digits that are the same on both screens, unless somebody sits between them."""
        own, peer = self.own.endpoint, self.peer.endpoint

        def key(purpose: bytes, sender: bytes, receiver: bytes, length: int) -> bytes:
            return handshake.derive(purpose, sender, receiver, length=length)

        self._signals_out = SFrameKey(_SIGNALS, 0, key(b"signals", own, peer, _SIGNALS.key_bytes))
        self._signals_in = SFrameKey(_SIGNALS, 0, key(b"signals", peer, own, _SIGNALS.key_bytes))
        self._signals_sent = 0
        self._signals_seen = ReplayWindow()
        self._context_out = context(b"signals", room, self.own, peer)
        self._context_in = context(b"signals", room, self.peer, own)
        self.to_one = MediaSender(
            context(b"media", room, self.own, peer), one=True, base_key=key(b"media", own, peer, SUITE.key_bytes)
        )
        self.from_one = MediaReceiver(
            context(b"media", room, self.peer, own),
            MediaKey(0, 0, key(b"media", peer, own, SUITE.key_bytes), 0),
            one=True,
        )
        self.from_all: MediaReceiver | None = None
        """Once the other end has given us the key that it seals with for everybody."""
        self._room = room

    def take_key(self, key: MediaKey) -> None:
        """The key with which the other end seals, or will seal, for everybody."""
        if self.from_all is None:
            self.from_all = MediaReceiver(context(b"media", self._room, self.peer, EVERYBODY), key)
        else:
            self.from_all.expect(key)

    def seal(self, data: dict[str, Any]) -> bytes:
        """Encrypt a JSON object for the other end alone."""
        counter, self._signals_sent = self._signals_sent, self._signals_sent + 1
        return self._signals_out.encrypt(counter, self._context_out, json.dumps(data).encode())

    def open(self, sealed: bytes) -> dict[str, Any]:
        """The inverse. Errors: SealError."""
        counter = decode_header(sealed)[1]
        self._signals_seen.check(counter)
        opened = self._signals_in.decrypt(self._context_in, sealed)
        self._signals_seen.mark(counter)
        try:
            data = json.loads(opened)
        except (ValueError, RecursionError) as error:
            raise SealError("a signal that is not JSON") from error
        if not isinstance(data, dict):
            raise SealError("a signal that is not a JSON object")
        return data


def context(purpose: bytes, room: str, sender: Introduction, receiver: bytes) -> bytes:
    """What every tag binds besides the bytes themselves: 32 bytes that both ends know and nobody sends."""
    return hashlib.sha256(lv_cat(PROTOCOL, purpose, room.encode(), sender.identity, receiver)).digest()
