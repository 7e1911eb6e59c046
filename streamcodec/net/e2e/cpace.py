"""CPace: two ends that know the same passphrase agree on a key, and nobody else learns anything to guess it from.

The balanced password-authenticated key exchange that the IRTF's CFRG chose, after draft-irtf-cfrg-cpace, suite
CPACE-X25519-SHA512 in its symmetric setting, with the draft's key confirmation; held to the draft's test vectors.
Whoever takes part without the passphrase gets one guess for each exchange, and none afterwards.
"""

from __future__ import annotations

import hashlib
import hmac
import os

from streamcodec.codec.varint import varint
from streamcodec.extras import extra_imports
from streamcodec.net.e2e.sframe import SealError

with extra_imports("net"):
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

SHARE_BYTES = 32
_DSI = b"CPace255"
_BLOCK_BYTES = 128
"""Input block of SHA-512."""
_PRIME = 2**255 - 19
_CURVE_A = 486_662


class CPace:
    """One end of one exchange. ``secret``: what both know; ``channel``: what both must agree on besides;
    ``session``: a public number of this exchange, never used before; ``about``: what this end says about itself.

    Use once: :attr:`share` goes to the other end, :meth:`finish` takes its share and what it said about itself.
    """

    def __init__(
        self, secret: bytes, channel: bytes, session: bytes, about: bytes, scalar: bytes | None = None
    ) -> None:
        self._session = session
        self._about = about
        self._scalar = X25519PrivateKey.from_private_bytes(scalar or os.urandom(32))
        self.share = _multiply(self._scalar, generator(secret, channel, session))

    def finish(self, share: bytes, about: bytes) -> AgreedKey:
        """What both ends now have in common, if they knew the same secret and saw the same messages.

        Errors: SealError for a share that is none, or is our own sent back.
        """
        if len(share) != SHARE_BYTES or hmac.compare_digest(share, self.share):
            raise SealError("not a share of a key exchange")
        try:
            common = _multiply(self._scalar, share)
        except ValueError as error:
            raise SealError("a share of low order, which would make the key known to all") from error
        own, other = lv_cat(self.share, self._about), lv_cat(share, about)
        transcript = b"oc" + max(own, other) + min(own, other)
        key = hashlib.sha512(lv_cat(_DSI + b"_ISK", self._session, common) + transcript).digest()
        return AgreedKey(key, self._session, own, other)


class AgreedKey:
    """The key of an exchange, as yet unconfirmed: check the other end's tag before anything else is done with it."""

    def __init__(self, key: bytes, session: bytes, own: bytes, other: bytes) -> None:
        self.key = key
        mac_key = hashlib.sha512(b"CPaceMac" + session + key).digest()
        self.tag = hmac.digest(mac_key, own, "sha512")
        """Shows the other end that we have the key."""
        self._expected = hmac.digest(mac_key, other, "sha512")

    def confirms(self, tag: bytes) -> bool:
        """Whether the other end has the same key."""
        return hmac.compare_digest(tag, self._expected)

    def __repr__(self) -> str:
        return "AgreedKey(hidden)"


def generator(secret: bytes, channel: bytes, session: bytes) -> bytes:
    """The point, by its u coordinate, that this exchange multiplies ("Common function for computing generators")."""
    padding = max(0, _BLOCK_BYTES - 1 - len(lv_cat(secret)) - len(lv_cat(_DSI)))
    hashed = hashlib.sha512(lv_cat(_DSI, secret, bytes(padding), channel, session)).digest()[:32]
    field = int.from_bytes(hashed, "little") & ((1 << 255) - 1)
    return _elligator2(field % _PRIME).to_bytes(32, "little")


def lv_cat(*parts: bytes) -> bytes:
    """Each part after its length (LEB128), so that no two lists of parts look alike."""
    return b"".join(varint(len(part)) + part for part in parts)


def _elligator2(field: int) -> int:
    """A u coordinate on Curve25519 (RFC 9380, section 6.7.1); both candidates are always computed.

    Python's integers do not take constant time. What could be timed is a hash of the secret with this exchange's own
    number, once; the multiplications by secret scalars are the library's, which do.
    """
    first = -_CURVE_A * pow(1 + 2 * field * field, _PRIME - 2, _PRIME) % _PRIME
    second = (-first - _CURVE_A) % _PRIME
    square = pow(first**3 + _CURVE_A * first * first + first, (_PRIME - 1) // 2, _PRIME)
    return (second, first)[square <= 1]


def _multiply(scalar: X25519PrivateKey, point: bytes) -> bytes:
    """X25519 (RFC 7748); raises ValueError where the result is zero."""
    return scalar.exchange(X25519PublicKey.from_public_bytes(point))
