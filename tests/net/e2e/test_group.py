"""A room's encryption on a simulated clock: who hears whom, and what a relay that is not honest can do."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcodec.errors import StreamcodecError
from streamcodec.net.e2e import EndToEnd, SealError, SealState
from streamcodec.net.e2e.group import GUESSES, HELLOS, RENEW_S, SHOWN
from tests.helpers.sealed_room import SECRET, Relay, Signal

OTHER = SECRET[::-1]


def hears(relay: Relay, listener: str, speaker: str) -> bool:
    """Whether what the speaker seals for everybody is opened by the listener."""
    text = b"%d" % random.getrandbits(64)
    try:
        return relay.people[listener].open_media(speaker, relay.people[speaker].seal_media(text)) == text
    except SealError:
        return False


def test_eight_people_hear_each_other_and_see_the_same_digits() -> None:
    relay = Relay()
    names = [f"p{index}" for index in range(8)]
    for name in names:
        relay.join(name, bitstream=f"neural-{name}")
    relay.run(1.0)
    assert relay.states() == {SealState.SEALED}
    digits = set()
    for one in names:
        for other in names:
            if one != other:
                assert hears(relay, one, other)
                introduction = relay.people[one].introduction(other)
                assert introduction is not None
                assert (introduction.name, introduction.bitstream) == (other.title(), f"neural-{other}")
                text = relay.people[one].verification(other)
                assert text == relay.people[other].verification(one)
                assert len(text) == 9
                digits.add(text)
    assert len(digits) > 20, "each pair has digits of its own"
    # Few enough signals for what relays take from one connection: a burst of 60.
    for name in names:
        assert sum(source == name for source, _, _ in relay.seen) <= 60


def test_signals_and_media_for_one_are_opened_by_that_one_alone() -> None:
    relay = Relay()
    ann, bob, cid = relay.join("ann"), relay.join("bob"), relay.join("cid")
    report = ann.seal_media_for("bob", b"report")
    with pytest.raises(SealError):
        cid.open_media("ann", report)
    assert bob.open_media("ann", report) == b"report"
    with pytest.raises(SealError):
        bob.open_media("ann", report)
    signal = ann.seal_signal("bob", {"kind": "offer", "sdp": "v=0"})
    assert "offer" not in json.dumps(signal)
    assert cid.hear("ann", signal) == []
    assert bob.hear("cid", signal) == []
    assert bob.hear("ann", signal) == [{"kind": "offer", "sdp": "v=0"}]
    assert bob.hear("ann", signal) == [], "once only"


@pytest.mark.parametrize(
    ("secret", "room", "ours", "theirs"),
    [
        (OTHER, "room", SealState.WRONG_PASSPHRASE, SealState.WRONG_PASSPHRASE),
        (SECRET, "other", SealState.WRONG_PASSPHRASE, SealState.WRONG_PASSPHRASE),
        (None, "room", SealState.THEY_HAVE_NONE, SealState.WE_HAVE_NONE),
    ],
)
def test_both_ends_are_told_why_they_do_not_hear_each_other(
    secret: bytes | None, room: str, ours: SealState, theirs: SealState
) -> None:
    relay = Relay()
    ann = relay.join("ann")
    bob = relay.join("bob", secret, room)
    relay.run(0.5)
    assert (ann.state("bob"), bob.state("ann")) == (ours, theirs)
    assert ("ann", "bob", ours) in relay.told
    assert ("bob", "ann", theirs) in relay.told
    for state in (ours, theirs):
        assert state.silent
        assert "neither of you hears the other" in state.sentence("Bob")
        assert "Bob" in state.sentence("Bob")
    assert not hears(relay, "bob", "ann")
    assert not hears(relay, "ann", "bob")
    # The right one among them is heard all the same, and they do not lose each other over it.
    relay.join("cid")
    assert hears(relay, "ann", "cid")
    assert ann.state("bob") is ours


def test_who_does_not_answer_and_who_speaks_another_version_is_told() -> None:
    relay = Relay()
    ann = relay.join("ann")
    ann.meet("mute")
    relay.run(1.5)
    assert ann.state("mute") is SealState.NO_ANSWER
    ann.meet("old")
    ann.hear("old", {"sealed": "AAAA"})
    assert ann.state("old") is SealState.OTHER_VERSION
    ann.meet("new")
    ann.hear("new", {"e2e": [{"kind": "hello", "version": 3}]})
    assert ann.state("new") is SealState.OTHER_VERSION


def test_a_room_without_a_passphrase_carries_everything_as_it_is() -> None:
    relay = Relay()
    ann, _ = relay.join("ann", None), relay.join("bob", None)
    assert not ann.on
    assert ann.state("bob") is SealState.NONE
    assert ann.open_media("bob", b"anything") == b"anything"
    assert not relay.seen


# -- a relay that is not honest ---------------------------------------------------------------------------------


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


# -- a relay that loses ------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.0, 0.6))
def test_whatever_signals_are_lost_and_repeated_everybody_is_heard_in_the_end(seed: int, loss: float) -> None:
    chance = random.Random(seed)

    def lose(signal: Signal) -> list[Signal]:
        return [signal] * sum(chance.random() >= loss for _ in range(2))

    relay = Relay(lose)
    for name in ("ann", "bob", "cid"):
        relay.join(name)
        relay.run(chance.uniform(0.0, 3.0))
    for _ in range(60):
        if relay.states() == {SealState.SEALED}:
            break
        relay.run(2.0)
    relay.tamper = lambda signal: [signal]
    relay.run(10.0)
    for one in relay.people:
        for other in relay.people:
            assert one == other or hears(relay, one, other)
            assert one == other or relay.people[one].verification(other) == relay.people[other].verification(one)


def test_somebody_who_was_forgotten_and_comes_back_is_heard_again() -> None:
    """One side has lost sight of the other for a while, and has let its keys go."""
    relay = Relay()
    ann, _ = relay.join("ann"), relay.join("bob")
    assert hears(relay, "bob", "ann")
    ann.forget("bob")
    relay.run(1.0)
    ann.meet("bob")
    relay.run(2.0)
    assert hears(relay, "bob", "ann")
    assert hears(relay, "ann", "bob")
    assert relay.states() == {SealState.SEALED}


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


# -- time --------------------------------------------------------------------------------------------------------


def test_a_sender_up_for_a_day_is_heard_by_newcomers_and_without_a_gap_by_the_others() -> None:
    """24 h 10 min 1 s, as in the report: keys are renewed every hour and no clock is compared with another."""
    relay = Relay()
    ann, bob = relay.join("ann"), relay.join("bob")
    generations = set()
    for second in range(86_400 + 601):
        if second % 4 == 0:
            text = b"%d" % second
            assert bob.open_media("ann", ann.seal_media(text)) == text
            generations.add(ann._sender.key.generation)
        relay.run(1.0, 1.0)
    assert len(generations) == 1 + (86_400 + 601) // int(RENEW_S + 1)
    relay.join("cid")
    relay.run(1.0)
    assert hears(relay, "cid", "ann")
    assert bob.refused == 0


def test_who_has_gone_hears_nothing_more_even_from_the_relay() -> None:
    relay = Relay()
    ann, bob, cid = relay.join("ann"), relay.join("bob"), relay.join("cid")
    relay.run(20.0)
    relay.leave("cid")
    for _ in range(40):
        relay.run(0.25)
        text = b"%d" % int(4 * relay.now_s)
        sealed = ann.seal_media(text)
        assert bob.open_media("ann", sealed) == text, "those who stay notice nothing"
    with pytest.raises(SealError):
        cid.open_media("ann", sealed)


def test_people_coming_and_going_all_day() -> None:
    relay = Relay()
    relay.join("ann")
    relay.join("bob")
    for visit in range(150):
        name = f"v{visit}"
        relay.join(name)
        relay.run(4.0)
        assert hears(relay, name, "ann")
        assert hears(relay, "ann", name)
        assert hears(relay, "bob", "ann")
        relay.leave(name)
        relay.run(4.0)
        assert hears(relay, "bob", "ann")
    assert relay.people["bob"].refused == 0


def test_a_key_that_does_not_reach_somebody_does_not_hold_up_the_others() -> None:
    lost: list[str] = []
    relay = Relay(lambda signal: [] if signal[1] in lost else [signal])
    ann, bob, cid = relay.join("ann"), relay.join("bob"), relay.join("cid")
    relay.run(20.0)
    lost.append("cid")
    relay.run(RENEW_S + 10.0)
    sealed = ann.seal_media(b"new key")
    assert ann._sender.key.generation >= 1
    assert bob.open_media("ann", sealed) == b"new key"
    with pytest.raises(SealError):
        cid.open_media("ann", sealed)
    lost.clear()
    relay.run(1.5)
    assert hears(relay, "cid", "ann")


def test_keys_are_checked_and_hidden() -> None:
    with pytest.raises(StreamcodecError, match="32 bytes"):
        EndToEnd(b"short", "room", lambda to, data: None, clock_s=lambda: 0.0)
    assert "hidden" in repr(EndToEnd(SECRET, "room", lambda to, data: None, clock_s=lambda: 0.0))
