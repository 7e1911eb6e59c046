"""The exchange between two ends, to the byte and out of order."""

from __future__ import annotations

import json

import pytest

from streamcodec.net.e2e.handshake import Handshake, Introduction, OtherVersionError
from streamcodec.net.e2e.media import MediaKey, MediaReceiver
from streamcodec.net.e2e.session import EVERYBODY, context
from streamcodec.net.e2e.sframe import SealError
from tests.helpers.golden_e2e import PATH, ROOM, golden

SECRET = bytes(32)


def test_an_exchange_to_the_byte() -> None:
    """What another implementation is held to; changes only together with the version."""
    kept = json.loads(PATH.read_text(encoding="utf-8"))
    assert golden() == kept
    assert kept["verification"]["ann"] == kept["verification"]["bob"]
    ann = Introduction.from_message(kept["said"]["ann"][0])
    key = MediaKey(0, 0, bytes.fromhex(kept["media_key_of_ann"]), 0)
    receiver = MediaReceiver(context(b"media", ROOM, ann, EVERYBODY), key)
    for sealed in (*kept["media_of_ann"], kept["media_of_ann_after_a_step"]):
        assert receiver.open(bytes.fromhex(sealed)) == b"sound"


def test_nothing_is_shown_before_the_other_end_has_committed_itself() -> None:
    ann, bob = (Handshake(SECRET, "room", Introduction(name=name)) for name in ("Ann", "Bob"))
    assert not ann.may_show
    (commitment,) = ann.meet(bob.own)
    assert not ann.may_show
    bob.meet(ann.own)
    bob.hear(commitment)
    assert bob.may_show
    (share,) = bob.show()
    with pytest.raises(SealError):
        ann.hear({**share, "run": "another"})
    ann.hear(share)
    assert not ann.may_confirm, "a share without a commitment is passed over"
    with pytest.raises(SealError, match="no key"):
        ann.derive(b"anything", length=32)


def test_a_share_other_than_the_one_committed_to_is_refused() -> None:
    ann, bob = (Handshake(SECRET, "room", Introduction(name=name)) for name in ("Ann", "Bob"))
    ann.meet(bob.own)
    (commitment,) = bob.meet(ann.own)
    bob.hear(ann.sent[-1])
    ann.hear(commitment)
    ann.show()
    true = bob.show()[0]
    # Somebody in between has seen Ann's share and would now rather have another.
    other = Handshake(SECRET, "room", bob.own)
    other.meet(ann.own)
    with pytest.raises(SealError, match="committed"):
        ann.hear({**true, "value": other.show()[0]["value"]})
    ann.hear(true)
    assert ann.may_confirm


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("endpoint", "AAAA"),
        ("endpoint", None),
        ("nonce", "?"),
        ("name", "a\nb"),
        ("name", "x" * 65),
        ("name", "\ud800"),
        ("name", 5),
        ("bitstream", ["x"]),
    ],
)
def test_hellos_are_checked(field: str, value: object) -> None:
    with pytest.raises(SealError):
        Introduction.from_message({**Introduction().to_message(), field: value})


@pytest.mark.parametrize("version", [1, 3, "2", None])
def test_other_versions_are_told_apart_from_damage(version: object) -> None:
    with pytest.raises(OtherVersionError):
        Introduction.from_message({**Introduction().to_message(), "version": version})


def test_our_own_hello_is_refused() -> None:
    ann = Handshake(SECRET, "room", Introduction())
    with pytest.raises(SealError, match="our own"):
        ann.meet(Introduction(endpoint=ann.own.endpoint))
