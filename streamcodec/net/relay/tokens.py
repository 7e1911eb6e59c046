"""Room tokens: who may join which room, to do what, until when; signed by the relay's secret.

A token is ``sct1.<base64url claims>.<base64url HMAC-SHA256>``. The claims are JSON: ``room`` and ``expires_s``, and
where they differ from what :class:`Grants` has by default ``id``, ``name``, ``speak``, ``listen``, ``minutes`` and
``seats``. It is sent in a message of its own, never in an address, so that it does not end up in logs.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass

from streamcodec.errors import StreamcodecError
from streamcodec.net.signalling import MAX_NAME_CHARACTERS, MAX_PEERS, MAX_TOKEN_CHARACTERS

PREFIX = "sct1"
MIN_SECRET_BYTES = 16


class TokenError(StreamcodecError):
    """A token that does not open this room now; the message never repeats the token."""


@dataclass(frozen=True, slots=True)
class Grants:
    """What a token lets its holder do. Errors: TokenError on values out of range."""

    name: str = ""
    """Who the holder is: shown to the others whatever the holder says. Empty leaves the name to the holder."""
    speak: bool = True
    listen: bool = True
    minutes: float | None = None
    """How long the token is good once it is first used; None for as long as it has not expired."""
    seats: int = 1
    """How many may be in the room with it at once."""

    def __post_init__(self) -> None:
        if len(self.name) > MAX_NAME_CHARACTERS or not self.name.isprintable():
            raise TokenError(f"a name in a token has at most {MAX_NAME_CHARACTERS} printable characters")
        if not 1 <= self.seats <= MAX_PEERS:
            raise TokenError(f"a token serves 1 to {MAX_PEERS} seats, got {self.seats}")
        if self.minutes is not None and not 0 < self.minutes < float("inf"):
            raise TokenError(f"minutes of a token must be above 0, got {self.minutes}")
        if not self.speak and not self.listen:
            raise TokenError("a token lets its holder speak, listen or both")


@dataclass(frozen=True, slots=True)
class Pass:
    """A token that opens a room."""

    id: str
    """What the seats taken with this token are counted by."""
    expires_s: float
    grants: Grants = Grants()


class TokenSigner:
    """Issues and verifies tokens with one secret.

    Errors: StreamcodecError for a secret of fewer than 16 bytes.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) < MIN_SECRET_BYTES:
            raise StreamcodecError(f"a token secret needs at least {MIN_SECRET_BYTES} bytes, got {len(secret)}")
        self._secret = secret

    def __repr__(self) -> str:
        return "TokenSigner(secret hidden)"

    def issue(self, room: str, expires_s: float, grants: Grants | None = None) -> str:
        """A token for ``room`` that is good until ``expires_s`` (seconds since 1970).

        Errors: TokenError where it would be longer than a relay takes.
        """
        grants = grants or Grants()
        claims: dict[str, object] = {"room": room, "expires_s": int(expires_s), "id": secrets.token_urlsafe(9)}
        usual = Grants()
        for key in ("name", "speak", "listen", "minutes", "seats"):
            if getattr(grants, key) != getattr(usual, key):
                claims[key] = getattr(grants, key)
        body = f"{PREFIX}.{_encode(json.dumps(claims, separators=(',', ':'), ensure_ascii=False).encode())}"
        token = f"{body}.{_encode(self._sign(body))}"
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise TokenError(f"the token would have {len(token)} characters; take a shorter room or name")
        return token

    def verify(self, token: str, room: str, now_s: float) -> Pass:
        """What ``token`` allows, if it is ours, for ``room`` and not expired; raises TokenError."""
        if not token:
            raise TokenError("this relay asks for a token, and none was given (--token-file, or STREAMCODEC_TOKEN)")
        if len(token) > MAX_TOKEN_CHARACTERS or not token.isascii():
            raise TokenError("the token is not one this server could have issued")
        body, _, signature = token.rpartition(".")
        if not hmac.compare_digest(_encode(self._sign(body)), signature):
            raise TokenError("the token's signature does not match this server's secret")
        # The signature vouches for who made it; what it holds is checked all the same, for it may be another version.
        try:
            claims = json.loads(_decode(body.partition(".")[2]))
            minutes = claims.get("minutes")
            grants = Grants(
                str(claims.get("name", "")),
                claims.get("speak", True) is True,
                claims.get("listen", True) is True,
                None if minutes is None else float(minutes),
                int(claims.get("seats", 1)),
            )
            allowed = Pass(str(claims.get("id") or _short(token))[:32], float(claims["expires_s"]), grants)
            its_room = claims["room"]
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            if isinstance(error, TokenError):
                raise
            raise TokenError("the token holds what this version does not know; issue a new one") from error
        if its_room != room:
            raise TokenError("the token is for another room")
        if not now_s < allowed.expires_s < float("inf"):
            raise TokenError("the token has expired; ask for a new one")
        return allowed

    def _sign(self, body: str) -> bytes:
        return hmac.new(self._secret, body.encode(), hashlib.sha256).digest()


def _short(token: str) -> str:
    """A token issued before tokens had an ``id`` is known by its hash."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error) as error:
        raise TokenError("the token is not base64") from error
