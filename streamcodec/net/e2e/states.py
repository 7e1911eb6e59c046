"""How it stands with the encryption between us and one other person, in words for a screen."""

from __future__ import annotations

from enum import StrEnum


class SealState(StrEnum):
    """Stands in ``--json`` by its value."""

    NONE = "none"
    """Neither side uses a passphrase."""
    AGREEING = "agreeing"
    SEALED = "sealed"
    WRONG_PASSPHRASE = "wrong-passphrase"
    THEY_HAVE_NONE = "they-have-no-passphrase"
    WE_HAVE_NONE = "we-have-no-passphrase"
    OTHER_VERSION = "other-version"
    NO_ANSWER = "no-answer"

    @property
    def silent(self) -> bool:
        """Whether neither of us hears the other for this reason."""
        return self not in (SealState.NONE, SealState.AGREEING, SealState.SEALED)

    def sentence(self, name: str) -> str:
        """What to tell people, and what mends it; empty where there is nothing to tell."""
        return _SENTENCES[self].format(name=name or "somebody")


_SENTENCES = {
    SealState.NONE: "",
    SealState.AGREEING: "",
    SealState.SEALED: "",
    SealState.WRONG_PASSPHRASE: "{name} has another passphrase, so neither of you hears the other: compare the "
    "passphrases and the room's name",
    SealState.THEY_HAVE_NONE: "{name} came without a passphrase, so neither of you hears the other: {name} needs "
    "the passphrase of this call (--key-file, or its field on the page)",
    SealState.WE_HAVE_NONE: "{name} speaks encrypted and we have no passphrase, so neither of you hears the other: "
    "start again with --key-file and the passphrase of this call",
    SealState.OTHER_VERSION: "{name} encrypts in another version, so neither of you hears the other: use the same "
    "version of streamcodec on both sides",
    SealState.NO_ANSWER: "{name} does not answer to the exchange of keys, so neither of you hears the other: an "
    "older streamcodec there, or a relay that keeps it back",
}
