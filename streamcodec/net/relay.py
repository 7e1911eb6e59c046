"""Websocket relay and signalling server: rooms of a few peers, one process, one event loop.

Built on the sans-I/O side of ``websockets``: a datagram is parsed, its first byte replaced by the sender's number and
written to the other peers' sockets within one callback, with no task or queue in between. What a peer does not read
in time is dropped, oldest first, and a peer that reads nothing for long is disconnected; memory per connection is
bounded. Nothing received is ever logged.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import socket
import ssl as tls
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import cast

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Origin

from streamcodec.errors import StreamcodecError
from streamcodec.net.rate_limit import RateLimit
from streamcodec.net.signalling import (
    EVERYONE,
    MAX_DATAGRAM_BYTES,
    MAX_PEERS,
    MAX_TEXT_BYTES,
    Failure,
    Join,
    PeerInfo,
    PeerJoined,
    PeerLeft,
    Signal,
    SignallingError,
    Welcome,
    parse_client_message,
)
from streamcodec.net.tokens import TokenError, TokenSigner

logger = logging.getLogger("streamcodec.relay")
# At debug level the library logs the content of messages, tokens among them.
_library_logger = logging.getLogger("streamcodec.relay.websocket")
_library_logger.setLevel(logging.ERROR)

_POLICY = 1008
_GOING_AWAY = 1001
_TRY_LATER = 1013


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """Limits and timeouts."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 for any free port."""
    room_peers: int = 8
    max_rooms: int = 500
    max_participants: int = 1_000
    max_waiting: int = 100
    """Connections that have not joined yet."""
    origins: tuple[str, ...] | None = None
    """Web pages that may connect, by their ``Origin``; clients that send none always may. None allows any."""
    packets_per_s: float = 450.0
    packet_burst: float = 500.0
    signals_per_s: float = 10.0
    signal_burst: float = 60.0
    refused_packets: int = 2_000
    """A peer that exceeds its rate by this many packets is disconnected."""
    queue_messages: int = 64
    write_buffer_bytes: int = 16_384
    socket_buffer_bytes: int = 65_536
    join_timeout_s: float = 5.0
    ping_interval_s: float = 5.0
    idle_timeout_s: float = 15.0
    slow_timeout_s: float = 5.0
    close_timeout_s: float = 2.0
    housekeeping_s: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.room_peers <= MAX_PEERS:
            raise StreamcodecError(f"room_peers must be 1 to {MAX_PEERS}, got {self.room_peers}")
        for item in fields(self):
            if item.name.endswith("_s") and getattr(self, item.name) <= 0:
                raise StreamcodecError(f"{item.name} must be positive, got {getattr(self, item.name)}")


@dataclass(slots=True)
class RelayStats:
    """Counts since the start, and what is there now."""

    connections: int = 0
    participants: int = 0
    rooms: int = 0
    received_packets: int = 0
    sent_packets: int = 0
    dropped_packets: int = 0
    """Not read in time by their receiver."""
    refused_packets: int = 0
    """Beyond their sender's rate, or too long."""
    refused_joins: int = 0
    shed: int = 0
    """Disconnected for not reading."""
    timeouts: int = 0


class _Room:
    __slots__ = ("name", "peers")

    def __init__(self, name: str) -> None:
        self.name = name
        self.peers: dict[int, _Connection] = {}

    def free_number(self) -> int:
        return next(number for number in range(MAX_PEERS) if number not in self.peers)

    def announce(self, text: str, besides: _Connection) -> None:
        for peer in list(self.peers.values()):
            if peer is not besides:
                peer.send_text(text)


