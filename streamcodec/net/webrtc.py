"""A direct line between two peers, from aiortc: media and reports as SRTP, beside it a data channel.

The channel, unordered and without retransmission, carries the pieces of packets too long for one datagram, and
everything where the other side has no SRTP line. The pair signals through the relay; the one with the smaller
identity makes the offers. A line counts as open only while something is heard on it: heartbeats fill pauses, and
after two seconds of silence the caller should use the relay until a new attempt succeeds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from streamcodec.errors import StreamcodecError
from streamcodec.extras import extra_imports
from streamcodec.net.fragments import is_fragment
from streamcodec.net.framing import HEARTBEAT, WIRE_VERSION, Deframer, Framer
from streamcodec.net.held_report import HeldReport
from streamcodec.net.report import is_report
from streamcodec.net.rtp_media import RtpMedia, SrtpProfile, choose_profile, plain_description
from streamcodec.net.signalling import MAX_DATAGRAM_BYTES, check_datagram
from streamcodec.net.wire_meter import WireBytes, connection_bytes

with extra_imports("net"):
    from aiortc import (
        RTCConfiguration,
        RTCDataChannel,
        RTCIceServer,
        RTCPeerConnection,
        RTCSessionDescription,
    )
    from aiortc.rtcconfiguration import RTCIceTransportPolicy

logger = logging.getLogger("streamcodec.webrtc")

MAX_DESCRIPTION_CHARACTERS = 12_000
HANG_UP_S = 5.0
LONGEST_BESIDE_REPORT_BYTES = 1_000
"""A longer packet leaves no room for a report in its datagram."""


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server, such as ``turn:turn.example:3478?transport=udp``."""

    url: str
    username: str | None = None
    credential: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class WebRtcConfig:
    """How lines are made and when they are given up."""

    ice_servers: tuple[IceServer, ...] = ()
    """None by default: nothing outside is asked unless told to."""
    turn_only: bool = False
    """Use nothing but relayed addresses, so that the other side never learns ours."""
    media: Literal["srtp", "data-channel"] = "srtp"
    """What media travel on. SRTP costs less than a third of a data channel's headers at 20 ms a packet."""
    srtp: SrtpProfile = "sha1-80"
    """The tag of SRTP packets: 10 bytes, or 16 with ``"gcm"``, which holds if either side asks for it."""
    open_timeout_s: float = 8.0
    heartbeat_s: float = 0.5
    silence_s: float = 2.0
    retry_s: float = 15.0
    buffered_bytes: int = 8 * MAX_DATAGRAM_BYTES
    buffered_s: float = 0.2
    """More than this waiting in the channel, and more than is sent in this time, and datagrams are dropped: late ones
    are worth nothing."""

    def __post_init__(self) -> None:
        for server in self.ice_servers:
            if not server.url.startswith(("stun:", "stuns:", "turn:", "turns:")):
                raise StreamcodecError(
                    f"an ICE server starts with stun:, stuns:, turn: or turns:, got {server.url!r}"
                )


@dataclass(slots=True)
class LineStats:
    """Counts since the start."""

    attempts: int = 0
    opened: int = 0
    sent: int = 0
    received: int = 0
    dropped: int = 0
    damaged: int = 0
    """Frames that could not be read."""


