"""Two ends agree on keys: who each says it is, a commitment, CPace's share, and proof of the key.

Messages go through the relay, which may drop, repeat, change and invent them. Each end sends

    hello    protocol version, a random number of this end, another of this exchange, name, bitstream
    commit   a hash of its share, once it has the other's hello
    share    once it has the other's commitment
    confirm  a tag under the key, once it has a share that fits the commitment

Both hellos go into the exchange's session number and into every key, so that names, bitstreams and versions are as
authentic as the sound. The commitments are why eight digits are enough for people to compare: who sits between two
ends must choose its shares before it sees theirs, and has one try for each exchange.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streamcodec.extras import extra_imports
from streamcodec.net.e2e.cpace import AgreedKey, CPace, lv_cat
from streamcodec.net.e2e.sframe import SealError
from streamcodec.net.signalling import MAX_BITSTREAM_CHARACTERS, MAX_NAME_CHARACTERS

with extra_imports("net"):
    from cryptography.hazmat.primitives.hashes import SHA512
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VERSION = 2
PROTOCOL = b"streamcodec end-to-end 2"
NUMBER_BYTES = 16
Message = dict[str, Any]


class OtherVersionError(SealError):
    """The other end speaks another version of this protocol."""


@dataclass(frozen=True, slots=True)
class Introduction:
    """What one end says about itself."""

    endpoint: bytes = field(default_factory=lambda: os.urandom(NUMBER_BYTES))
    """Of one Room, for as long as it lives."""
    nonce: bytes = field(default_factory=lambda: os.urandom(NUMBER_BYTES))
    """Of one exchange."""
    name: str = ""
    bitstream: str = ""

    @property
    def identity(self) -> bytes:
        """What stays the same from exchange to exchange, in bytes."""
        return lv_cat(self.endpoint, self.name.encode(), self.bitstream.encode())

    @property
    def about(self) -> bytes:
        """All of it in bytes; CPace's associated data."""
        return lv_cat(PROTOCOL, self.identity, self.nonce)

    def to_message(self, answers: bytes = b"") -> Message:
        """The hello; ``answers``: the nonce of the hello that it is an answer to."""
        return {
            "kind": "hello",
            "version": VERSION,
            "endpoint": to_text(self.endpoint),
            "nonce": to_text(self.nonce),
            "answers": to_text(answers),
            "name": self.name,
            "bitstream": self.bitstream,
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Introduction:
        """Errors: OtherVersionError, SealError."""
        if message.get("version") != VERSION:
            raise OtherVersionError(f"speaks version {message.get('version')} of this, not {VERSION}")
        endpoint, nonce = from_text(message, "endpoint"), from_text(message, "nonce")
        if len(endpoint) != NUMBER_BYTES or len(nonce) != NUMBER_BYTES:
            raise SealError(f"a hello's numbers have {NUMBER_BYTES} bytes")
        name = _words(message, "name", MAX_NAME_CHARACTERS)
        return cls(endpoint, nonce, name, _words(message, "bitstream", MAX_BITSTREAM_CHARACTERS))


class Handshake:
    """One exchange with one other end, from our hello on. :meth:`hear` takes what comes; the caller decides when to
    go on with :meth:`show` and :meth:`confirm`.

    ``failed``: the other end has shown that its secret, or its view of this exchange, is not ours.
    """

    def __init__(self, secret: bytes, room: str, own: Introduction) -> None:
        self._secret = secret
        self._channel = lv_cat(PROTOCOL, room.encode())
        self.own = own
        self.peer: Introduction | None = None
        self.failed = False
        self.confirmed = False
        self._cpace: CPace | None = None
        self._commitment: bytes | None = None
        self._agreed: AgreedKey | None = None
        self._run = ""
        self._sent: list[Message] = [own.to_message()]

    @property
    def may_show(self) -> bool:
        """Whether everything is there for :meth:`show`, after which the other end knows what the digits would be."""
        return self._commitment is not None and self._sent[-1]["kind"] == "commit"

    @property
    def may_confirm(self) -> bool:
        """Whether everything is there for :meth:`confirm`, which lets the other end try one passphrase."""
        return self._agreed is not None and self._sent[-1]["kind"] == "share"

    @property
    def shown(self) -> bool:
        """Whether our share has been shown."""
        return len(self._sent) > 2

    @property
    def sent(self) -> list[Message]:
        """All that the other end should have had from us so far, in order."""
        return list(self._sent)

    def meet(self, peer: Introduction) -> list[Message]:
        """Take the other end's hello; give our commitment. Errors: SealError for our own hello."""
        if peer.endpoint == self.own.endpoint:
            raise SealError("our own hello was sent back to us")
        self.peer = peer
        self.failed = self.confirmed = False
        session = hashlib.sha256(lv_cat(b"session", *sorted((self.own.about, peer.about)))).digest()
        self._run = to_text(session[:9])
        self._cpace = CPace(self._secret, self._channel, session, self.own.about)
        self._commitment = self._agreed = None
        self._sent = [self.own.to_message(peer.nonce)]
        return self._say("commit", _commitment(self.own, self._cpace.share))

    def hear(self, message: Mapping[str, Any]) -> None:
        """Take anything but a hello. Errors: SealError for what does not belong here, which changes nothing."""
        if message.get("run") != self._run or self._cpace is None or self.peer is None:
            raise SealError("of another exchange")
        kind, value = message.get("kind"), from_text(message, "value")
        if kind == "commit" and self._commitment is None:
            self._commitment = value
        elif kind == "share" and self._commitment is not None and self._agreed is None:
            if not hmac.compare_digest(_commitment(self.peer, value), self._commitment):
                raise SealError("a share that is not the one committed to")
            self._agreed = self._cpace.finish(value, self.peer.about)
        elif kind == "confirm" and self._agreed is not None and not self.confirmed:
            self.confirmed = self._agreed.confirms(value)
            self.failed = not self.confirmed

    def show(self) -> list[Message]:
        """Our share."""
        assert self._cpace is not None
        return self._say("share", self._cpace.share)

    def confirm(self) -> list[Message]:
        """Prove that we have the key."""
        assert self._agreed is not None
        return self._say("confirm", self._agreed.tag)

    def derive(self, purpose: bytes, *endpoints: bytes, length: int) -> bytes:
        """Key material for one purpose; the same on both ends. Errors: SealError before the key is confirmed."""
        if self._agreed is None or not self.confirmed:
            raise SealError("no key has been agreed on yet")
        info = lv_cat(PROTOCOL, purpose, *endpoints)
        return HKDF(algorithm=SHA512(), length=length, salt=None, info=info).derive(self._agreed.key)

    def _say(self, kind: str, value: bytes) -> list[Message]:
        self._sent.append({"kind": kind, "run": self._run, "value": to_text(value)})
        return self._sent[-1:]


def to_text(data: bytes) -> str:
    """Bytes in JSON."""
    return base64.b64encode(data).decode("ascii")


def from_text(message: Mapping[str, Any], key: str) -> bytes:
    """The inverse, of one field. Errors: SealError."""
    try:
        return base64.b64decode(str(message.get(key)).encode("ascii"), validate=True)
    except (ValueError, binascii.Error) as error:
        raise SealError(f"{key} is not base64") from error


def _commitment(introduction: Introduction, share: bytes) -> bytes:
    return hashlib.sha256(lv_cat(b"commitment", introduction.about, share)).digest()


def _words(message: Mapping[str, Any], key: str, longest: int) -> str:
    value = message.get(key)
    if not isinstance(value, str) or len(value) > longest or not value.isprintable():
        raise SealError(f"{key} must be printable text of at most {longest} characters")
    return value