class _Connection(asyncio.Protocol):
    """One client, from TCP connection to its end."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._loop = relay.loop
        origins = relay.config.origins
        self._websocket = ServerProtocol(
            origins=None if origins is None else [None, *(cast(Origin, origin) for origin in origins)],
            max_size=MAX_TEXT_BYTES,
            logger=_library_logger,
        )
        config = relay.config
        self._packets = RateLimit(config.packets_per_s, config.packet_burst)
        self._signals = RateLimit(config.signals_per_s, config.signal_burst)
        self._refused = 0
        self._unsent: deque[bytes] = deque(maxlen=config.queue_messages)
        self._unsent_control: list[bytes] = []
        self._paused_s: float | None = None
        self._closing = False
        self._pinged = False
        self.heard_s = self._loop.time()
        self.room: _Room | None = None
        self.number = -1
        self.session = ""
        self.name = ""
        self.identity = ""

    @property
    def info(self) -> PeerInfo:
        """What the others may know."""
        return PeerInfo(self.number, self.name, self.identity)

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        config = self._relay.config
        self._transport.set_write_buffer_limits(high=config.write_buffer_bytes)
        connected = transport.get_extra_info("socket")
        if connected is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, config.socket_buffer_bytes)
        if not self._relay.admit(self):
            self._transport.abort()
            return
        self._timer = self._loop.call_later(config.join_timeout_s, self._join_timed_out)

    def data_received(self, data: bytes) -> None:
        self.heard_s = self._loop.time()
        self._pinged = False
        self._websocket.receive_data(data)
        for event in self._websocket.events_received():
            if self._closing:
                break
            if isinstance(event, Request):
                self._shake_hands(event)
            elif isinstance(event, Frame):
                self._take(event)
        self._flush()

    def eof_received(self) -> None:
        self._websocket.receive_eof()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        if hasattr(self, "_timer"):
            self._timer.cancel()
        self._closing = True
        self._relay.forget(self)

    def pause_writing(self) -> None:
        self._paused_s = self._loop.time()

    def resume_writing(self) -> None:
        self._paused_s = None
        for message in self._unsent_control:
            self._transport.write(message)
        self._unsent_control.clear()
        while self._unsent and self._paused_s is None:
            self._transport.write(self._unsent.popleft())
            self._relay.stats.sent_packets += 1

    # -- to the client ------------------------------------------------------------------------------------------

    def send_packet(self, framed: bytes) -> None:
        """Write a framed datagram, or keep it for when the client reads again, at the oldest one's expense."""
        if self._closing:
            return
        if self._paused_s is None:
            self._transport.write(framed)
            self._relay.stats.sent_packets += 1
            return
        if len(self._unsent) == self._unsent.maxlen:
            self._relay.stats.dropped_packets += 1
        self._unsent.append(framed)

    def send_text(self, text: str) -> None:
        """Send a signalling message; a client with too many of them unread is shed."""
        if self._closing or self._websocket.state is not State.OPEN:
            return
        message = frame(Opcode.TEXT, text.encode())
        if self._paused_s is None:
            self._transport.write(message)
        elif len(self._unsent_control) < self._relay.config.queue_messages:
            self._unsent_control.append(message)
        else:
            self._shed()

    def close(self, code: int, reason: str) -> None:
        """Close politely, and impolitely a little later."""
        if self._closing:
            return
        self._closing = True
        if self._websocket.state is State.OPEN:
            self._websocket.send_close(code, reason)
            self._flush()
        self._loop.call_later(self._relay.config.close_timeout_s, self._transport.abort)

    def fail(self, failure: Failure, code: int = _POLICY) -> None:
        """Say why, then close."""
        self.send_text(failure.to_json())
        self.close(code, failure.code)

    def look_after(self, now_s: float) -> None:
        """Called every ``housekeeping_s``: ping the quiet, drop the silent and the slow."""
        config = self._relay.config
        if self._paused_s is not None and now_s - self._paused_s > config.slow_timeout_s:
            self._shed()
        elif now_s - self.heard_s > config.idle_timeout_s:
            self._relay.stats.timeouts += 1
            self._transport.abort()
        elif now_s - self.heard_s > config.ping_interval_s and self._may_ping():
            self._pinged = True
            self._websocket.send_ping(b"")
            self._flush()

    def _may_ping(self) -> bool:
        return not self._pinged and self._paused_s is None and self._websocket.state is State.OPEN

    # -- from the client ----------------------------------------------------------------------------------------

    def _shake_hands(self, request: Request) -> None:
        if request.path.partition("?")[0] == "/health":
            response = self._websocket.reject(200, "ok\n")
        else:
            response = self._websocket.accept(request)
        self._websocket.send_response(response)

    def _take(self, message: Frame) -> None:
        if message.opcode is Opcode.BINARY and message.fin:
            self._take_packet(message.data)
        elif message.opcode is Opcode.TEXT and message.fin:
            self._take_text(message.data)
        elif message.opcode is Opcode.PING:
            # The library has answered; a peer may not make it answer without end.
            if not self._signals.allow(self.heard_s):
                self.fail(Failure("rate", "more pings than this relay answers"))
        elif message.opcode in (Opcode.BINARY, Opcode.TEXT, Opcode.CONT):
            self.fail(Failure("bad-message", "fragmented messages are not taken here"))

    def _take_packet(self, data: bytes | bytearray | memoryview) -> None:
        room = self.room
        if room is None:
            self.fail(Failure("bad-message", "join a room first"))
            return
        stats = self._relay.stats
        if not 2 <= len(data) <= MAX_DATAGRAM_BYTES + 1 or not self._packets.allow(self.heard_s):
            stats.refused_packets += 1
            self._refused += 1
            if self._refused > self._relay.config.refused_packets:
                self.fail(Failure("rate", "more packets than this relay takes from one peer"))
            return
        stats.received_packets += 1
        framed = frame(Opcode.BINARY, bytes((self.number,)) + data[1:])
        destination = data[0]
        if destination == EVERYONE:
            for number, peer in room.peers.items():
                if number != self.number:
                    peer.send_packet(framed)
        elif destination != self.number and destination in room.peers:
            room.peers[destination].send_packet(framed)

    def _take_text(self, data: bytes | bytearray | memoryview) -> None:
        if not self._signals.allow(self.heard_s):
            self.fail(Failure("rate", "more messages than this relay takes from one peer"))
            return
        try:
            message = parse_client_message(bytes(data))
        except SignallingError as error:
            self.fail(Failure("bad-message", str(error)))
            return
        if isinstance(message, Join):
            self._join(message)
        elif self.room is None:
            self.fail(Failure("bad-message", "join a room first"))
        elif message.peer in self.room.peers and message.peer != self.number:
            self.room.peers[message.peer].send_text(Signal(self.number, message.data).to_json())

    def _join(self, message: Join) -> None:
        if self.room is not None:
            self.fail(Failure("bad-message", "this connection is in a room already"))
            return
        failure = self._relay.enter(self, message)
        if failure is not None:
            self._relay.stats.refused_joins += 1
            self.fail(failure, _TRY_LATER if failure.code == "busy" else _POLICY)
            return
        self._timer.cancel()

    # -- ends ---------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        for data in self._websocket.data_to_send():
            if data:
                self._transport.write(data)
            else:
                self._closing = True
                self._transport.close()
                self._loop.call_later(self._relay.config.close_timeout_s, self._transport.abort)
        if self._transport.get_write_buffer_size() > 4 * self._relay.config.write_buffer_bytes:
            self._shed()

    def _join_timed_out(self) -> None:
        self._relay.stats.timeouts += 1
        self.close(_POLICY, "nobody joined in time")

    def _shed(self) -> None:
        self._relay.stats.shed += 1
        self._closing = True
        self._transport.abort()


