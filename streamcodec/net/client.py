"""Websocket client of the relay: joins a room, carries datagrams and signals, and comes back when the line breaks."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import logging
import random
import secrets
import ssl as tls
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from streamcodec.errors import StreamcodecError
from streamcodec.extras import extra_imports
from streamcodec.net.ack_phase import AckPhase
from streamcodec.net.signalling import (
    EVERYONE,
    MAX_RELAY_TEXT_BYTES,
    PERMANENT,
    Failure,
    Join,
    PeerInfo,
    PeerJoined,
    PeerLeft,
    RelayMessage,
    Signal,
    SignallingError,
    Welcome,
    check_datagram,
    parse_relay_message,
)
from streamcodec.net.wire_meter import MESSAGE_BYTES, WireBytes, tcp_bytes, tcp_segments
from streamcodec.wording import named

with extra_imports("net"):
    from websockets.asyncio.client import ClientConnection, connect
    from websockets.exceptions import InvalidURI, WebSocketException
    from websockets.typing import Origin
    from websockets.uri import parse_uri

logger = logging.getLogger("streamcodec.client")
# At debug level the library logs the content of messages, tokens among them.
_library_logger = logging.getLogger("streamcodec.client.websocket")
_library_logger.setLevel(logging.ERROR)


class JoinError(StreamcodecError):
    """The relay refused this client for good. ``code`` is the relay's."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"the relay refused: {failure.reason}")
        self.code = failure.code


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """Where to, as whom, and how patient. Errors: StreamcodecError for what is no address of a relay, or no text."""

    url: str
    room: str
    name: str = ""
    alternates: tuple[str, ...] = ()
    """Other relays that share the room, tried in turn."""
    token: str = field(default="", repr=False)
    context: tls.SSLContext | None = None
    """For ``wss`` with a private certificate authority."""
    bitstream: str = ""
    """What we send, for the others to know whether they can play it: ``bitstream_of(tier, model)``."""
    origin: str | None = None
    attempt_timeout_s: float = 1.5
    """Longer, a connection attempt made while the network was down would outlive its return."""
    retry_s: tuple[float, float] = (0.1, 0.5)
    """First and longest pause between attempts."""
    ping_interval_s: float = 0.5
    """The relay is asked whether it is there after hearing nothing from it for this long,"""
    relaxed_ping_interval_s: float = 5.0
    """or this long while direct lines carry the call."""
    ping_timeout_s: float = 1.5
    """A line on which nothing at all has come for so long after a question is dead."""
    queue_datagrams: int = 50

    def __post_init__(self) -> None:
        _check_url("url", self.url)
        for url in self.alternates:
            _check_url("alternates", url)
        for text in ("room", "name", "token", "bitstream"):
            if not isinstance(getattr(self, text), str):
                raise StreamcodecError(f"{text} must be text, got {type(getattr(self, text)).__name__}")


@dataclass(slots=True)
class ClientStats:
    """Counts since the start."""

    connects: int = 0
    sent: int = 0
    received: int = 0
    dropped: int = 0
    """Datagrams given to send while the line was down or full."""
    damaged: int = 0


Event = Welcome | PeerJoined | PeerLeft | Signal | None
"""What the relay said; None when the connection was lost."""


