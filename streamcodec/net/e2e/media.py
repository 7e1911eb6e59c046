"""Media sealed once by their sender for everybody in the room, with keys that their sender gives to each.

SFrame ciphertexts, suite AES_128_CTR_HMAC_SHA256_64, whose header is mostly left out on the wire. Layout::

    short   bit 15      0
            bit 14      1: for one receiver, 0: for everybody
            bit 13      lowest bit of the key's generation
            bits 12-11  lowest bits of the step
            bits 10-0   lowest bits of the counter
            then        ciphertext and 8-byte tag: 10 bytes more than the datagram
    full    byte 0      0x80, or 0xC0 for one receiver
            then        an SFrame ciphertext with its header (RFC 9605)

The receiver fills in what is missing from what it has opened so far. The tag covers the full header either way, a
context of 32 bytes that is not sent, and which of the two forms it is. The first datagrams of every key and one in 64
after that are in full, so that somebody who has lost many finds the place again.

Keys follow RFC 9605, section 5.1: a key number is generation and step. A step is a ratchet that receivers take by
themselves, made when somebody comes, so that a newcomer cannot open what was said before; a generation is a new key,
given to everybody who is to have it, made when somebody has gone and once an hour.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from streamcodec.net.e2e.replay import ReplayWindow
from streamcodec.net.e2e.sframe import (
    AES_128_CTR_HMAC_SHA256_64,
    SealError,
    SFrameKey,
    decode_header,
    encode_header,
)

SUITE = AES_128_CTR_HMAC_SHA256_64
OVERHEAD_BYTES = 10
"""Of a datagram in the short form."""
MOST_OVERHEAD_BYTES = 26
"""Of one in full: flags, config byte, key number and counter of 8 bytes each, tag."""
LAST_STEP = 64
"""A sender makes a new generation rather than go further, which bounds what a receiver may be made to compute."""
_FULL = 0x80
_ONE = 0x40
_FORM_SHORT, _FORM_FULL = b"\x00", b"\x80"
"""Part of what the tag covers, so that no datagram has two forms."""
_STEP_BITS = 16
_STEPS = 4
_COUNTERS = 1 << 11
_FULL_EVERY = 64
_FULL_AT_FIRST = 3


@dataclass(frozen=True, slots=True)
class MediaKey:
    """What a receiver must know to open a sender's datagrams from ``counter`` on."""

    generation: int
    step: int
    base_key: bytes
    counter: int

    def __repr__(self) -> str:
        return f"MediaKey(generation={self.generation}, step={self.step}, key hidden)"


class MediaSender:
    """Seals datagrams for everybody, or with ``one`` for a single receiver. ``context`` goes into every tag."""

    def __init__(self, context: bytes, *, one: bool = False, base_key: bytes | None = None) -> None:
        self._context = context
        self._flags = _ONE if one else 0
        self._counter = 0
        self._key: SFrameKey
        self._begin(0, base_key or os.urandom(SUITE.key_bytes))

    @property
    def key(self) -> MediaKey:
        """For somebody who is to open what comes from now on."""
        return MediaKey(self._generation, self._step, self._key.base_key, self._counter)

    @property
    def may_step(self) -> bool:
        """Whether receivers will still follow another :meth:`step`."""
        return self._step < LAST_STEP

    @property
    def sealed(self) -> int:
        """How many datagrams have been sealed."""
        return self._counter

    def step(self) -> None:
        """Make sure that who is given the key from now on cannot open what was sealed until now."""
        self._step += 1
        self._key = self._key.ratchet(_key_number(self._generation, self._step))
        self._in_full = _FULL_AT_FIRST

    def following(self) -> MediaKey:
        """A new generation, to be given to the receivers before :meth:`begin`."""
        return MediaKey(self._generation + 1, 0, os.urandom(SUITE.key_bytes), self._counter)

    def begin(self, key: MediaKey) -> None:
        """Seal with a new generation from now on."""
        self._begin(key.generation, key.base_key)

    def _begin(self, generation: int, base_key: bytes) -> None:
        self._generation = generation
        self._step = 0
        self._key = SFrameKey(SUITE, _key_number(generation, 0), base_key)
        self._in_full = _FULL_AT_FIRST

    def seal(self, datagram: bytes) -> bytes:
        """Encrypt and number a datagram."""
        counter, self._counter = self._counter, self._counter + 1
        if self._in_full or counter % _FULL_EVERY == 0:
            self._in_full = max(0, self._in_full - 1)
            sealed = self._key.seal(counter, self._context + _FORM_FULL, datagram)
            return bytes((_FULL | self._flags,)) + encode_header(self._key.kid, counter) + sealed
        sealed = self._key.seal(counter, self._context + _FORM_SHORT, datagram)
        header = self._flags << 8 | (self._generation & 1) << 13 | self._step % _STEPS << 11 | counter % _COUNTERS
        return header.to_bytes(2, "big") + sealed


