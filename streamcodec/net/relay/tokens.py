"""Room tokens: who may join which room until when, signed by the relay's secret.

A token is ``sct1.<base64url claims>.<base64url HMAC-SHA256>``; the claims are ``{"room": ..., "expires_s": ...}``. It
is sent in a message of its own, never in an address, so that it does not end up in logs.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json

from streamcodec.errors import StreamcodecError

PREFIX = "sct1"
MAX_TOKEN_CHARACTERS = 512
MIN_SECRET_BYTES = 16


class TokenError(StreamcodecError):
    """A token that does not open this room now; the message never repeats the token."""


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

    def issue(self, room: str, expires_s: float) -> str:
        """A token for ``room`` that is good until ``expires_s`` (seconds since 1970)."""
        claims = json.dumps({"room": room, "expires_s": int(expires_s)}, separators=(",", ":")).encode()
        body = f"{PREFIX}.{_encode(claims)}"
        return f"{body}.{_encode(self._sign(body))}"

    def verify(self, token: str, room: str, now_s: float) -> None:
        """Return if ``token`` is ours, for ``room`` and not expired; raises TokenError."""
        if len(token) > MAX_TOKEN_CHARACTERS or not token.isascii():
            raise TokenError("the token is not one this server could have issued")
        body, _, signature = token.rpartition(".")
        if not hmac.compare_digest(_encode(self._sign(body)), signature):
            raise TokenError("the token's signature does not match this server's secret")
        # The signature vouches for the form of what follows.
        claims = json.loads(_decode(body.partition(".")[2]))
        if claims["room"] != room:
            raise TokenError("the token is for another room")
        if claims["expires_s"] <= now_s:
            raise TokenError("the token has expired; ask for a new one")

    def _sign(self, body: str) -> bytes:
        return hmac.new(self._secret, body.encode(), hashlib.sha256).digest()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error) as error:
        raise TokenError("the token is not base64") from error
