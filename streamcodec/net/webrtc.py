"""A direct line between two peers: a WebRTC data channel, unordered and without retransmission, from aiortc.

The pair signals through the relay; the one with the smaller identity makes the offers. A line counts as open only
while something is heard on it: heartbeats fill pauses, and after two seconds of silence the caller should use the
relay until a new attempt succeeds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.rtcconfiguration import RTCIceTransportPolicy

from streamcodec.errors import StreamcodecError
from streamcodec.net.signalling import MAX_DATAGRAM_BYTES, check_datagram

logger = logging.getLogger("streamcodec.webrtc")

HEARTBEAT = b"\x00"
"""Not a packet, a report or a sealed datagram: all of these begin with their version."""
MAX_DESCRIPTION_CHARACTERS = 12_000
HANG_UP_S = 5.0


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
        on_change: Callable[[bool], None] = lambda is_open: None,
    ) -> None:
        self._config = config
        self._offers = offers
        self._send_signal = send_signal
        self._on_datagram = on_datagram
        self._on_change = on_change
        self.stats = LineStats()
        self._asked_bytes = self._asked_s = 0.0
        self._loop = asyncio.get_running_loop()
        self._connection: RTCPeerConnection | None = None
        self._channel: RTCDataChannel | None = None
        self._attempt = 0
        self._heard_s = float("-inf")
        self._was_open = False
        self._heartbeat: asyncio.Task[None] | None = None
        self._offering: asyncio.Task[None] | None = None
        self._hearing: set[asyncio.Task[None]] = set()
        self._hanging_up: set[asyncio.Task[None]] = set()

    @property
    def is_open(self) -> bool:
        """Whether datagrams sent now have a good chance: the channel is up and the other end was heard lately."""
        channel = self._channel
        fresh = self._loop.time() - self._heard_s <= self._config.silence_s
        return channel is not None and channel.readyState == "open" and fresh

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
        """Send, if the line is open; whether it was. Errors: StreamcodecError for no bytes or more than 1,100."""
        check_datagram(datagram)
        if not self.is_open or self._channel is None:
            return False
        waiting_bytes = self._channel.bufferedAmount
        if waiting_bytes > max(self._config.buffered_bytes, self._config.buffered_s * self._note_rate(len(datagram))):
            self.stats.dropped += 1
            return True
        self._channel.send(datagram)
        self.stats.sent += 1
        return True

    def hear(self, data: dict[str, Any]) -> None:
        """Take what the other end signalled; nonsense is ignored."""
        kind, attempt, description = data.get("kind"), data.get("attempt"), data.get("sdp")
        if type(attempt) is not int or not isinstance(description, str):
            return
        if len(description) > MAX_DESCRIPTION_CHARACTERS or len(self._hearing) >= 4:
            return
        if kind == "offer" and not self._offers:
            self._spawn(self._answer(attempt, description))
        elif kind == "answer" and self._offers and attempt == self._attempt:
            self._spawn(self._accept(description))

    # -- inside -------------------------------------------------------------------------------------------------

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
        self._send_signal({"kind": "offer", "attempt": self._attempt, "sdp": connection.localDescription.sdp})

    async def _answer(self, attempt: int, description: str) -> None:
        connection = self._connect()
        try:
            await connection.setRemoteDescription(RTCSessionDescription(description, "offer"))
            await connection.setLocalDescription(await connection.createAnswer())
        except Exception as error:
            # Whatever a peer's description makes the library raise, it must not end the call.
            logger.info("an offer could not be used: %s", type(error).__name__)
            self._drop()
            return
        self._send_signal({"kind": "answer", "attempt": attempt, "sdp": connection.localDescription.sdp})

    async def _accept(self, description: str) -> None:
        if self._connection is None or self._connection.signalingState != "have-local-offer":
            return
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(description, "answer"))
        except Exception as error:
            logger.info("an answer could not be used: %s", type(error).__name__)

    def _connect(self) -> RTCPeerConnection:
        """A fresh connection with its channel, agreed on beforehand so that neither end waits for the other's."""
        self._drop()
        self.stats.attempts += 1
        servers = [RTCIceServer(s.url, s.username, s.credential) for s in self._config.ice_servers]
        policy = RTCIceTransportPolicy.RELAY if self._config.turn_only else RTCIceTransportPolicy.ALL
        connection = RTCPeerConnection(RTCConfiguration(iceServers=servers, iceTransportPolicy=policy))
        channel = connection.createDataChannel("media", ordered=False, maxRetransmits=0, negotiated=True, id=0)
        channel.on("open", self._opened)
        channel.on("message", self._heard)
        self._connection, self._channel = connection, channel
        return connection

    def _drop(self) -> None:
        """Let go of the connection; its polite end takes seconds where the other side is gone, so nobody waits."""
        connection, self._connection, self._channel = self._connection, None, None
        self._heard_s = float("-inf")
        self._note_change()
        if connection is not None:
            task = self._loop.create_task(connection.close())
            self._hanging_up.add(task)
            task.add_done_callback(self._hanging_up.discard)

    def _opened(self) -> None:
        if self._channel is not None:
            self._channel.send(HEARTBEAT)

    def _heard(self, message: str | bytes) -> None:
        if isinstance(message, str):
            return
        first = self._heard_s == float("-inf")
        self._heard_s = self._loop.time()
        if first:
            self.stats.opened += 1
            self._note_change()
        if message != HEARTBEAT:
            self.stats.received += 1
            self._on_datagram(message)

    def _note_change(self) -> None:
        is_open = self.is_open
        if is_open != self._was_open:
            self._was_open = is_open
            self._on_change(is_open)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._config.heartbeat_s)
            channel = self._channel
            if channel is not None and channel.readyState == "open" and channel.bufferedAmount == 0:
                channel.send(HEARTBEAT)
            self._note_change()
