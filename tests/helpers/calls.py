"""Settings of quick calls."""

from __future__ import annotations

from typing import Any

from streamcodec.net.call import CallConfig
from streamcodec.net.client import ClientConfig
from streamcodec.net.media import MediaConfig
from streamcodec.net.room import RoomConfig
from tests.helpers.fake_codec import RATE_HZ


def settings(
    url: str, name: str, *, bitstream: str = "ours", reads: str = "ours", token: str = "", **room: Any
) -> CallConfig:
    room.setdefault("webrtc", None)
    client = ClientConfig(url, "room", name=name, bitstream=bitstream, token=token)
    return CallConfig(
        RoomConfig(client, **room), MediaConfig(RATE_HZ, congestion=None), bitstreams=frozenset({reads})
    )
