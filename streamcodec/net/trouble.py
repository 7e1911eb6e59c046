"""Why somebody in a room cannot be heard, in words: what each end finds out itself and what the other end tells it.

Each end sends the others a *status* through the relay (sealed where there is a key) when they come, when it changes
and every few seconds. How it stands with the encryption both ends know from their exchange of keys.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from dataclasses import fields as dataclass_fields
from enum import StrEnum
from typing import Any

from streamcodec.net.e2e.states import SealState


class Trouble(StrEnum):
    """What is wrong with one other person's sound, or with ours there."""

    WRONG_KEY = "wrong-key"
    KEY_MISSING_HERE = "key-missing-here"
    KEY_MISSING_THERE = "key-missing-there"
    OTHER_ENCRYPTION = "other-encryption"
    NO_KEY_EXCHANGE = "no-key-exchange"
    FOREIGN = "foreign"
    """What comes is of another version or model."""
    FOREIGN_THERE = "foreign-there"
    """What we send is of another version or model to the other side."""
    MUTED = "muted"
    SILENT_MICROPHONE = "silent-microphone"
    NO_DIRECT_LINE = "no-direct-line"
    NO_TURN = "no-turn"
    """No TURN server that was named gives an address."""
    MAY_NOT_SPEAK = "may-not-speak"
    MAY_NOT_HEAR = "may-not-hear"


SEAL_TROUBLES = {
    SealState.WRONG_PASSPHRASE: Trouble.WRONG_KEY,
    SealState.WE_HAVE_NONE: Trouble.KEY_MISSING_HERE,
    SealState.THEY_HAVE_NONE: Trouble.KEY_MISSING_THERE,
    SealState.OTHER_VERSION: Trouble.OTHER_ENCRYPTION,
    SealState.NO_ANSWER: Trouble.NO_KEY_EXCHANGE,
}
UNHEARD = frozenset({*SEAL_TROUBLES.values(), Trouble.FOREIGN})
"""With these nothing of the other person is heard here, however long one waits."""


def sentence(trouble: Trouble, name: str, *, bitstream: str = "") -> str:
    """One sentence for the screen: who, what, and how to mend it."""
    who = name or "somebody"
    for state, sealing in SEAL_TROUBLES.items():
        if sealing is trouble:
            return state.sentence(name)
    return {
        Trouble.FOREIGN: f"{who} cannot be heard: what comes is {bitstream or 'of another kind'}, of another version "
        "of streamcodec or another model; update the older side, or give both the same --model",
        Trouble.FOREIGN_THERE: f"{who} cannot hear us: what we send is of another version of streamcodec or another "
        "model there; update the older side, or give both the same --model",
        Trouble.MUTED: f"{who} is muted",
        Trouble.SILENT_MICROPHONE: f"{who} has a microphone that gives nothing but silence",
        Trouble.NO_DIRECT_LINE: f"no direct line to {who} yet: the relay carries the call",
        Trouble.NO_TURN: f"no direct line to {who} by way of TURN: the server cannot be reached, or refuses the user "
        "or the password",
        Trouble.MAY_NOT_SPEAK: f"{who} only listens",
        Trouble.MAY_NOT_HEAR: f"{who} does not hear the others",
    }[trouble]


@dataclass(frozen=True, slots=True)
class Status:
    """What one end says of itself, and of how it gets on with the one it says it to."""

    muted: bool = False
    silent_microphone: bool = False
    foreign: bool = False
    """The one it is said to sends what is not understood here."""

    def to_fields(self) -> dict[str, Any]:
        """As it goes into a signal."""
        return asdict(self)

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Status:
        """From a signal; what is missing or nonsense is False."""
        return cls(*(fields.get(item.name) is True for item in dataclass_fields(cls)))


class MicrophoneWatch:
    """Tells a microphone that gives nothing, or nothing but digital silence: unplugged, switched off, denied."""

    SILENCE_S = 1.5

    def __init__(self) -> None:
        self._alive_s: float | None = None

    def hear(self, has_sound: bool, now_s: float) -> bool:
        """Take note of whether a block, possibly empty, held any sound; whether the microphone seems dead."""
        if has_sound or self._alive_s is None:
            self._alive_s = now_s
        return now_s - self._alive_s >= self.SILENCE_S
