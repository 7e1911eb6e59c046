"""SFrame (RFC 9605): the header and the encryption of one frame, with the cipher suites used here.

Held to the RFC's test vectors. Which key has which number, and who may have it, is the business of
``media`` and ``group``; here a key is a key.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from streamcodec.errors import StreamcodecError
from streamcodec.extras import extra_imports

with extra_imports("net"):
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256, SHA512, HashAlgorithm
    from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

_NONCE_BYTES = 12
_LARGEST = (1 << 64) - 1


class SealError(StreamcodecError):
    """Something sealed that cannot be opened: a foreign key, damage, a replay, another version."""


@dataclass(frozen=True, slots=True)
class CipherSuite:
    """A row of RFC 9605, table 1. ``number`` is the one registered with IANA."""

    number: int
    digest: str
    cipher_key_bytes: int
    tag_bytes: int
    counter_mode: bool
    """AES-CTR with HMAC (section 4.5.1); otherwise AES-GCM."""

    @property
    def key_bytes(self) -> int:
        """Bytes of the AEAD's key; with AES-CTR the key of the HMAC follows that of the cipher."""
        hash_bytes: int = hashlib.new(self.digest).digest_size
        return self.cipher_key_bytes + (hash_bytes if self.counter_mode else 0)


AES_128_CTR_HMAC_SHA256_80 = CipherSuite(1, "sha256", 16, 10, True)
AES_128_CTR_HMAC_SHA256_64 = CipherSuite(2, "sha256", 16, 8, True)
AES_128_GCM_SHA256_128 = CipherSuite(4, "sha256", 16, 16, False)
AES_256_GCM_SHA512_128 = CipherSuite(5, "sha512", 32, 16, False)


class SFrameKey:
    """One ``base_key`` under its key number, for one sender.

    Errors: StreamcodecError for numbers outside 64 bits.
    """

    __slots__ = ("_auth_key", "_base_key", "_cipher_key", "_gcm", "_salt", "kid", "suite")

    def __init__(self, suite: CipherSuite, kid: int, base_key: bytes) -> None:
        self.suite = suite
        self.kid = _in_range("key number", kid)
        self._base_key = base_key
        label = kid.to_bytes(8, "big") + suite.number.to_bytes(2, "big")
        secret = _extract(suite, base_key)
        key = _expand(suite, secret, b"SFrame 1.0 Secret key " + label, suite.key_bytes)
        self._salt = int.from_bytes(_expand(suite, secret, b"SFrame 1.0 Secret salt " + label, _NONCE_BYTES), "big")
        self._cipher_key = key[: suite.cipher_key_bytes]
        self._auth_key = key[suite.cipher_key_bytes :]
        self._gcm = None if suite.counter_mode else AESGCM(key)

    def __repr__(self) -> str:
        return f"SFrameKey(kid={self.kid}, key hidden)"

    def encrypt(self, counter: int, metadata: bytes, plaintext: bytes) -> bytes:
        """A whole SFrame ciphertext: header, then :meth:`seal`."""
        return encode_header(self.kid, counter) + self.seal(counter, metadata, plaintext)

    def decrypt(self, metadata: bytes, ciphertext: bytes) -> bytes:
        """The inverse of :meth:`encrypt`. Errors: SealError."""
        kid, counter, length = decode_header(ciphertext)
        if kid != self.kid:
            raise SealError(f"sealed with key {kid}, not with key {self.kid}")
        return self.open(counter, metadata, ciphertext[length:])

    def seal(self, counter: int, metadata: bytes, plaintext: bytes) -> bytes:
        """Ciphertext and tag without the header, which is authenticated all the same, with the metadata."""
        nonce = (self._salt ^ counter).to_bytes(_NONCE_BYTES, "big")
        authenticated = encode_header(self.kid, counter) + metadata
        if self._gcm is not None:
            return self._gcm.encrypt(nonce, plaintext, authenticated)
        ciphertext = self._crypt(nonce, plaintext)
        return ciphertext + self._tag(nonce, authenticated, ciphertext)

    def open(self, counter: int, metadata: bytes, sealed: bytes) -> bytes:
        """The inverse of :meth:`seal`. Errors: SealError."""
        nonce = (self._salt ^ counter).to_bytes(_NONCE_BYTES, "big")
        authenticated = encode_header(self.kid, counter) + metadata
        if len(sealed) < self.suite.tag_bytes:
            raise SealError("shorter than its tag")
        if self._gcm is not None:
            try:
                return self._gcm.decrypt(nonce, sealed, authenticated)
            except InvalidTag as error:
                raise SealError("not sealed with this key, or damaged") from error
        ciphertext, tag = sealed[: -self.suite.tag_bytes], sealed[-self.suite.tag_bytes :]
        if not hmac.compare_digest(tag, self._tag(nonce, authenticated, ciphertext)):
            raise SealError("not sealed with this key, or damaged")
        return self._crypt(nonce, ciphertext)

    def ratchet(self, kid: int) -> SFrameKey:
        """The key that follows this one, from which this one cannot be found (section 5.1)."""
        suite = self.suite
        following = _expand(suite, _extract(suite, self._base_key), b"SFrame 1.0 Ratchet", suite.key_bytes)
        return SFrameKey(suite, kid, following)

    @property
    def base_key(self) -> bytes:
        """What others must be given to open what is sealed with this."""
        return self._base_key

    def _crypt(self, nonce: bytes, data: bytes) -> bytes:
        return Cipher(algorithms.AES(self._cipher_key), modes.CTR(nonce + bytes(4))).encryptor().update(data)

    def _tag(self, nonce: bytes, authenticated: bytes, ciphertext: bytes) -> bytes:
        size = self.suite.tag_bytes
        lengths = b"".join(length.to_bytes(8, "big") for length in (len(authenticated), len(ciphertext), size))
        tag = hmac.digest(self._auth_key, lengths + nonce + authenticated + ciphertext, self.suite.digest)
        return tag[:size]


