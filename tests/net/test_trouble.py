"""Who cannot be heard is told why, at both ends and within two seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import aioice.ice
import pytest

from streamcodec.net.call import Call, CallConfig, PeerStats
from streamcodec.net.relay.server import Relay
from streamcodec.net.relay.tokens import Grants
from streamcodec.net.trouble import UNHEARD, MicrophoneWatch, Status, Trouble, sentence
from streamcodec.net.webrtc import WebRtcConfig
from tests.helpers.calls import settings
from tests.helpers.fake_codec import FakeDecoder, FakeEncoder
from tests.helpers.relay import SIGNER, run, until

WITHIN_S = 2.0


def call(config: CallConfig) -> Call:
    return Call(config, FakeEncoder(), FakeDecoder)


def other(end: Call) -> PeerStats:
    (peer,) = end.peers.values()
    return peer


def found_at_both_ends(
    ann_has: dict[str, Any],
    bob_has: dict[str, Any],
    ann_finds: set[Trouble],
    bob_finds: set[Trouble],
    prepare: Callable[[Call, Call], None] = lambda ann, bob: None,
) -> None:
    async def test() -> None:
        async with (
            Relay() as relay,
            call(settings(relay.url, "Ann", **ann_has)) as ann,
            call(settings(relay.url, "Bob", **bob_has)) as bob,
        ):
            prepare(ann, bob)
            began_s = time.monotonic()
            await until(lambda: bool(ann.peers and bob.peers))
            await until(lambda: set(other(ann).troubles) == ann_finds and set(other(bob).troubles) == bob_finds)
            assert time.monotonic() - began_s < WITHIN_S
            for end, name in ((ann, "Bob"), (bob, "Ann")):
                for text in other(end).sentences().values():
                    assert name in text
                    assert "\n" not in text

    run(test())


ONE_KEY, ANOTHER_KEY = bytes(32), bytes(range(32))


def test_all_is_well_between_two_who_agree() -> None:
    found_at_both_ends({"room_key": ONE_KEY}, {"room_key": ONE_KEY}, set(), set())
    found_at_both_ends({}, {}, set(), set())


def test_another_passphrase() -> None:
    wrong = {Trouble.WRONG_KEY}
    found_at_both_ends({"room_key": ONE_KEY}, {"room_key": ANOTHER_KEY}, wrong, wrong)


def test_a_passphrase_on_one_side_only() -> None:
    found_at_both_ends({"room_key": ONE_KEY}, {}, {Trouble.KEY_MISSING_THERE}, {Trouble.KEY_MISSING_HERE})


def test_another_version_or_model() -> None:
    found_at_both_ends(
        {"bitstream": "ours", "reads": "ours"},
        {"bitstream": "theirs", "reads": "theirs"},
        {Trouble.FOREIGN, Trouble.FOREIGN_THERE},
        {Trouble.FOREIGN, Trouble.FOREIGN_THERE},
    )


def test_muted_and_dead_microphones() -> None:
    def mute(ann: Call, bob: Call) -> None:
        ann.muted = True
        bob.silent_microphone = True

    found_at_both_ends({}, {}, {Trouble.SILENT_MICROPHONE}, {Trouble.MUTED}, mute)


def test_no_direct_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: [])
    none = {Trouble.NO_DIRECT_LINE}
    found_at_both_ends({"webrtc": WebRtcConfig()}, {"webrtc": WebRtcConfig()}, none, none)


def test_tokens_that_do_not_let_speak_or_hear() -> None:
    async def test() -> None:
        tokens = [SIGNER.issue("room", 2e9, grants) for grants in (Grants(speak=False), Grants(listen=False))]
        async with (
            Relay(signer=SIGNER) as relay,
            call(settings(relay.url, "Ann", token=tokens[0])) as ann,
            call(settings(relay.url, "Bob", token=tokens[1])) as bob,
        ):
            await until(lambda: bool(ann.peers and bob.peers))
            assert other(ann).troubles == (Trouble.MAY_NOT_HEAR,)
            assert other(bob).troubles == (Trouble.MAY_NOT_SPEAK,)

    run(test())


def test_a_trouble_that_is_mended_is_no_longer_told() -> None:
    async def test() -> None:
        async with (
            Relay() as relay,
            call(settings(relay.url, "Ann")) as ann,
            call(settings(relay.url, "Bob")) as bob,
        ):
            ann.muted = True
            await until(lambda: bool(bob.peers) and other(bob).troubles == (Trouble.MUTED,))
            ann.muted = False
            await until(lambda: other(bob).troubles == ())

    run(test())


def test_every_trouble_has_a_sentence_and_statuses_survive_nonsense() -> None:
    for trouble in Trouble:
        assert "Bob" in sentence(trouble, "Bob")
        assert "somebody" in sentence(trouble, "")
    assert set(Trouble) > UNHEARD
    assert Status.from_fields({"muted": 1, "silent_microphone": "yes", "else": []}) == Status()
    status = Status(True, False, True)
    assert Status.from_fields(status.to_fields()) == status


def test_a_microphone_is_dead_after_a_second_and_a_half_of_nothing() -> None:
    watch = MicrophoneWatch()
    told = [watch.hear(k % 200 < 10, 0.01 * k) for k in range(400)]
    # Alive to 0.09 s, then silent until sound comes again at 2 s.
    assert told.index(True) == pytest.approx(160, abs=2)
    assert not any(told[200:359])
    assert told[361]


def test_a_status_is_told_again_in_case_it_was_lost() -> None:
    async def test() -> None:
        now_s = 0.0

        def clock_s() -> float:
            return now_s

        async with Relay() as relay:
            ann = Call(settings(relay.url, "Ann"), FakeEncoder(), FakeDecoder, clock_s=clock_s)
            told: list[Status] = []
            ann._room.tell_status = lambda identity, status: told.append(status)  # type: ignore[method-assign]
            async with ann, call(replace(settings(relay.url, "Bob"))):
                await until(lambda: len(told) == 1)
                await asyncio.sleep(0.25)
                assert len(told) == 1
                now_s = 6.0
                await until(lambda: len(told) == 2)

    run(test())
