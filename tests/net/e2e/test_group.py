"""A room's encryption on a simulated clock: who hears whom, and what a relay that is not honest can do."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcodec.errors import StreamcodecError
from streamcodec.net.e2e import EndToEnd, SealError, SealState
from streamcodec.net.e2e.group import RENEW_S
from tests.helpers.sealed_room import SECRET, Relay, Signal, hears

OTHER = SECRET[::-1]


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
