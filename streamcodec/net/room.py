"""Everyone in a room, by the best path to each: a direct line where there is one, the relay where there is not.

With a room key nobody counts as here before keys are agreed on with them (:mod:`streamcodec.net.e2e`): names and
bitstreams are then their own word, not the relay's. What passes the relay is sealed, signals and media alike. The
media of a direct line are not sealed again: its fingerprints came in sealed signals, so nobody else has its keys.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from streamcodec.errors import StreamcodecError
from streamcodec.net.client import ClientConfig, Event, RelayClient, failure_of
from streamcodec.net.e2e import EndToEnd, SealError, SealState
from streamcodec.net.e2e.media import MOST_OVERHEAD_BYTES, OVERHEAD_BYTES
from streamcodec.net.framing import MOST_FRAMING_BYTES, Deframer, Framer
from streamcodec.net.held_report import HeldReport
from streamcodec.net.relay.rate_limit import RateLimit
from streamcodec.net.report import is_report
from streamcodec.net.signalling import (
    EVERYONE,
    MAX_DATAGRAM_BYTES,
    PeerInfo,
    PeerJoined,
    PeerLeft,
    Signal,
    Welcome,
)
from streamcodec.net.trouble import SEAL_TROUBLES, Status, Trouble
from streamcodec.net.webrtc import LONGEST_BESIDE_REPORT_BYTES, DirectLine, WebRtcConfig
from streamcodec.net.wire_meter import WireBytes

OFFERS_PER_S, OFFER_BURST = 0.2, 6.0
"""Offers and answers taken from one person: each costs a connection to be made."""
REPORTS_PER_S = 3.0
"""What is taken from somebody who may not speak: so many reports, and no sound."""
DIRECT_LINE_EXPECTED_S = 1.5
"""A line that takes longer is told of; it may still come about."""


@dataclass(frozen=True, slots=True)
class RoomConfig:
    """How to be in a room."""

    client: ClientConfig
    room_key: bytes | None = field(default=None, repr=False)
    """32 bytes known to the people in the room and not to the relay, from ``room_key_from_passphrase``; None leaves
    sealing to TLS and DTLS."""
    webrtc: WebRtcConfig | None = field(default_factory=WebRtcConfig)
    """None sends everything through the relay."""
    absence_s: float = 3.0
    """Somebody the relay has lost, or who is away when we come back, counts as gone after this long."""


@dataclass(slots=True)
class RoomStats:
    """Counts since the start."""

    unopened: int = 0
    """Datagrams and signals whose seal could not be opened."""
    broken_off: int = 0
    """Exchanges of keys that came to no good end: wrong passphrases, lost lines, or somebody who tries to get in
    between."""
    refused: int = 0
    """Offers and datagrams beyond what one person may send."""
    damaged: int = 0
    """Frames from the relay that could not be read."""


@dataclass(slots=True)
class _Member:
    info: PeerInfo
    number: int | None
    """On the relay; None while it does not have this peer."""
    report: HeldReport
    deframer: Deframer = field(default_factory=Deframer)
    """Of what comes over the relay."""
    missing_since_s: float = 0.0
    line: DirectLine | None = None
    here: bool = False
    """Told to the caller; with a room key not before keys are agreed on."""
    endpoint: bytes = b""
    """Of whom they were agreed on with."""
    line_since_s: float = 0.0
    status: Status = field(default_factory=Status)
    """What this person last said of itself."""
    offers: RateLimit = field(default_factory=lambda: RateLimit(OFFERS_PER_S, OFFER_BURST))
    reports: RateLimit = field(default_factory=lambda: RateLimit(REPORTS_PER_S, 2 * REPORTS_PER_S))


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
        self._e2e = EndToEnd(
            config.room_key,
            config.client.room,
            self._pass_signal,
            name=config.client.name,
            bitstream=config.client.bitstream,
            clock_s=time.monotonic,
            on_state=self._seal_changed,
        )
        self._client = RelayClient(config.client, self._from_relay, self._happened)
        self._framer = Framer()
        self._past_bytes = WireBytes()
        self._closing: set[asyncio.Task[None]] = set()
        self._housekeeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Room:
        self._loop = asyncio.get_running_loop()
        try:
            await self._client.__aenter__()
        except BaseException:
            await self._hang_up_all()
            raise
        self._housekeeper = self._loop.create_task(self._keep_house())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._housekeeper is not None
        self._housekeeper.cancel()
        try:
            await self._client.__aexit__()
        finally:
            await self._hang_up_all()
        failure = failure_of(self._housekeeper)
        if failure is not None:
            raise failure

    @property
    def peers(self) -> dict[str, PeerInfo]:
        """Who is here besides us, by identity; with a room key, with whom keys are agreed on."""
        return {identity: member.info for identity, member in self._members.items() if member.here}

    @property
    def strangers(self) -> dict[str, PeerInfo]:
        """Who else is in the room, with whom no keys are agreed on: no sound passes between us, :attr:`seals` says
        why. What is said of them is the relay's word."""
        return {identity: member.info for identity, member in self._members.items() if not member.here}

    @property
    def paths(self) -> dict[str, str]:
        """How each peer is reached now: ``direct``, ``relay`` or ``none``."""
        return {identity: self._path(member) for identity, member in self._members.items() if member.here}

    @property
    def grants(self) -> tuple[bool, bool]:
        """Whether our token lets us speak, and hear."""
        return self._client.speaks, self._client.hears

    @property
    def reaches_anyone(self) -> bool:
        """Whether what is sent to everyone now goes out to anybody."""
        return self._client.speaks and any(
            member.here and member.info.hears and self._path(member) != "none" for member in self._members.values()
        )

    @property
    def seals(self) -> dict[str, SealState]:
        """How it stands with the encryption between us and each peer and stranger."""
        return {identity: self._e2e.state(identity) for identity in self._members}

    @property
    def verifications(self) -> dict[str, str]:
        """Eight digits for each peer, the same on both screens, to compare by voice; empty without a room key."""
        return {identity: self._e2e.verification(identity) for identity in self.peers}

    @property
    def troubles(self) -> dict[str, tuple[Trouble, ...]]:
        """What is wrong between each peer and us, or the peer says is; see :mod:`streamcodec.net.trouble`."""
        now_s = self._loop.time()
        return {identity: tuple(self._troubles(member, now_s)) for identity, member in self._members.items()}

    def tell_status(self, identity: str, status: Status) -> None:
        """Tell a peer how we are."""
        member = self._members.get(identity)
        if member is not None:
            self._send_signal(member, {"status": status.to_fields()})

    def _troubles(self, member: _Member, now_s: float) -> Iterator[Trouble]:
        sealing = SEAL_TROUBLES.get(self._e2e.state(member.info.identity))
        if sealing is not None:
            yield sealing
        for told, trouble in (
            (member.status.foreign, Trouble.FOREIGN_THERE),
            (member.status.muted, Trouble.MUTED),
            (member.status.silent_microphone and not member.status.muted, Trouble.SILENT_MICROPHONE),
            (not member.info.speaks, Trouble.MAY_NOT_SPEAK),
            (not member.info.hears, Trouble.MAY_NOT_HEAR),
        ):
            if told:
                yield trouble
        waited = now_s - member.line_since_s > DIRECT_LINE_EXPECTED_S
        if member.line is not None and waited and self._path(member) == "relay":
            yield Trouble.NO_TURN if member.line.lacks_turn else Trouble.NO_DIRECT_LINE

    @property
    def seal_bytes(self) -> int:
        """What a datagram over the relay is longer for being sealed."""
        return OVERHEAD_BYTES if self._e2e.on else 0

    @property
    def wire_bytes(self) -> WireBytes:
        """All that this room has sent and received so far, headers and acknowledgements included."""
        lines = [member.line.wire_bytes for member in self._members.values() if member.line is not None]
        return sum(lines, self._client.wire_bytes + self._past_bytes)

    @property
    def failed(self) -> Exception | None:
        """Why we cannot stay in the room: the relay will not have us back, or what a callback raised."""
        return self._client.failed or failure_of(self._housekeeper)

    def send(self, datagram: bytes, identity: str | None = None) -> None:
        """Send to one peer, or to everyone, each by the best path; a datagram never waits for a path.

        Errors: StreamcodecError for one of no bytes, or of more than 1,099, of which a seal takes up to 26.
        """
        longest = MAX_DATAGRAM_BYTES - MOST_FRAMING_BYTES - (MOST_OVERHEAD_BYTES if self._e2e.on else 0)
        if not 1 <= len(datagram) <= longest:
            raise StreamcodecError(f"a datagram has 1 to {longest} bytes, got {len(datagram)}")
        if not self._client.speaks and not is_report(datagram):
            return  # Nobody takes it, and the relay hangs up on who goes on.
        if identity is not None:
            member = self._members.get(identity)
            if member is None or not member.here or (member.line is not None and member.line.send(datagram)):
                return
            if is_report(datagram):
                member.report.hold(datagram)
            else:
                self._relay(member, self._framer.frame(datagram))
            return
        relayed = [member for member in self._members.values() if not self._send_directly(member, datagram)]
        reached = [member for member in relayed if member.number is not None]
        if not any(member.here for member in reached):
            return
        # A frame for one can take along what only that one is to hear.
        alone = reached[0] if len(reached) == 1 and len(datagram) <= LONGEST_BESIDE_REPORT_BYTES else None
        frame = self._framer.frame(datagram, None if alone is None else alone.report.take())
        if alone is not None and alone.here:
            # What is for one is sealed for that one: nobody else can be made to take it for theirs.
            self._relay(alone, frame)
            return
        sealed = self._e2e.seal_media(frame) if self._e2e.on else frame
        if len(reached) == sum(info.hears for info in self._client.peers.values()):
            self._client.send(sealed, EVERYONE)
            return
        for member in reached:
            if member.here and member.number is not None:
                self._client.send(sealed, member.number)

    # -- inside -------------------------------------------------------------------------------------------------

    def _send_directly(self, member: _Member, datagram: bytes) -> bool:
        # Whom the relay does not let hear has said so to all: nothing goes there past it either.
        return not member.info.hears or (member.line is not None and member.line.send(datagram))

    def _relay(self, member: _Member, frame: bytes) -> None:
        """To one peer alone, over the relay."""
        if member.number is not None:
            sealed = self._e2e.seal_media_for(member.info.identity, frame) if self._e2e.on else frame
            self._client.send(sealed, member.number)

    def _send_report(self, identity: str, report: bytes) -> None:
        """Alone: no packet for this one came by to take it along."""
        member = self._members.get(identity)
        if member is not None and member.here:
            self._relay(member, self._framer.frame(report))

    def _path(self, member: _Member) -> str:
        if member.line is not None and member.line.is_open:
            return "direct"
        return "none" if member.number is None or self._client.peer is None else "relay"

    def _happened(self, event: Event) -> None:
        if isinstance(event, Welcome):
            self.identity = event.identity
            for known in self._members.values():
                # Who is away now has as long to come back as if the relay had lost it now.
                known.missing_since_s = self._loop.time()
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
            report = HeldReport(self._loop, lambda report: self._send_report(info.identity, report))
            member = self._members[info.identity] = _Member(info, info.peer, report)
        member.info = self._authentic(info)
        member.number = info.peer
        self._by_number[info.peer] = member
        self._e2e.meet(info.identity)
        if not self._e2e.on or member.here:
            self._welcome(member)

    def _welcome(self, member: _Member) -> None:
        """Called when a peer has come, and is who they say they are as far as that can be known."""
        if not member.here:
            member.here = True
            self._on_peer(member.info, True)
        if self.config.webrtc is not None and member.line is None:
            self._call(member, self.config.webrtc)

    def _authentic(self, info: PeerInfo) -> PeerInfo:
        """With what a peer has said of itself in place of what the relay says."""
        own_word = self._e2e.introduction(info.identity)
        return info if own_word is None else replace(info, name=own_word.name, bitstream=own_word.bitstream)

    def _seal_changed(self, identity: str, state: SealState) -> None:
        member, own_word = self._members.get(identity), self._e2e.introduction(identity)
        if member is None or own_word is None or state is not SealState.SEALED:
            return
        if member.here and member.endpoint != own_word.endpoint:
            # The relay has put somebody else into this place.
            self._part(member)
        member.endpoint = own_word.endpoint
        member.info = self._authentic(member.info)
        self._welcome(member)

    def _part(self, member: _Member) -> None:
        self._hang_up(member)
        member.deframer = Deframer()
        if member.here:
            member.here = False
            self._on_peer(member.info, False)

    def _call(self, member: _Member, config: WebRtcConfig) -> None:
        identity = member.info.identity
        member.line = DirectLine(
            config,
            offers=self.identity < identity,
            send_signal=lambda data: self._send_signal(member, data),
            on_datagram=lambda datagram: self._accept(member, datagram),
        )
        member.line_since_s = self._loop.time()
        member.line.start()

    def _lose(self, member: _Member) -> None:
        member.number = None
        member.missing_since_s = self._loop.time()

    def _send_signal(self, member: _Member, data: dict[str, Any]) -> None:
        identity = member.info.identity
        if not self._e2e.on:
            self._pass_signal(identity, data)
        elif member.here:
            self._pass_signal(identity, self._e2e.seal_signal(identity, data))

    def _pass_signal(self, identity: str, data: dict[str, Any]) -> None:
        member = self._members.get(identity)
        if member is not None and member.number is not None:
            self._client.signal(member.number, data)

    def _take_signal(self, signal: Signal) -> None:
        member = self._by_number.get(signal.peer)
        if member is None:
            return
        opened = [signal.data]
        if self._e2e.on or "e2e" in signal.data:
            opened = self._e2e.hear(member.info.identity, signal.data)
            self.stats.unopened = self._e2e.refused
        for data in opened:
            self._heed(member, data)

    def _heed(self, member: _Member, data: dict[str, Any]) -> None:
        """Take what a member has signalled, opened: a status, or word of a direct line."""
        status = data.get("status")
        if isinstance(status, dict):
            member.status = Status.from_fields(status)
        elif member.line is not None:
            if member.offers.allow(self._loop.time()):
                member.line.hear(data)
            else:
                self.stats.refused += 1

    def _from_relay(self, number: int, sealed: bytes) -> None:
        member = self._by_number.get(number)
        if member is not None:
            self._receive(member, sealed)

    def _receive(self, member: _Member, sealed: bytes) -> None:
        """Take what came over the relay."""
        try:
            frame = self._e2e.open_media(member.info.identity, sealed)
        except SealError:
            self.stats.unopened = self._e2e.refused
            return
        damaged = member.deframer.stats.damaged
        for datagram in member.deframer.take(frame, 1_000.0 * self._loop.time()):
            self._accept(member, datagram)
        self.stats.damaged += member.deframer.stats.damaged - damaged

    def _accept(self, member: _Member, datagram: bytes) -> None:
        """Take a datagram, opened, by whichever path; from somebody who may not speak a few reports and no sound."""
        if not member.info.speaks and not (is_report(datagram) and member.reports.allow(self._loop.time())):
            self.stats.refused += 1
            return
        self._on_datagram(member.info.identity, datagram)

    async def _keep_house(self) -> None:
        """Take those whom the relay has lost, and no direct line reaches, for having left."""
        while True:
            await asyncio.sleep(0.25)
            self._e2e.tick()
            self.stats.broken_off = self._e2e.broken_off
            now_s = self._loop.time()
            paths = self.paths.values()
            self._client.relaxed = bool(paths) and all(path == "direct" for path in paths)
            for identity, member in list(self._members.items()):
                absent = member.number is None and now_s - member.missing_since_s > self.config.absence_s
                # While our own line is down we cannot know who is still there.
                if absent and self._client.peer is not None and self._path(member) == "none":
                    del self._members[identity]
                    self._e2e.forget(identity)
                    self._part(member)

    async def _hang_up_all(self) -> None:
        for member in list(self._members.values()):
            self._hang_up(member)
        if self._closing:
            await asyncio.wait(self._closing, timeout=5.0)

    def _hang_up(self, member: _Member) -> None:
        member.report.forget()
        if member.line is not None:
            self._past_bytes += member.line.wire_bytes
            task = self._loop.create_task(member.line.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            member.line = None