class RelayClient:
    """One seat in one room. Use as ``async with``: entering joins the room, or raises JoinError or OSError.

    ``on_datagram(peer, datagram)`` and ``on_event(event)`` are called on the event loop and must not block; what they
    raise ends the client, :attr:`failed` says so, and leaving raises it. After a lost connection the client rejoins
    by itself, which shows as None, then a new ``Welcome``.
    """

    def __init__(
        self,
        config: ClientConfig,
        on_datagram: Callable[[int, bytes], None],
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self.config = config
        self.stats = ClientStats()
        self.peer: int | None = None
        """Our number in the room; None while the line is down."""
        self.peers: dict[int, PeerInfo] = {}
        self.relaxed = False
        """Set while nothing depends on this line: a loss of it may be noticed later."""
        self._heard_s = 0.0
        self._past_bytes = WireBytes()
        self._message_bytes = WireBytes()
        self._counted_bytes: WireBytes | None = None
        self.speaks = self.hears = True
        """What our token lets us do."""
        self._on_datagram = on_datagram
        self._on_event = on_event
        self._join = Join(config.room, secrets.token_urlsafe(24), config.name, config.token, config.bitstream)
        self._outgoing: deque[tuple[float, bytes | str]] = deque()
        """Messages, each with when to send it."""
        self._phase = AckPhase()
        self._wake = asyncio.Event()
        self._writing = False
        """Whether a message is out of the queue and not yet on the line."""
        self._leaving = False
        self._task: asyncio.Task[None] | None = None
        self._urls = itertools.cycle((config.url, *config.alternates))

    async def __aenter__(self) -> RelayClient:
        for last in (False,) * len(self.config.alternates) + (True,):
            try:
                self._connection = await self._enter()
                break
            except (OSError, TimeoutError, WebSocketException):
                if last:
                    raise
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._leaving = True
        try:
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError, WebSocketException, OSError):
                await asyncio.wait_for(self._say_goodbye(), 1.0)
        finally:
            self._task.cancel()
            try:
                with contextlib.suppress(asyncio.CancelledError, JoinError):
                    await self._task
            finally:
                self._connection.transport.abort()

    @property
    def failed(self) -> Exception | None:
        """Why the client has given up for good, a JoinError or what a callback raised; None while it has not."""
        return failure_of(self._task)

    @property
    def wire_bytes(self) -> WireBytes:
        """What has gone to the relay and come from it, with all headers and acknowledgements."""
        if self.peer is None:
            return self._past_bytes
        return self._past_bytes + self._connection_bytes()

    def send(self, datagram: bytes, peer: int = EVERYONE) -> None:
        """Queue a datagram for one peer or for everyone else; the oldest queued one goes when there are too many.

        Errors: StreamcodecError for one of no bytes or more than 1,100.
        """
        check_datagram(datagram)
        if self.peer is None:
            self.stats.dropped += 1
            return
        if len(self._outgoing) >= self.config.queue_datagrams:
            self._drop_oldest()
        due_s = asyncio.get_running_loop().time() + self._phase.hold_ms / 1_000.0
        self._outgoing.append((due_s, bytes((peer,)) + datagram))
        self._wake.set()

    def signal(self, peer: int, data: dict[str, Any]) -> None:
        """Send a peer a signalling object through the relay; lost if the line is down."""
        if self.peer is not None:
            self._outgoing.append((0.0, Signal(peer, data).to_json()))
            self._wake.set()

    # -- inside -------------------------------------------------------------------------------------------------

    def _connection_bytes(self) -> WireBytes:
        """Of the connection at hand."""
        connected = self._connection.transport.get_extra_info("socket")
        counted = None if connected is None else tcp_bytes(connected)
        if counted is not None:
            self._counted_bytes = counted
        # A closed socket tells no more; what it told last stands.
        return self._message_bytes if self._counted_bytes is None else self._counted_bytes

    def _drop_oldest(self) -> None:
        for index, (_, message) in enumerate(self._outgoing):
            if isinstance(message, bytes):
                del self._outgoing[index]
                self.stats.dropped += 1
                return

    async def _enter(self) -> ClientConnection:
        """Connect to the next relay and join; raises JoinError, OSError, TimeoutError or WebSocketException."""
        config = self.config
        url = next(self._urls)
        connection = await connect(
            url,
            ssl=config.context or (True if url.startswith("wss:") else None),
            origin=None if config.origin is None else Origin(config.origin),
            compression=None,
            open_timeout=config.attempt_timeout_s,
            proxy=True if uses_proxy(url) else None,
            # Whether the line lives is told by anything that comes, not by pongs alone: see _watch.
            ping_interval=None,
            close_timeout=0.3,
            max_size=MAX_RELAY_TEXT_BYTES,
            write_limit=8_192,
            logger=_library_logger,
        )
        try:
            await connection.send(self._join.to_json())
            received = await asyncio.wait_for(connection.recv(), config.attempt_timeout_s)
            answer = parse_relay_message(_as_text(received))
            if isinstance(answer, Failure):
                raise JoinError(answer)
            if not isinstance(answer, Welcome):
                raise SignallingError("the relay did not answer a join with a welcome")
            self._outgoing.clear()
            self._writing = False
            self.stats.connects += 1
            self._hear(answer)
        except BaseException:
            self.peer = None
            await connection.close()
            raise
        return connection

    async def _say_goodbye(self) -> None:
        """Let what is queued go out, then close politely."""
        while (self._outgoing or self._writing) and self.peer is not None:
            await asyncio.sleep(0.005)
        await self._connection.close()

    async def _run(self) -> None:
        while True:
            try:
                await self._carry(self._connection)
            finally:
                self._past_bytes, self._message_bytes, self._counted_bytes = self.wire_bytes, WireBytes(), None
                self.peer = None
                self.peers.clear()
                self._connection.transport.abort()
                self._on_event(None)
            if self._leaving:
                return
            self._connection = await self._return()

    async def _return(self) -> ClientConnection:
        pause_s, longest_s = self.config.retry_s
        while True:
            try:
                return await self._enter()
            except JoinError as error:
                if error.code in PERMANENT:
                    logger.warning("gave up room %s: %s", self.config.room, error)
                    raise
            except (OSError, TimeoutError, WebSocketException, SignallingError) as error:
                logger.info("relay not reached yet: %s", type(error).__name__)
            await asyncio.sleep(pause_s * random.uniform(0.75, 1.0))
            pause_s = min(2 * pause_s, longest_s)

    async def _carry(self, connection: ClientConnection) -> None:
        """Receive and send until the connection ends."""
        tasks = [asyncio.create_task(work) for work in (self._write(connection), self._watch(connection))]
        try:
            async for message in connection:
                self._heard_s = asyncio.get_running_loop().time()
                self._message_bytes += WireBytes(0, len(message) + MESSAGE_BYTES)
                if isinstance(message, bytes):
                    if len(message) >= 2:
                        self.stats.received += 1
                        self._phase.hear(1_000.0 * self._heard_s)
                        self._on_datagram(message[0], message[1:])
                    continue
                self._hear_text(message)
        except WebSocketException:
            pass
        finally:
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, WebSocketException, OSError):
                    await task

    async def _watch(self, connection: ClientConnection) -> None:
        """Ask a silent relay whether it is there, and hang up on one that stays silent.

        Pongs wait behind what fills the line; whoever fills it must not be able to make it look dead.
        """
        loop, config = asyncio.get_running_loop(), self.config
        self._heard_s = loop.time()
        asked_s: float | None = None
        while True:
            await asyncio.sleep(config.ping_interval_s / 2)
            now_s = loop.time()
            self._note_segments(connection, now_s)
            interval_s = config.relaxed_ping_interval_s if self.relaxed else config.ping_interval_s
            if now_s - self._heard_s < interval_s:
                asked_s = None
            elif asked_s is None or asked_s < self._heard_s:
                asked_s = now_s
                try:
                    pong = await asyncio.wait_for(connection.ping(), config.ping_timeout_s)
                except TimeoutError:
                    connection.transport.abort()
                    return
                asyncio.ensure_future(pong).add_done_callback(self._ponged)
            elif now_s - asked_s > config.ping_timeout_s:
                connection.transport.abort()
                return

    def _ponged(self, pong: asyncio.Future[float]) -> None:
        if not pong.cancelled() and pong.exception() is None:
            self._heard_s = asyncio.get_running_loop().time()

    def _hear_text(self, text: str) -> None:
        try:
            message = parse_relay_message(text)
        except SignallingError:
            self.stats.damaged += 1
            return
        if isinstance(message, Failure):
            if message.code in PERMANENT:
                raise JoinError(message)
            return
        self._hear(message)

    def _hear(self, message: RelayMessage) -> None:
        if isinstance(message, Welcome):
            self.peer = message.peer
            self.speaks, self.hears = message.speaks, message.hears
            self.peers = {info.peer: info for info in message.peers}
        elif isinstance(message, PeerJoined):
            self.peers[message.info.peer] = message.info
        elif isinstance(message, PeerLeft):
            self.peers.pop(message.peer, None)
        if not isinstance(message, Failure):
            self._on_event(message)

    def _note_segments(self, connection: ClientConnection, now_s: float) -> None:
        """With one other there, have packets go out when they best acknowledge what comes."""
        if len(self.peers) != 1 or self.relaxed or self.peer is None:
            self._phase.hold_ms = 0.0
            return
        connected = connection.transport.get_extra_info("socket")
        segments = None if connected is None else tcp_segments(connected)
        if segments is not None:
            self._phase.note(segments, self.peer < next(iter(self.peers)), 1_000.0 * now_s)

    async def _write(self, connection: ClientConnection) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while self._outgoing:
                due_s, message = self._outgoing.popleft()
                self._writing = True
                held_s = due_s - loop.time()
                if held_s > 0.0:
                    await asyncio.sleep(held_s)
                if isinstance(message, bytes):
                    self._phase.send(1_000.0 * loop.time())
                await connection.send(message)
                self.stats.sent += 1
                self._message_bytes += WireBytes(len(message) + MESSAGE_BYTES, 0)
            self._writing = False
            self._wake.clear()
            await self._wake.wait()


def failure_of(task: asyncio.Task[None] | None) -> Exception | None:
    """What a task has ended with; None before it begins and while it runs, or where it was cancelled."""
    if task is None or not task.done() or task.cancelled():
        return None
    error = task.exception()
    return error if isinstance(error, Exception) else None


def uses_proxy(url: str) -> bool:
    """Whether a proxy of the environment's, where there is one, stands before a relay: not before this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


def _check_url(argument: str, url: object) -> None:
    try:
        # The library takes port 0 for none.
        if isinstance(url, str) and parse_uri(url) and urlsplit(url).port != 0:
            return
    except (InvalidURI, ValueError):
        pass
    raise StreamcodecError(
        f"{named(argument)} must be the address of a relay, ws://HOST:PORT or wss://HOST:PORT, got "
        f"{repr(url) if url else 'nothing'}"
    )


def _as_text(message: str | bytes) -> str:
    if isinstance(message, bytes):
        raise SignallingError("the relay sent a datagram before its welcome")
    return message
