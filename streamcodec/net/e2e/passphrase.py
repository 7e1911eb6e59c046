"""Passphrases: made, checked, and turned into the secret of a room."""

from __future__ import annotations

import secrets
import unicodedata

from streamcodec.errors import StreamcodecError
from streamcodec.extras import extra_imports

with extra_imports("net"):
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

KEY_BYTES = 32
WORDS = 5
"""Of the 7,776 of the EFF's long list: 64 bits."""
LEAST_GUESSES = 1e8
"""zxcvbn's estimate below which a passphrase is refused. Nobody can try passphrases against recorded sound, only
against people who are in the room, and they answer some 8,600 times a day."""
_SCRYPT_COST = 1 << 15
"""With 8 blocks and no parallelism, as RFC 9807 has it: 32 MiB, some 100 ms."""
_LONGEST_CHARACTERS = 1_024


def new_passphrase(words: int = WORDS) -> str:
    """Words drawn at random from the EFF's long list."""
    with extra_imports("net"):
        from xkcdpass import xkcd_password

    known = xkcd_password.generate_wordlist(xkcd_password.locate_wordfile("eff-long"), min_length=3, max_length=9)
    return " ".join(secrets.choice(known) for _ in range(words))


def check_passphrase(passphrase: str) -> None:
    """Errors: StreamcodecError for one that is guessed too easily; says why where that is known."""
    with extra_imports("net"):
        from zxcvbn import zxcvbn

    if not passphrase:
        raise StreamcodecError("a passphrase must not be empty; call --new-passphrase FILE makes a good one")
    # The estimate takes more than linear time, and is beyond doubt long before this.
    found = zxcvbn(passphrase[:72])
    if float(found["guesses"]) < LEAST_GUESSES:
        why = str(found["feedback"]["warning"] or "it is short").rstrip(".").lower()
        raise StreamcodecError(
            f"this passphrase is too easy to guess ({why}); take four or more unrelated words, or let "
            "call --new-passphrase FILE make one"
        )


def room_key_from_passphrase(passphrase: str, room: str) -> bytes:
    """What people who share a passphrase have in common in a room: 32 bytes, by scrypt (RFC 7914).

    Letters are compared as RFC 8265 (OpaqueString) compares them, so that keyboards of different makers agree. Check
    with :func:`check_passphrase` what people have thought of themselves. Errors: StreamcodecError if it is empty or
    has more than 1,024 characters.
    """
    if not 1 <= len(passphrase) <= _LONGEST_CHARACTERS:
        raise StreamcodecError(f"a passphrase has 1 to {_LONGEST_CHARACTERS} characters, got {len(passphrase)}")
    spaced = "".join(" " if unicodedata.category(letter) == "Zs" else letter for letter in passphrase)
    prepared = unicodedata.normalize("NFC", spaced).encode("utf-8", "surrogatepass")
    salt = f"streamcodec end-to-end 2 {room}".encode()
    return Scrypt(salt=salt, length=KEY_BYTES, n=_SCRYPT_COST, r=8, p=1).derive(prepared)