class Relay:
    """The server. ``async with Relay(config, signer) as relay: await relay.serve_forever()``.

    Without a ``signer`` anyone may join any room. ``context`` makes it TLS (``wss``). ``wall_clock`` tells the
    seconds since 1970 that token expiry is held against.
    """

    def __init__(
        self,
        config: RelayConfig | None = None,
        signer: TokenSigner | None = None,
        *,
        context: tls.SSLContext | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config or RelayConfig()
        self.stats = RelayStats()
        self._signer = signer
        self._context = context
        self._wall_clock = wall_clock
        self._rooms: dict[str, _Room] = {}
        self._connections: set[_Connection] = set()

    async def __aenter__(self) -> Relay:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def port(self) -> int:
        """The port listened on."""
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """What clients connect to."""
        scheme = "ws" if self._context is None else "wss"
        host = f"[{self.config.host}]" if re.search(":", self.config.host) else self.config.host
        return f"{scheme}://{host}:{self.port}"

    async def start(self) -> None:
        """Listen."""
        self.loop = asyncio.get_running_loop()
        self._server = await self.loop.create_server(
            lambda: _Connection(self),
            self.config.host,
            self.config.port,
            ssl=self._context,
            ssl_handshake_timeout=self.config.join_timeout_s if self._context else None,
        )
        self._housekeeper = self.loop.create_task(self._keep_house())
        logger.info("relay listens on %s", self.url)

    async def serve_forever(self) -> None:
        """Run until cancelled."""
        await self._server.serve_forever()

    async def close(self) -> None:
        """Stop listening and disconnect everyone."""
        self._housekeeper.cancel()
        self._server.close()
        for connection in list(self._connections):
            connection.close(_GOING_AWAY, "the relay is going away")
        deadline_s = self.loop.time() + self.config.close_timeout_s
        while self._connections and self.loop.time() < deadline_s:
            await asyncio.sleep(0.01)
        await self._server.wait_closed()

    # -- for connections ----------------------------------------------------------------------------------------

    def admit(self, connection: _Connection) -> bool:
        """Whether there is room for one more connection that has yet to join."""
        if len(self._connections) - self.stats.participants >= self.config.max_waiting:
            return False
        self._connections.add(connection)
        self.stats.connections = len(self._connections)
        return True

    def enter(self, connection: _Connection, message: Join) -> Failure | None:
        """Put a connection into its room, or say why not."""
        if self._signer is not None:
            try:
                self._signer.verify(message.token, message.room, self._wall_clock())
            except TokenError as error:
                return Failure("bad-token", str(error))
        room = self._rooms.get(message.room)
        if room is not None:
            self._replace(room, message.session)
            room = self._rooms.get(message.room)
        if self.stats.participants >= self.config.max_participants:
            return Failure("busy", "the relay has as many participants as it takes")
        if room is None:
            if len(self._rooms) >= self.config.max_rooms:
                return Failure("busy", "the relay has as many rooms as it takes")
            room = self._rooms[message.room] = _Room(message.room)
        if len(room.peers) >= self.config.room_peers:
            return Failure("room-full", f"the room has its {self.config.room_peers} peers")
        connection.room = room
        connection.number = room.free_number()
        connection.session = message.session
        connection.name = message.name
        # What a session is known by; it cannot be turned back into the session.
        connection.identity = hashlib.sha256(message.session.encode()).hexdigest()[:16]
        others = tuple(peer.info for peer in room.peers.values())
        room.peers[connection.number] = connection
        self._count()
        connection.send_text(Welcome(connection.number, others, connection.identity).to_json())
        room.announce(PeerJoined(connection.info).to_json(), connection)
        return None

    def forget(self, connection: _Connection) -> None:
        """A connection has ended."""
        self._connections.discard(connection)
        self._leave(connection)

    # -- inside -------------------------------------------------------------------------------------------------

    def _replace(self, room: _Room, session: str) -> None:
        """The same client comes back before its old connection was missed."""
        for peer in list(room.peers.values()):
            if peer.session == session:
                self._leave(peer)
                peer.fail(Failure("replaced", "this session has connected anew"))

    def _leave(self, connection: _Connection) -> None:
        room = connection.room
        connection.room = None
        if room is not None:
            del room.peers[connection.number]
            room.announce(PeerLeft(connection.number).to_json(), connection)
            if not room.peers:
                del self._rooms[room.name]
        self._count()

    def _count(self) -> None:
        self.stats.connections = len(self._connections)
        self.stats.rooms = len(self._rooms)
        self.stats.participants = sum(len(room.peers) for room in self._rooms.values())

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(self.config.housekeeping_s)
            now_s = self.loop.time()
            for connection in list(self._connections):
                connection.look_after(now_s)


def frame(opcode: Opcode, payload: bytes) -> bytes:
    """An unmasked, unfragmented websocket frame (RFC 6455, 5.2), built once however many peers it goes to."""
    length = len(payload)
    if length < 126:
        return bytes((0x80 | opcode, length)) + payload
    return bytes((0x80 | opcode, 126)) + length.to_bytes(2, "big") + payload
