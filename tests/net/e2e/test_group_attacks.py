"""Attacks on a group: signals swapped, replayed, changed, invented, and a relay that would like to listen."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcodec.net.e2e import SealError, SealState
from streamcodec.net.e2e.group import GUESSES, HELLOS, SHOWN
from tests.helpers.sealed_room import Relay, Signal, hears


def test_swapped_speakers_are_not_heard() -> None:
    relay = Relay()
    ann, bob, cid = relay.join("ann"), relay.join("bob"), relay.join("cid")
    for swapped, sealed in (("bob", ann.seal_media(b"I am Ann")), ("ann", bob.seal_media(b"I am Bob"))):
        with pytest.raises(SealError):
            cid.open_media(swapped, sealed)
    with pytest.raises(SealError):
        ann.open_media("bob", ann.seal_media(b"our own"))


def test_swapped_from_the_beginning_they_are_heard_under_their_own_names() -> None:
    """The relay decides who sits on which of its numbers; who that is it cannot decide."""
    names = {"ann": "bob", "bob": "ann"}

    def swap(signal: Signal) -> list[Signal]:
        source, destination, data = signal
        if destination == "cid":
            return [(names.get(source, source), destination, data)]
        if source == "cid":
            return [(source, names.get(destination, destination), data)]
        return [signal]

    relay = Relay(swap)
    for name in ("ann", "bob", "cid"):
        relay.join(name)
    relay.run(1.0)
    cid = relay.people["cid"]
    introduction = cid.introduction("ann")
    assert introduction is not None
    assert introduction.name == "Bob"
    assert cid.open_media("ann", relay.people["bob"].seal_media(b"I am Bob")) == b"I am Bob"


def test_a_finished_session_cannot_be_replayed_into_a_new_one() -> None:
    relay = Relay()
    ann, _ = relay.join("ann"), relay.join("cid")
    media = [ann.seal_media(b"%d" % index) for index in range(20)] + [ann.seal_media_for("cid", b"report")]
    said = [data for source, destination, data in relay.seen if (source, destination) == ("ann", "cid")]
    again = Relay()
    cid = again.join("cid")
    cid.meet("ann")
    for data in said * 3:
        assert cid.hear("ann", copy.deepcopy(data)) == []
        again.settle()
        again.run(0.5)
    assert cid.state("ann") is not SealState.SEALED
    for sealed in media:
        with pytest.raises(SealError):
            cid.open_media("ann", sealed)


def test_replayed_signals_do_not_disturb_a_session() -> None:
    relay = Relay()
    ann, cid = relay.join("ann"), relay.join("cid")
    before = relay.people["cid"].verification("ann")
    for source, destination, data in list(relay.seen):
        relay.people[destination].hear(source, copy.deepcopy(data))
        relay.settle()
    assert hears(relay, "cid", "ann")
    assert hears(relay, "ann", "cid")
    assert ann.verification("cid") == cid.verification("ann")
    assert len(before) == 9


@pytest.mark.parametrize("field", ["name", "bitstream", "endpoint", "nonce", "answers", "version"])
def test_names_bitstreams_and_versions_cannot_be_changed_on_the_way(field: str) -> None:
    def change(signal: Signal) -> list[Signal]:
        source, destination, data = copy.deepcopy(signal)
        for message in data["e2e"]:
            if message["kind"] == "hello" and source == "ann":
                message[field] = 1 if field == "version" else "A" * 22 + "=="
        return [(source, destination, data)]

    relay = Relay(change)
    ann, bob = relay.join("ann", bitstream="neural-1"), relay.join("bob")
    relay.run(10.0)
    if field == "answers":  # Of no consequence, and so not authenticated.
        assert relay.states() == {SealState.SEALED}
        return
    assert bob.introduction("ann") is None
    assert not hears(relay, "bob", "ann")
    assert bob.state("ann").silent
    assert ann.state("bob") is not SealState.SEALED


@pytest.mark.parametrize("kind", ["commit", "share", "confirm", "sealed"])
def test_a_handshake_changed_anywhere_comes_to_nothing_and_is_told(kind: str) -> None:
    def change(signal: Signal) -> list[Signal]:
        source, destination, data = copy.deepcopy(signal)
        for message in data["e2e"]:
            if message["kind"] == kind and source == "ann":
                message["value"] = ("A" if message["value"][0] != "A" else "B") + message["value"][1:]
        return [(source, destination, data)]

    relay = Relay(change)
    _, bob = relay.join("ann"), relay.join("bob")
    relay.run(8.0)
    assert bob.state("ann") is not SealState.SEALED
    assert not hears(relay, "bob", "ann")
    assert bob.refused or bob.state("ann") is SealState.WRONG_PASSPHRASE


def test_encryption_cannot_be_talked_away() -> None:
    """Whatever the relay claims, somebody with a passphrase sends nothing open and takes nothing open."""
    relay = Relay()
    ann, _ = relay.join("ann"), relay.join("bob")
    for lie in ({"e2e": [{"kind": "none"}]}, {"kind": "offer", "attempt": 1, "sdp": "v=0"}, {"sealed": "AAAA"}):
        assert ann.hear("bob", lie) == []
    assert ann.state("bob") is SealState.SEALED
    with pytest.raises(SealError):
        ann.open_media("bob", b"an open datagram")
    assert hears(relay, "ann", "bob")
    ann.meet("eve")
    ann.hear("eve", {"e2e": [{"kind": "none"}]})
    with pytest.raises(SealError):
        ann.open_media("eve", b"an open datagram")
    with pytest.raises(SealError):
        ann.seal_media_for("eve", b"a secret")
    with pytest.raises(SealError):
        ann.seal_signal("eve", {"kind": "offer"})


def test_somebody_in_between_who_knows_the_passphrase_shows_in_the_digits() -> None:
    """The passphrase has leaked to the relay, which speaks to each end in the name of the other."""
    for _ in range(3):
        to_ann, to_bob = Relay(), Relay()
        ann, _ = to_ann.join("ann"), to_ann.join("bob")
        bob, _ = to_bob.join("bob"), to_bob.join("ann")
        assert ann.state("bob") is bob.state("ann") is SealState.SEALED
        if ann.verification("bob") != bob.verification("ann"):
            return
    pytest.fail("one in a million, three times")


def count(relay: Relay, source: str, kind: str) -> int:
    """How many messages of a kind somebody has sent; one that is said again counts once."""
    sent = [message for who, _, data in relay.seen if who == source for message in data["e2e"]]
    return len({message["value"] for message in sent if message["kind"] == kind})


def test_digits_cannot_be_tried_until_they_fit() -> None:
    """Somebody in between breaks off when the digits do not fit, and comes again as somebody else."""
    relay = Relay()
    ann = relay.join("ann")
    for index in range(300):
        relay.tamper = lambda signal: [] if signal[0] != "ann" and "share" in str(signal[2]) else [signal]
        relay.join(f"m{index}")
        relay.run(0.5)
        relay.leave(f"m{index}")
    rate, burst = SHOWN
    assert burst <= count(relay, "ann", "share") <= burst + rate * 150 + 1
    assert ann.broken_off == count(relay, "ann", "share")
    relay.tamper = lambda signal: [signal]
    relay.join("bob")
    relay.run(10.0)
    assert hears(relay, "bob", "ann"), "who is honest waits a little"
    assert ann.broken_off < 300


def test_who_begins_anew_without_end_is_bounded() -> None:
    relay = Relay()
    ann, bob = relay.join("ann"), relay.join("bob")
    begun = count(relay, "ann", "commit")
    hello = next(message for who, _, data in relay.seen if who == "bob" for message in data["e2e"])
    for index in range(500):
        fresh = {**hello, "nonce": f"{index:022d}=="}
        ann.hear("bob", {"e2e": [fresh] * 4})
        relay.settle()
        relay.run(0.1, 0.1)
    rate, burst = HELLOS
    assert count(relay, "ann", "commit") - begun <= burst + rate * 50 + 1
    assert hears(relay, "ann", "bob")
    assert bob.state("ann") is SealState.SEALED


def test_each_exchange_is_one_guess_and_guesses_are_counted() -> None:
    """Somebody without the passphrase tries again and again; Ann lets them try no faster than she should."""
    relay = Relay()
    relay.join("ann")
    for index in range(200):
        relay.join(f"e{index}", random.Random(index).randbytes(32))
        relay.run(0.5)
        relay.leave(f"e{index}")
    confirmed = count(relay, "ann", "confirm")
    rate, burst = GUESSES
    assert burst <= confirmed <= burst + rate * 100 + 1
    # Who knows it comes in all the same.
    relay.join("bob")
    relay.run(2.5)
    assert hears(relay, "bob", "ann")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ["kind", "version", "endpoint", "nonce", "answers", "name", "bitstream", "run", "value"]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_signal_raises_or_ends_a_session(data: st.DataObject) -> None:
    relay = Relay()
    ann, _ = relay.join("ann"), relay.join("bob")
    seen = [message for _, _, signal in relay.seen for message in signal["e2e"]]
    for _ in range(5):
        message: Any = copy.deepcopy(data.draw(st.sampled_from(seen)))
        if data.draw(st.booleans()):
            message[data.draw(st.sampled_from(FIELDS))] = data.draw(JSON)
        for signal in ({"e2e": [message]}, {"e2e": data.draw(JSON)}):
            ann.hear("bob", signal)
            ann.hear("nobody", signal)
            relay.settle()
    relay.run(6.0, 1.0)
    assert hears(relay, "ann", "bob")
    assert hears(relay, "bob", "ann")
