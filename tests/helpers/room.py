"""A room that keeps what it hears."""

from __future__ import annotations

from typing import Any

from streamcodec.net.client import ClientConfig
from streamcodec.net.room import Room, RoomConfig
from streamcodec.net.signalling import PeerInfo
from streamcodec.net.webrtc import WebRtcConfig

QUICK = WebRtcConfig(open_timeout_s=3.0, heartbeat_s=0.05, silence_s=0.4, retry_s=0.2)


class Guest(Room):
    """A room that keeps what it hears."""

    def __init__(
        self,
        url: str,
        *,
        name: str = "",
        alternates: tuple[str, ...] = (),
        retry_s: tuple[float, float] = (0.05, 0.1),
        **config: Any,
    ) -> None:
        self.heard: list[bytes] = []
        self.seen: list[tuple[str, bool]] = []
        config.setdefault("webrtc", QUICK)
        super().__init__(
            RoomConfig(
                ClientConfig(url, "room", name=name, alternates=alternates, retry_s=retry_s),
                absence_s=1.0,
                **config,
            ),
            lambda identity, datagram: self.heard.append(datagram),
            self._note,
        )

    def _note(self, info: PeerInfo, present: bool) -> None:
        self.seen.append((info.name, present))

    def reached(self, path: str) -> bool:
        return list(self.paths.values()) == [path]
