"""End-to-end encryption: what passes the relay is sealed with keys that only the people in the room can derive.

Every sender draws a salt when it starts; its key is HKDF-SHA256 of the room key and that salt, so no two senders, and
no two runs of one sender, share a key, and a counter serves as nonce. Layout of a sealed datagram::

    byte 0       version
    bytes 1-4    when the sender drew its salt, in seconds since 1970
    bytes 5-8    random; with the time it is the salt
    bytes 9-12   counter, from 0
    then         AES-256-GCM ciphertext with its 16-byte tag; the header, room and purpose are authenticated too

29 bytes more than the datagram. A counter seen before, or older than the replay window, is refused, and so is a salt
older than a day, which bounds how far back a relay could replay a stream to someone who has just come in. Everybody
in a room holds the room key, so this protects against the relay, not against others in the room.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from streamcodec.errors import StreamcodecError

VERSION = 1
KEY_BYTES = 32
OVERHEAD_BYTES = 29
_HEADER_BYTES = 13
_SALT_BYTES = 8
_REPLAY_WINDOW = 1_024
_MAX_SENDERS = 64
_LONGEST_SALT_AGE_S = 86_400
_CLOCK_SKEW_S = 600
_LAST_COUNTER = 0xFFFFFFFF


class SealError(StreamcodecError):
    """A datagram that is not from this room's keys, is damaged, or has been seen before."""


@dataclass(slots=True)
class _Sender:
    cipher: AESGCM
    highest: int = -1
    seen: int = 0
    """Bit i: counter ``highest - i`` has come."""

    def fresh(self, counter: int) -> bool:
        behind = self.highest - counter
        return behind < 0 or (behind < _REPLAY_WINDOW and not self.seen >> behind & 1)

    def mark(self, counter: int) -> None:
        ahead = counter - self.highest
        if ahead > 0:
            self.seen = (self.seen << ahead if ahead < _REPLAY_WINDOW else 0) & ((1 << _REPLAY_WINDOW) - 1) | 1
            self.highest = counter
        else:
            self.seen |= 1 << -ahead


class RoomCipher:
    """Seals what this peer sends and opens what others send, for one room and one ``purpose``.

    Use one per connection. Errors: StreamcodecError for a key that is not 32 bytes.
    """

    def __init__(
        self, room_key: bytes, room: str, purpose: str = "media", *, wall_clock: Callable[[], float] = time.time
    ) -> None:
        if len(room_key) != KEY_BYTES:
            raise StreamcodecError(f"a room key has {KEY_BYTES} bytes, got {len(room_key)}")
        self._room_key = room_key
        self._context = f"streamcodec e2e {VERSION} {purpose} {room}".encode()
        self._wall_clock = wall_clock
        self._salt = int(wall_clock()).to_bytes(4, "big") + os.urandom(4)
        self._own = self._derive(self._salt)
        self._counter = 0
        self._senders: OrderedDict[bytes, _Sender] = OrderedDict()

    def __repr__(self) -> str:
        return "RoomCipher(keys hidden)"

    def seal(self, datagram: bytes) -> bytes:
        """Encrypt and number a datagram. Errors: StreamcodecError after 2^32 of them."""
        if self._counter > _LAST_COUNTER:
            raise StreamcodecError("this sender's counter is used up; make a new RoomCipher")
        header = bytes((VERSION,)) + self._salt + self._counter.to_bytes(4, "big")
        sealed = self._own.encrypt(_nonce(self._counter), datagram, header + self._context)
        self._counter += 1
        return header + sealed

    def open(self, sealed: bytes) -> bytes:
        """Decrypt a datagram from any sender in the room; raises SealError."""
        if len(sealed) < OVERHEAD_BYTES:
            raise SealError(f"a sealed datagram has at least {OVERHEAD_BYTES} bytes, got {len(sealed)}")
        if sealed[0] != VERSION:
            raise SealError(f"sealed datagram version {sealed[0]} is not the {VERSION} this build reads")
        header = sealed[:_HEADER_BYTES]
        salt = header[1 : 1 + _SALT_BYTES]
        counter = int.from_bytes(header[-4:], "big")
        if salt == self._salt:
            raise SealError("a datagram of this peer's own was sent back to it")
        sender = self._senders.get(salt) or self._new_sender(salt)
        if not sender.fresh(counter):
            raise SealError("a datagram was replayed, or came too late to tell")
        try:
            datagram = sender.cipher.decrypt(_nonce(counter), sealed[_HEADER_BYTES:], header + self._context)
        except InvalidTag as error:
            raise SealError("a datagram was not sealed with this room's key, or is damaged") from error
        sender.mark(counter)
        self._senders[salt] = sender
        self._senders.move_to_end(salt)
        if len(self._senders) > _MAX_SENDERS:
            self._senders.popitem(last=False)
        return datagram

    def _new_sender(self, salt: bytes) -> _Sender:
        age_s = self._wall_clock() - int.from_bytes(salt[:4], "big")
        if not -_CLOCK_SKEW_S <= age_s <= _LONGEST_SALT_AGE_S + _CLOCK_SKEW_S:
            raise SealError("a datagram's key was drawn too long ago, or the clocks are far apart")
        return _Sender(self._derive(salt))

    def _derive(self, salt: bytes) -> AESGCM:
        derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=self._context).derive(self._room_key)
        return AESGCM(derived)


def room_key_from_passphrase(passphrase: str, room: str) -> bytes:
    """A room key that people can agree on by word of mouth (scrypt, RFC 7914, 16 MiB; takes some tens of ms)."""
    return Scrypt(salt=f"streamcodec room {room}".encode(), length=KEY_BYTES, n=1 << 14, r=8, p=1).derive(
        passphrase.encode()
    )


def _nonce(counter: int) -> bytes:
    return counter.to_bytes(12, "big")
