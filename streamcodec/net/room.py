"""Everyone in a room, by the best path to each: a direct line where there is one, the relay where there is not."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from streamcodec.net.client import ClientConfig, ClientStats, Event, RelayClient
from streamcodec.net.e2e import RoomCipher, SealError
from streamcodec.net.signalling import (
    EVERYONE,
    PeerInfo,
    PeerJoined,
    PeerLeft,
    Signal,
    Welcome,
    check_datagram,
)
from streamcodec.net.webrtc import DirectLine, WebRtcConfig


@dataclass(frozen=True, slots=True)
class RoomConfig:
    """How to be in a room."""

    client: ClientConfig
    room_key: bytes | None = field(default=None, repr=False)
    """32 bytes known to the people in the room and not to the relay; None leaves sealing to TLS and DTLS."""
    webrtc: WebRtcConfig | None = field(default_factory=WebRtcConfig)
    """None sends everything through the relay."""
    absence_s: float = 3.0
    """Somebody the relay has lost, or who is away when we come back, counts as gone after this long."""


@dataclass(slots=True)
class RoomStats:
    """Counts since the start."""

    unopened: int = 0
    """Datagrams and signals whose seal could not be opened."""


@dataclass(slots=True)
class _Member:
    info: PeerInfo
    number: int | None
    """On the relay; None while it does not have this peer."""
    missing_since_s: float = 0.0
    line: DirectLine | None = None


class Room:
    """``async with Room(config, on_datagram, on_peer) as room``; entering raises what RelayClient raises.

    ``on_datagram(identity, datagram)`` and ``on_peer(info, present)`` are called on the event loop and must not
    block. Peers are known by ``identity``, which outlives reconnections of either side.
    """

    def __init__(
        self,
        config: RoomConfig,
        on_datagram: Callable[[str, bytes], None],
        on_peer: Callable[[PeerInfo, bool], None] = lambda info, present: None,
    ) -> None:
        self.config = config
        self.stats = RoomStats()
        self.identity = ""
        self._on_datagram = on_datagram
        self._on_peer = on_peer
        self._members: dict[str, _Member] = {}
        self._by_number: dict[int, _Member] = {}
        self._media: RoomCipher | None = None
        self._signals: RoomCipher | None = None
        if config.room_key is not None:
            self._media = RoomCipher(config.room_key, config.client.room, "media")
            self._signals = RoomCipher(config.room_key, config.client.room, "signal")
        self._client = RelayClient(config.client, self._from_relay, self._happened)
        self._closing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Room:
        self._loop = asyncio.get_running_loop()
        await self._client.__aenter__()
        self._housekeeper = self._loop.create_task(self._keep_house())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._housekeeper.cancel()
        await self._client.__aexit__()
        for member in list(self._members.values()):
            self._hang_up(member)
        if self._closing:
            await asyncio.wait(self._closing, timeout=5.0)

    @property
    def peers(self) -> dict[str, PeerInfo]:
        """Who is here besides us, by identity."""
        return {identity: member.info for identity, member in self._members.items()}

    @property
    def paths(self) -> dict[str, str]:
        """How each peer is reached now: ``direct``, ``relay`` or ``none``."""
        return {identity: self._path(member) for identity, member in self._members.items()}

    @property
    def client_stats(self) -> ClientStats:
        """Counts of the connection to the relay."""
        return self._client.stats

    @property
    def failed(self) -> Exception | None:
        """Why the relay will not have us back, if it will not."""
        return self._client.failed

    def send(self, datagram: bytes, identity: str | None = None) -> None:
        """Send to one peer, or to everyone, each by the best path; a datagram never waits for a path.

        Errors: StreamcodecError for one of no bytes, or of more than 1,100 once sealed.
        """
        if self._media is not None:
            datagram = self._media.seal(datagram)
        check_datagram(datagram)
        if identity is not None:
            member = self._members.get(identity)
            if member is not None and not self._send_directly(member, datagram) and member.number is not None:
                self._client.send(datagram, member.number)
            return
        relayed = [member for member in self._members.values() if not self._send_directly(member, datagram)]
        numbers = [member.number for member in relayed if member.number is not None]
        if numbers and len(numbers) == len(self._client.peers):
            self._client.send(datagram, EVERYONE)
        else:
            for number in numbers:
                self._client.send(datagram, number)

    # -- inside -------------------------------------------------------------------------------------------------

    def _send_directly(self, member: _Member, datagram: bytes) -> bool:
        return member.line is not None and member.line.send(datagram)

    def _path(self, member: _Member) -> str:
        if member.line is not None and member.line.is_open:
            return "direct"
        return "none" if member.number is None or self._client.peer is None else "relay"

    def _happened(self, event: Event) -> None:
        if isinstance(event, Welcome):
            self.identity = event.identity
            for info in event.peers:
                self._arrived(info)
        elif isinstance(event, PeerJoined):
            self._arrived(event.info)
        elif isinstance(event, PeerLeft):
            member = self._by_number.pop(event.peer, None)
            if member is not None:
                self._lose(member)
        elif isinstance(event, Signal):
            self._take_signal(event)
        else:
            for member in self._members.values():
                self._lose(member)
            self._by_number.clear()

    def _arrived(self, info: PeerInfo) -> None:
        member = self._members.get(info.identity)
        if member is None:
            member = self._members[info.identity] = _Member(info, info.peer)
            self._on_peer(info, True)
        member.info = info
        member.number = info.peer
        self._by_number[info.peer] = member
        if self.config.webrtc is not None and member.line is None:
            self._call(member, self.config.webrtc)

    def _call(self, member: _Member, config: WebRtcConfig) -> None:
        identity = member.info.identity
        member.line = DirectLine(
            config,
            offers=self.identity < identity,
            send_signal=lambda data: self._send_signal(member, data),
            on_datagram=lambda datagram: self._receive(identity, datagram),
        )
        member.line.start()

    def _lose(self, member: _Member) -> None:
        member.number = None
        member.missing_since_s = self._loop.time()

    def _send_signal(self, member: _Member, data: dict[str, Any]) -> None:
        if member.number is None:
            return
        if self._signals is not None:
            sealed = self._signals.seal(json.dumps(data).encode())
            data = {"sealed": base64.b64encode(sealed).decode("ascii")}
        self._client.signal(member.number, data)

    def _take_signal(self, signal: Signal) -> None:
        member = self._by_number.get(signal.peer)
        if member is None or member.line is None:
            return
        data = signal.data
        if self._signals is not None:
            try:
                opened = json.loads(self._signals.open(base64.b64decode(str(data.get("sealed")), validate=True)))
            except (SealError, ValueError, binascii.Error):
                self.stats.unopened += 1
                return
            if not isinstance(opened, dict):
                return
            data = opened
        member.line.hear(data)

    def _from_relay(self, number: int, datagram: bytes) -> None:
        member = self._by_number.get(number)
        if member is not None:
            self._receive(member.info.identity, datagram)

    def _receive(self, identity: str, datagram: bytes) -> None:
        if self._media is not None:
            try:
                datagram = self._media.open(datagram)
            except SealError:
                self.stats.unopened += 1
                return
        self._on_datagram(identity, datagram)

    async def _keep_house(self) -> None:
        """Those the relay has lost, and no direct line reaches, have left."""
        while True:
            await asyncio.sleep(0.25)
            now_s = self._loop.time()
            for identity, member in list(self._members.items()):
                absent = member.number is None and now_s - member.missing_since_s > self.config.absence_s
                # While our own line is down we cannot know who is still there.
                if absent and self._client.peer is not None and self._path(member) == "none":
                    del self._members[identity]
                    self._hang_up(member)
                    self._on_peer(member.info, False)

    def _hang_up(self, member: _Member) -> None:
        if member.line is not None:
            task = self._loop.create_task(member.line.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            member.line = None
