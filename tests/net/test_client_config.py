"""Where a client is to go and what it says of itself is checked before anything is connected."""

from __future__ import annotations

from typing import Any

import pytest

from streamcodec.errors import StreamcodecError
from streamcodec.net.call import Call
from streamcodec.net.client import ClientConfig


@pytest.mark.parametrize(
    "url", ["x", "", None, 5, b"ws://host", "http://host", "ws://", "ws://host:port", "ws://host:0", "ws://host/#a"]
)
def test_an_address_that_is_none_is_told_at_once(url: Any) -> None:
    with pytest.raises(
        StreamcodecError, match="url must be the address of a relay, ws://HOST:PORT or wss://HOST:PORT"
    ):
        ClientConfig(url, "room")
    with pytest.raises(StreamcodecError, match="alternates must be the address of a relay"):
        ClientConfig("ws://host", "room", alternates=(url,))
    with pytest.raises(StreamcodecError, match="url must be the address of a relay"):
        Call.join(url, "room")


@pytest.mark.parametrize(
    "wrong", [{"room": None}, {"room": b"room"}, {"name": None}, {"token": 5}, {"bitstream": None}]
)
def test_what_a_client_says_of_itself_is_text(wrong: dict[str, Any]) -> None:
    with pytest.raises(StreamcodecError, match=f"{next(iter(wrong))} must be text, got "):
        ClientConfig(**({"url": "wss://host", "room": "room"} | wrong))