class MediaReceiver:
    """Opens one sender's datagrams. Keys of the past are let go once the next one has been in use for a while."""

    _KEPT = 64
    """Datagrams of a new key after which the one before is forgotten: the reordering that is borne."""

    def __init__(self, context: bytes, key: MediaKey, *, one: bool = False) -> None:
        self._context = context
        self._flags = _ONE if one else 0
        self._window = ReplayWindow(key.counter)
        self._key = SFrameKey(SUITE, _key_number(key.generation, key.step), key.base_key)
        self._before: SFrameKey | None = None
        self._next: SFrameKey | None = None
        self._opened_with_key = 0

    def expect(self, key: MediaKey) -> None:
        """The sender will use this one next, or uses it already."""
        if key.generation <= self.generation:
            return
        coming = SFrameKey(SUITE, _key_number(key.generation, key.step), key.base_key)
        if key.generation == _generation(self._key.kid) + 1:
            self._next = coming
        else:
            # Who gives out the one after the next has left the present one, even if nothing came with the next.
            self._before, self._key, self._next = self._key, self._next or coming, self._next and coming

    @property
    def generation(self) -> int:
        """The newest generation that this receiver has been given."""
        return _generation((self._next or self._key).kid)

    def open(self, sealed: bytes) -> bytes:
        """Decrypt a datagram. Errors: SealError."""
        if len(sealed) < OVERHEAD_BYTES:
            raise SealError(f"a sealed datagram has at least {OVERHEAD_BYTES} bytes, got {len(sealed)}")
        if sealed[0] & _FULL:
            if sealed[0] != _FULL | self._flags:
                raise SealError("flags that mean nothing here")
            kid, counter, length = decode_header(sealed[1:])
            key, form, body = self._key_of(kid), _FORM_FULL, sealed[1 + length :]
        else:
            if sealed[0] & _ONE != self._flags:
                raise SealError("sealed for others")
            header = int.from_bytes(sealed[:2], "big")
            counter = self._full_counter(header % _COUNTERS)
            key, form, body = self._key_like(header >> 13 & 1, header >> 11 & (_STEPS - 1)), _FORM_SHORT, sealed[2:]
        self._window.check(counter)
        datagram = key.open(counter, self._context + form, body)
        self._window.mark(counter)
        self._note(key)
        return datagram

    def _full_counter(self, low: int) -> int:
        """The counter nearest to the highest so far that ends in these bits."""
        expected = self._window.highest + 1
        counter = expected + (low - expected + _COUNTERS // 2) % _COUNTERS - _COUNTERS // 2
        return counter if counter >= 0 else counter + _COUNTERS

    def _known(self) -> list[SFrameKey]:
        return [key for key in (self._key, self._next, self._before) if key is not None]

    def _key_of(self, kid: int) -> SFrameKey:
        """The key of this number: one we have, or one that follows from it. Errors: SealError."""
        for key in self._known():
            if key.kid == kid:
                return key
        return self._follow(_generation(kid), _step(kid))

    def _key_like(self, parity: int, low_step: int) -> SFrameKey:
        """The same for a number of which only these bits are told."""
        for key in self._known():
            if _generation(key.kid) & 1 == parity and _step(key.kid) % _STEPS == low_step:
                return key
        for base in (self._key, self._next):
            if base is not None and _generation(base.kid) & 1 == parity:
                step = _step(base.kid)
                return self._follow(_generation(base.kid), step + (low_step - step) % _STEPS)
        raise SealError("sealed with a key that was never given to us")

    def _follow(self, generation: int, step: int) -> SFrameKey:
        for known in (self._key, self._next):
            if known is not None and _generation(known.kid) == generation and _step(known.kid) < step <= LAST_STEP:
                key = known
                for following in range(_step(known.kid) + 1, step + 1):
                    key = key.ratchet(_key_number(generation, following))
                return key
        raise SealError("sealed with a key that was never given to us")

    def _note(self, key: SFrameKey) -> None:
        """A genuine datagram of this key has come."""
        if key.kid > self._key.kid:
            self._before, self._key, self._opened_with_key = self._key, key, 0
            if self._next is not None and self._next.kid <= key.kid:
                self._next = None
        elif key.kid == self._key.kid:
            self._opened_with_key += 1
            if self._opened_with_key >= self._KEPT:
                self._before = None


def _key_number(generation: int, step: int) -> int:
    return generation << _STEP_BITS | step


def _generation(kid: int) -> int:
    return kid >> _STEP_BITS


def _step(kid: int) -> int:
    return kid % (1 << _STEP_BITS)