def encode_header(kid: int, counter: int) -> bytes:
    """Config byte, key number, counter (section 4.3). Errors: StreamcodecError for numbers outside 64 bits."""
    kid_bits, kid_bytes = _field(_in_range("key number", kid))
    counter_bits, counter_bytes = _field(_in_range("counter", counter))
    return bytes((kid_bits << 4 | counter_bits,)) + kid_bytes + counter_bytes


def decode_header(data: bytes) -> tuple[int, int, int]:
    """(key number, counter, bytes of the header). Errors: SealError, also for a longer form than is needed."""
    if not data:
        raise SealError("an SFrame header has at least one byte")
    kid, at = _read_field(data[0] >> 4, data, 1)
    counter, at = _read_field(data[0] & 0xF, data, at)
    return kid, counter, at


def _field(value: int) -> tuple[int, bytes]:
    """(four bits of the config byte, bytes that follow)."""
    if value < 8:
        return value, b""
    size = (value.bit_length() + 7) // 8
    return 0x8 | size - 1, value.to_bytes(size, "big")


def _read_field(bits: int, data: bytes, at: int) -> tuple[int, int]:
    if bits < 8:
        return bits, at
    end = at + (bits & 7) + 1
    value = int.from_bytes(data[at:end], "big")
    if end > len(data) or _field(value)[0] != bits:
        raise SealError("not an SFrame header")
    return value, end


def _in_range(name: str, value: int) -> int:
    if not 0 <= value <= _LARGEST:
        raise StreamcodecError(f"an SFrame {name} has 64 bits, got {value}")
    return value


def _extract(suite: CipherSuite, key: bytes) -> bytes:
    """HKDF-Extract (RFC 5869) without a salt."""
    return hmac.digest(b"", key, suite.digest)


def _expand(suite: CipherSuite, secret: bytes, label: bytes, length: int) -> bytes:
    algorithm: HashAlgorithm = SHA256() if suite.digest == "sha256" else SHA512()
    return HKDFExpand(algorithm=algorithm, length=length, info=label).derive(secret)