class DirectLine:
    """One peer's end of a direct line to one other peer.

    ``offers`` on exactly one of the two ends. ``send_signal`` carries a JSON object to the other end's :meth:`hear`.
    Call :meth:`start` on the event loop and :meth:`close` at the end; everything between is automatic.
    """

    def __init__(
        self,
        config: WebRtcConfig,
        offers: bool,
        send_signal: Callable[[dict[str, Any]], None],
        on_datagram: Callable[[bytes], None],
    ) -> None:
        self._config = config
        self._offers = offers
        self._send_signal = send_signal
        self._on_datagram = on_datagram
        self.stats = LineStats()
        self.lacks_turn = False
        """Whether TURN servers were named and none gave an address at the last attempt."""
        self._asked_bytes = self._asked_s = 0.0
        self._loop = asyncio.get_running_loop()
        self._connection: RTCPeerConnection | None = None
        self._channel: RTCDataChannel | None = None
        self._media: RtpMedia | None = None
        self._restart_framing()
        self._sent_s = float("-inf")
        self._connected_s: float | None = None
        self._past_bytes = self._counted_bytes = WireBytes()
        self._attempt = 0
        self._heard_s = float("-inf")
        self._heartbeat: asyncio.Task[None] | None = None
        self._offering: asyncio.Task[None] | None = None
        self._hearing: set[asyncio.Task[None]] = set()
        self._hanging_up: set[asyncio.Task[None]] = set()

    @property
    def is_open(self) -> bool:
        """Whether datagrams sent now have a good chance: the channel is up and the other end was heard lately."""
        fresh = self._loop.time() - self._heard_s <= self._config.silence_s
        return fresh and (self._has_media or self._has_channel)

    @property
    def carries(self) -> str:
        """What media travel on now: ``srtp``, ``data-channel`` or ``none``."""
        if not self.is_open:
            return "none"
        return "srtp" if self._has_media else "data-channel"

    @property
    def wire_bytes(self) -> WireBytes:
        """What this line has sent and received, headers and acknowledgements included."""
        if self._connection is None or self._connected_s is None:
            return self._past_bytes
        counted = connection_bytes(self._connection, self._loop.time() - self._connected_s)
        if counted is not None:
            self._counted_bytes = counted
        # A connection that the other end has closed tells no more; what it told last stands.
        return self._past_bytes + self._counted_bytes

    def start(self) -> None:
        """Begin to offer, or to wait for offers."""
        self._heartbeat = self._loop.create_task(self._beat())
        if self._offers:
            self._offering = self._loop.create_task(self._offer_for_ever())

    async def close(self) -> None:
        """Hang up."""
        for task in (self._heartbeat, self._offering, *self._hearing):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._drop()
        if self._hanging_up:
            await asyncio.wait(self._hanging_up, timeout=HANG_UP_S)

    def send(self, datagram: bytes) -> bool:
        """Send, if the line is open; whether it was. Errors: StreamcodecError for no bytes or more than 1,100.

        A report rides with the next packet, or goes alone where none comes soon.
        """
        check_datagram(datagram)
        if not self.is_open:
            return False
        if is_report(datagram):
            self._report.hold(datagram)
            return True
        if self._has_media and not is_fragment(datagram):
            self._send_media(datagram)
            return True
        if not self._has_channel:
            return False
        self._send_on_channel(self._channel_framer.frame(datagram, self._report_beside(datagram)))
        return True

    def hear(self, data: dict[str, Any]) -> None:
        """Take what the other end signalled; nonsense is ignored."""
        kind, attempt, description = data.get("kind"), data.get("attempt"), data.get("sdp")
        if type(attempt) is not int or not isinstance(description, str) or data.get("wire") != WIRE_VERSION:
            return
        if len(description) > MAX_DESCRIPTION_CHARACTERS or len(self._hearing) >= 4:
            return
        if kind == "offer" and not self._offers:
            self._spawn(self._answer(attempt, description))
        elif kind == "answer" and self._offers and attempt == self._attempt:
            self._spawn(self._accept(description))

    # -- inside -------------------------------------------------------------------------------------------------

    @property
    def _has_media(self) -> bool:
        return self._media is not None and self._media.ready

    @property
    def _has_channel(self) -> bool:
        return self._channel is not None and self._channel.readyState == "open"

    def _restart_framing(self) -> None:
        self._media_framer, self._channel_framer = Framer(numbered=True), Framer()
        self._media_deframer, self._channel_deframer = Deframer(), Deframer()
        self._report = HeldReport(self._loop, self._send_report)

    def _send_media(self, datagram: bytes) -> None:
        media = self._media
        assert media is not None
        if self._is_full(media.buffered_bytes, len(datagram)):
            return
        frame = self._media_framer.frame(datagram, self._report_beside(datagram))
        media.send(frame, self._media_framer.unit)
        self.stats.sent += 1
        self._sent_s = self._loop.time()

    def _send_on_channel(self, frame: bytes) -> None:
        channel = self._channel
        if channel is None or self._is_full(channel.bufferedAmount, len(frame)):
            return
        channel.send(frame)
        self.stats.sent += 1
        self._sent_s = self._loop.time()

    def _is_full(self, waiting_bytes: int, size_bytes: int) -> bool:
        """Whether so much waits already that what is sent now would come late; counted as dropped."""
        longest_s = self._config.buffered_s
        full = waiting_bytes > max(self._config.buffered_bytes, longest_s * self._note_rate(size_bytes))
        self.stats.dropped += full
        return full

    def _report_beside(self, datagram: bytes) -> bytes | None:
        return self._report.take() if len(datagram) <= LONGEST_BESIDE_REPORT_BYTES else None

    def _send_report(self, report: bytes) -> None:
        """Alone: no packet came by to take it along."""
        if self._has_media:
            self._send_media(report)
        elif self._has_channel:
            self._send_on_channel(self._channel_framer.frame(report))

    def _send_heartbeat(self) -> None:
        if self._has_media and self._media is not None:
            self._media.send(HEARTBEAT, self._media_framer.unit)
        elif self._has_channel and self._channel is not None and self._channel.bufferedAmount == 0:
            self._channel.send(HEARTBEAT)
        self._sent_s = self._loop.time()

    def _note_rate(self, size_bytes: int) -> float:
        """What has been asked for lately, in bytes per second, averaged over about a second."""
        now_s = self._loop.time()
        self._asked_bytes = self._asked_bytes * math.exp(self._asked_s - now_s) + size_bytes
        self._asked_s = now_s
        return self._asked_bytes

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._hearing.add(task)
        task.add_done_callback(self._hearing.discard)

    async def _offer_for_ever(self) -> None:
        while True:
            try:
                await self._offer()
                await self._until(lambda: self.is_open or self._has_failed(), self._config.open_timeout_s)
                while self.is_open:
                    await asyncio.sleep(self._config.heartbeat_s)
            except Exception as error:
                # Whatever the library trips over, the relay carries the call and the next attempt may do better.
                logger.info("no direct line: %s", type(error).__name__)
            self._drop()
            await asyncio.sleep(self._config.retry_s)

    def _has_failed(self) -> bool:
        return self._connection is None or self._connection.connectionState in ("failed", "closed")

    async def _until(self, condition: Callable[[], bool], within_s: float) -> None:
        deadline_s = self._loop.time() + within_s
        while not condition() and self._loop.time() < deadline_s:
            await asyncio.sleep(0.02)

    async def _offer(self) -> None:
        self._attempt += 1
        connection = self._connect()
        await connection.setLocalDescription(await connection.createOffer())
        self._signal("offer", self._attempt, connection)

    async def _answer(self, attempt: int, description: str) -> None:
        # A transceiver that the offer has no line for would never be connected.
        connection = self._connect(offers_media="\nm=audio " in description)
        try:
            await connection.setRemoteDescription(RTCSessionDescription(plain_description(description), "offer"))
            await connection.setLocalDescription(await connection.createAnswer())
        except Exception as error:
            # Whatever a peer's description makes the library raise, it must not end the call.
            logger.info("an offer could not be used: %s", type(error).__name__)
            if connection is self._connection:
                self._drop()
            return
        # A later offer may have taken its place meanwhile.
        if connection is self._connection:
            self._signal("answer", attempt, connection)

    def _signal(self, kind: str, attempt: int, connection: RTCPeerConnection) -> None:
        description = plain_description(connection.localDescription.sdp)
        asks_turn = any(server.url.startswith(("turn:", "turns:")) for server in self._config.ice_servers)
        self.lacks_turn = asks_turn and " typ relay" not in description
        self._send_signal({"kind": kind, "attempt": attempt, "wire": WIRE_VERSION, "sdp": description})

    async def _accept(self, description: str) -> None:
        if self._connection is None or self._connection.signalingState != "have-local-offer":
            return
        try:
            answer = RTCSessionDescription(plain_description(description), "answer")
            await self._connection.setRemoteDescription(answer)
        except Exception as error:
            logger.info("an answer could not be used: %s", type(error).__name__)

    def _connect(self, *, offers_media: bool = True) -> RTCPeerConnection:
        """A fresh connection with its channel, agreed on beforehand so that neither end waits for the other's."""
        self._drop()
        self.stats.attempts += 1
        servers = [RTCIceServer(s.url, s.username, s.credential) for s in self._config.ice_servers]
        policy = RTCIceTransportPolicy.RELAY if self._config.turn_only else RTCIceTransportPolicy.ALL
        connection = RTCPeerConnection(RTCConfiguration(iceServers=servers, iceTransportPolicy=policy))
        self._restart_framing()
        if self._config.media == "srtp" and offers_media:
            self._media = RtpMedia(connection, self._config.srtp, self._heard_media)
        channel = connection.createDataChannel("media", ordered=False, maxRetransmits=0, negotiated=True, id=0)
        assert connection.sctp is not None
        choose_profile(connection.sctp.transport, self._config.srtp)
        channel.on("open", self._send_heartbeat)
        channel.on("message", self._heard_on_channel)
        connection.on("connectionstatechange", lambda: self._state_changed(connection))
        self._connection, self._channel = connection, channel
        return connection

    def _drop(self) -> None:
        """Let go of the connection; its polite end takes seconds where the other side is gone, so nobody waits."""
        self._past_bytes, self._counted_bytes, self._connected_s = self.wire_bytes, WireBytes(), None
        connection, self._connection, self._channel, self._media = self._connection, None, None, None
        self._report.forget()
        self._heard_s = float("-inf")
        if connection is not None:
            task = self._loop.create_task(connection.close())
            self._hanging_up.add(task)
            task.add_done_callback(self._hanging_up.discard)

    def _state_changed(self, connection: RTCPeerConnection) -> None:
        if connection is not self._connection or connection.connectionState != "connected":
            return
        if self._connected_s is None:
            self._connected_s = self._loop.time()
        if self._has_media:
            self._send_heartbeat()

    def _heard_media(self, frame: bytes, unit: int) -> None:
        self._heard(frame, self._media_deframer, unit)

    def _heard_on_channel(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self._heard(message, self._channel_deframer, None)

    def _heard(self, frame: bytes, deframer: Deframer, unit: int | None) -> None:
        first = self._heard_s == float("-inf")
        self._heard_s = self._loop.time()
        if first:
            self.stats.opened += 1
        if frame == HEARTBEAT:
            return
        self.stats.received += 1
        damaged = deframer.stats.damaged
        for datagram in deframer.take(frame, 1_000.0 * self._heard_s, unit):
            self._on_datagram(datagram)
        self.stats.damaged += deframer.stats.damaged - damaged

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._config.heartbeat_s)
            now_s = self._loop.time()
            # Who is heard no more must not believe that all is well: it is to send over the relay.
            deaf = now_s - self._heard_s > self._config.silence_s and self._heard_s > float("-inf")
            # Only into silence: whatever else is sent says as much.
            if not deaf and now_s - self._sent_s >= 0.9 * self._config.heartbeat_s:
                self._send_heartbeat()
