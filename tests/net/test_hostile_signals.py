"""Signals written to do harm (deep, long, half a character): refused in one sentence, or passed on unharmed."""

from __future__ import annotations

import asyncio
import json

import pytest

from streamcodec.net.client import JoinError
from streamcodec.net.relay.server import Relay
from streamcodec.net.signalling import (
    MAX_TEXT_BYTES,
    PeerInfo,
    Signal,
    SignallingError,
    Welcome,
    parse_client_message,
    parse_relay_message,
)
from tests.helpers.relay import Seat, ended, raw, run


def test_a_signal_that_grows_when_written_again_is_its_senders_trouble() -> None:
    async def test() -> None:
        async with Relay() as relay, Seat(relay.url) as victim:
            bad = await raw(relay)
            text = json.dumps({"type": "signal", "peer": 0, "data": {"x": "é" * 8_000}}, ensure_ascii=False)
            assert len(text.encode()) <= MAX_TEXT_BYTES
            await bad.send(text)
            assert "bad-message" in await ended(bad)
            await asyncio.sleep(0.05)
            assert victim.stats.connects == 1
            assert not any(isinstance(event, Signal) for event in victim.events)

    run(test())


@pytest.mark.parametrize("depth", [20, 500, 990, 1_200, 3_000, 7_900])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_deep_json_is_refused_and_not_raised(depth: int, brackets: str) -> None:
    begin = "[" if brackets == "[]" else '{"a":'
    depth = min(depth, 16_000 // (len(begin) + 1))
    body = begin * depth + ("" if brackets == "[]" else "1") + brackets[1] * depth
    with pytest.raises(SignallingError):
        parse_client_message(f'{{"type":"signal","peer":1,"data":{{"x":{body}}}}}')


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999", "-1e999"])
def test_numbers_that_no_browser_reads_are_refused(number: str) -> None:
    with pytest.raises(SignallingError, match="JSON"):
        parse_client_message(f'{{"type":"signal","peer":1,"data":{{"x":{number}}}}}')


def test_lone_surrogates_pass_unharmed() -> None:
    signal = parse_client_message('{"type":"signal","peer":1,"data":{"x":"\\ud800"}}')
    assert isinstance(signal, Signal)
    assert parse_relay_message(signal.to_json().encode()) == signal


def test_a_welcome_to_a_full_room_of_long_names_is_read() -> None:
    peers = tuple(PeerInfo(number, "😀" * 64, "i" * 16, "b" * 64) for number in range(254))
    text = Welcome(254, peers, "identity").to_json()
    assert len(text) > 65_536
    assert parse_relay_message(text) == Welcome(254, peers, "identity")


def test_long_names_are_refused_in_one_sentence() -> None:
    async def test() -> None:
        async with Relay() as relay:
            with pytest.raises(JoinError, match="name must be text of at most 64"):
                async with Seat(relay.url, name="x" * 65):
                    pass

    run(test())
