"""Packets across a bad network: from an encoder's packets to sound at the other end, and the servers in between.

The path of a packet, in file names: ``session`` (sender) -> ``redundancy`` -> ``room`` -> ``e2e`` -> ``webrtc``, or
``client`` -> ``relay`` (-> its ``cluster`` -> another relay) -> ``client`` -> ``e2e`` ->
``session`` (receiver) -> ``jitter_buffer`` with ``delay_estimator`` -> ``playout`` with ``time_scale`` -> ``mixer``.
``report`` and ``congestion`` close the loop backwards. ``call`` is all of it behind two methods, ``tracks`` the same
for aiortc applications, ``simulate`` the same on a simulated clock, with ``loss_models`` and ``lossy_link`` for a
network. ``signalling``, ``tokens`` and ``rate_limit`` serve client and relay.

May import ``codec`` and ``native_dsp``. Never imports ``live``, ``cli`` or torch, never reads a wall clock where a
caller can inject one, never logs a token, key or packet body. Everything from ``session`` to ``mixer`` needs numpy
alone; sockets and cryptography come with the ``net`` extra, shared rooms with ``cluster``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamcodec.net.call import Call, CallConfig
    from streamcodec.net.client import ClientConfig
    from streamcodec.net.media import MediaConfig
    from streamcodec.net.relay.config import RelayConfig
    from streamcodec.net.relay.server import Relay
    from streamcodec.net.room import RoomConfig
    from streamcodec.net.tracks import SpeakerTrack, feed

__all__ = [
    "Call",
    "CallConfig",
    "ClientConfig",
    "MediaConfig",
    "Relay",
    "RelayConfig",
    "RoomConfig",
    "SpeakerTrack",
    "feed",
]
_HOMES = {
    "Call": "call",
    "CallConfig": "call",
    "ClientConfig": "client",
    "MediaConfig": "media",
    "Relay": "relay.server",
    "RelayConfig": "relay.config",
    "RoomConfig": "room",
    "SpeakerTrack": "tracks",
    "feed": "tracks",
}


def __getattr__(name: str) -> Any:
    """Loaded when asked for: most of this package needs no socket, and sockets come with an extra."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
