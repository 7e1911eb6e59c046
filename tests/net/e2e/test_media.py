"""Media sealed for everybody: small on the wire, found again after any loss, opened once, and by nobody else."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcodec.net.e2e.media import LAST_STEP, MOST_OVERHEAD_BYTES, MediaReceiver, MediaSender
from streamcodec.net.e2e.sframe import SealError

CONTEXT = bytes(range(32))


def pair() -> tuple[MediaSender, MediaReceiver]:
    sender = MediaSender(CONTEXT)
    return sender, MediaReceiver(CONTEXT, sender.key)


GOLDEN = ["80008efe140d75d282ec5cfcc87a3c", "000386397aa38d5b043dc9c73a3f0d", "8008405820bd4708b02986c8e118c4f8"]
GOLDEN_STEP = "08448c5ea76adf8a94c0"


def test_ten_bytes_more_than_the_datagram() -> None:
    sender, receiver = pair()
    sizes = []
    for index in range(10_000):
        datagram = b"datagram %d" % index
        sealed = sender.seal(datagram)
        sizes.append(len(sealed) - len(datagram))
        assert receiver.open(sealed) == datagram
    assert sorted(sizes)[len(sizes) * 9 // 10] == 10
    assert sum(sizes) / len(sizes) < 10.1
    assert max(sizes) <= MOST_OVERHEAD_BYTES


def test_wire_format() -> None:
    """Golden bytes: another implementation must make the same of the same key."""
    sender = MediaSender(CONTEXT, base_key=bytes(48))
    sealed = [sender.seal(b"sound") for _ in range(65)]
    assert [sealed[index].hex() for index in (0, 3, 64)] == GOLDEN
    sender.step()
    for _ in range(3):
        sender.seal(b"")
    assert sender.seal(b"").hex() == GOLDEN_STEP


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.0, 0.6), st.integers(0, 40), st.lists(st.integers(1, 3_000), max_size=4))
def test_whatever_is_lost_and_reordered_the_rest_is_opened_once(
    seed: int, loss: float, shuffle: int, gaps: list[int]
) -> None:
    """Gaps may be longer than the short counter reaches: the place is found again at the next header in full."""
    chance = random.Random(seed)
    sender, receiver = pair()
    for gap in [*gaps, 0]:
        sealed = []
        for _ in range(150):
            text = b"%d" % sender.sealed
            sealed.append((sender.sealed, text, sender.seal(text)))
            if chance.random() < 0.02 and sender.may_step:
                sender.step()
        # Reordered within a few datagrams, as networks do.
        sealed.sort(key=lambda item: item[0] + chance.uniform(0, shuffle / 4))
        kept = [item for item in sealed if chance.random() >= loss]
        opened = 0
        for _, text, data in kept:
            try:
                assert receiver.open(data) == text
                opened += 1
            except SealError:
                assert gaps or shuffle, "nothing was missing, and yet something could not be opened"
            with pytest.raises(SealError):
                receiver.open(data)
        if not gaps and shuffle < 8:
            assert opened == len(kept)
        for _ in range(gap):
            sender.seal(b"lost")
    # However bad it was, 64 datagrams later every one is opened.
    for _ in range(64):
        with_header = sender.seal(b"settle")
        try:
            receiver.open(with_header)
        except SealError:
            continue
    assert receiver.open(sender.seal(b"in place again")) == b"in place again"


def test_replays_are_refused_within_the_window_and_beyond_it() -> None:
    sender, receiver = pair()
    sealed = [sender.seal(b"%d" % index) for index in range(3_000)]
    for index in range(0, 3_000, 2):
        receiver.open(sealed[index])
    for index in (0, 2, 1_000, 2_998):
        with pytest.raises(SealError):
            receiver.open(sealed[index])
    assert receiver.open(sealed[2_999]) == b"2999"
    assert receiver.open(sealed[2_001]) == b"2001"
    with pytest.raises(SealError):
        receiver.open(sealed[1_001])


def test_damage_and_other_contexts_are_refused_and_leave_no_trace() -> None:
    sender, receiver = pair()
    for sealed in [sender.seal(b"hello") for _ in range(5)]:
        for position in range(len(sealed)):
            damaged = bytearray(sealed)
            damaged[position] ^= 1 + position % 255
            with pytest.raises(SealError):
                receiver.open(bytes(damaged))
            with pytest.raises(SealError):
                receiver.open(sealed[:position])
        with pytest.raises(SealError):
            MediaReceiver(CONTEXT[::-1], sender.key).open(sealed)
        assert receiver.open(sealed) == b"hello"


def test_who_comes_later_cannot_open_what_was_said_before() -> None:
    sender, first = pair()
    before = [sender.seal(b"between us") for _ in range(20)]
    sender.step()
    newcomer = MediaReceiver(CONTEXT, sender.key)
    for sealed in before:
        with pytest.raises(SealError):
            newcomer.open(sealed)
        # Not even with the counter forgotten: the key before cannot be found from the key.
        with pytest.raises(SealError):
            MediaReceiver(CONTEXT, replace(sender.key, counter=0)).open(sealed)
    after = sender.seal(b"with everybody")
    assert newcomer.open(after) == b"with everybody"
    # The first listener follows by itself, and still opens what comes late.
    assert first.open(after) == b"with everybody"
    assert first.open(before[-1]) == b"between us"


def test_a_new_generation_without_a_gap_and_without_who_has_gone() -> None:
    sender, stays = pair()
    goes = MediaReceiver(CONTEXT, sender.key)
    late = sender.seal(b"late")
    following = sender.following()
    stays.expect(following)
    assert stays.open(sender.seal(b"still the old key")) == b"still the old key"
    sender.begin(following)
    for index in range(200):
        sealed = sender.seal(b"%d" % index)
        assert stays.open(sealed) == b"%d" % index
        with pytest.raises(SealError):
            goes.open(sealed)
        if index == 5:
            assert stays.open(late) == b"late"


def test_keys_that_were_never_used_are_passed_over() -> None:
    """A silent sender renews its key hour after hour; the first datagrams of the last one are lost."""
    for known in ((1, 2), (2,), (1, 2, 3), (3,), (2, 3)):
        sender, receiver = pair()
        receiver.open(sender.seal(b"the first"))
        late = sender.seal(b"late")
        for generation in range(1, known[-1] + 1):
            following = sender.following()
            if generation in known:
                receiver.expect(following)
            sender.begin(following)
        receiver.expect(following)
        if len(known) < 3:
            assert receiver.open(late) == b"late"
        for _ in range(3):
            sender.seal(b"lost, in full")
        for index in range(100):
            assert receiver.open(sender.seal(b"%d" % index)) == b"%d" % index


def test_a_receiver_computes_no_more_than_a_sender_may_ask_for() -> None:
    sender, receiver = pair()
    while sender.may_step:
        sender.step()
    assert receiver.open(sender.seal(b"all steps at once")) == b"all steps at once"
    sender.step()
    with pytest.raises(SealError):
        receiver.open(sender.seal(b"one too many"))
    assert sender.key.step == LAST_STEP + 1


def test_keys_are_hidden() -> None:
    sender, _ = pair()
    assert sender.key.base_key.hex() not in repr(sender.key)
    assert repr(sender.key.base_key) not in repr(sender.key)
