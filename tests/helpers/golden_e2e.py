"""Writes ``tests/fixtures/golden_e2e.json``: one exchange between two people with every random number fixed.

Another implementation (a browser's) that makes the same of the same numbers talks to this one. Run from the root:
``python -m tests.helpers.golden_e2e``. The file may only change together with the protocol's version.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

from streamcodec.net.e2e import room_key_from_passphrase
from streamcodec.net.e2e.handshake import Handshake, Introduction, to_text
from streamcodec.net.e2e.media import MediaSender
from streamcodec.net.e2e.session import EVERYBODY, Session, context

PATH = Path(__file__).parents[1] / "fixtures" / "golden_e2e.json"
PASSPHRASE, ROOM = "correct horse", "room"


def person(number: int, name: str) -> tuple[Introduction, bytes]:
    """An introduction and the scalar that goes with it."""
    endpoint, nonce, scalar = (bytes((number, part)) * 8 for part in (1, 2, 3))
    return Introduction(endpoint, nonce, name, f"neural-{number}"), scalar * 2


def golden() -> dict[str, Any]:
    """Everything that is said, and what comes of it."""
    secret = room_key_from_passphrase(PASSPHRASE, ROOM)
    (ann, ann_scalar), (bob, bob_scalar) = person(1, "Ann"), person(2, "Bäbs")
    ends = {"ann": Handshake(secret, ROOM, ann), "bob": Handshake(secret, ROOM, bob)}
    with patch("streamcodec.net.e2e.cpace.os.urandom", lambda size: ann_scalar):
        ends["ann"].meet(bob)
    with patch("streamcodec.net.e2e.cpace.os.urandom", lambda size: bob_scalar):
        ends["bob"].meet(ann)
    for step in ("show", "confirm", ""):
        for end, other in (("ann", "bob"), ("bob", "ann")):
            ends[other].hear(ends[end].sent[-1])
        for handshake in ends.values():
            if step:
                getattr(handshake, step)()
    sessions = {name: Session(handshake, ROOM) for name, handshake in ends.items()}
    sender = MediaSender(context(b"media", ROOM, ann, EVERYBODY), base_key=bytes(range(48)))
    media = [sender.seal(b"sound").hex() for _ in range(4)]
    sender.step()
    return {
        "passphrase": PASSPHRASE,
        "room": ROOM,
        "room_key": secret.hex(),
        "scalars": {"ann": ann_scalar.hex(), "bob": bob_scalar.hex()},
        "said": {name: handshake.sent for name, handshake in ends.items()},
        "verification": {name: session.verification for name, session in sessions.items()},
        "signal_of_ann": to_text(sessions["ann"].seal({"kind": "has", "generation": 0})),
        "report_of_ann_for_bob": sessions["ann"].to_one.seal(b"report").hex(),
        "media_key_of_ann": bytes(range(48)).hex(),
        "media_of_ann": media,
        "media_of_ann_after_a_step": sender.seal(b"sound").hex(),
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(golden(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
