"""One client of a relay, from TCP connection to its end, and the room it sits in.

Built on the sans-I/O side of ``websockets``: a datagram is parsed, its first byte replaced by the sender's number and
written to the other peers' sockets within one callback, with no task or queue in between. What a peer does not read
in time is dropped, oldest first, and a peer that reads nothing for long is disconnected; memory per connection is
bounded. Nothing received is ever logged.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
from collections import deque
from typing import Protocol, cast

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Origin

from streamcodec.net.relay.config import RelayConfig, RelayStats
from streamcodec.net.relay.rate_limit import RateLimit
from streamcodec.net.signalling import (
    EVERYONE,
    MAX_DATAGRAM_BYTES,
    MAX_TEXT_BYTES,
    Failure,
    Join,
    PeerInfo,
    Signal,
    SignallingError,
    parse_client_message,
)

# At debug level the library logs the content of messages, tokens among them.
_library_logger = logging.getLogger("streamcodec.relay.websocket")
_library_logger.setLevel(logging.ERROR)

_POLICY = 1008
_TRY_LATER = 1013


class Host(Protocol):
    """What a connection needs of its relay."""

    config: RelayConfig
    stats: RelayStats
    loop: asyncio.AbstractEventLoop

    def admit(self, connection: RelayConnection) -> bool: ...

    def enter(self, connection: RelayConnection, message: Join) -> None: ...

    def forget(self, connection: RelayConnection) -> None: ...

    def pass_packet(self, room: RelayRoom, source: int, destination: int, datagram: bytes) -> None: ...

    def pass_signal(self, room: RelayRoom, source: int, signal: Signal) -> None: ...


class RelayRoom:
    """Who of a room is connected to this relay, by number."""

    __slots__ = ("name", "peers")

    def __init__(self, name: str) -> None:
        self.name = name
        self.peers: dict[int, RelayConnection] = {}

    def deliver(self, source: int, destination: int, datagram: bytes) -> None:
        """Write a datagram to those here whom it concerns."""
        framed = packet_frame(source, datagram)
        if destination == EVERYONE:
            for number, peer in self.peers.items():
                if number != source:
                    peer.send_packet(framed)
        elif destination != source and destination in self.peers:
            self.peers[destination].send_packet(framed)

    def announce(self, text: str, besides: RelayConnection | None = None) -> None:
        """Send everyone here a signalling message."""
        for peer in list(self.peers.values()):
            if peer is not besides:
                peer.send_text(text)


class RelayConnection(asyncio.Protocol):
    """One client, from TCP connection to its end."""

    def __init__(self, relay: Host) -> None:
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
        self.room: RelayRoom | None = None
        self.number = -1
        self.since_s = 0.0
        self._asked_to_join = False
        self.session = ""
        self.name = ""
        self.identity = ""
        self.bitstream = ""

    @property
    def is_closing(self) -> bool:
        """Whether this connection has ended, or is about to."""
        return self._closing

    @property
    def info(self) -> PeerInfo:
        """What the others may know."""
        return PeerInfo(self.number, self.name, self.identity, self.bitstream)

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
        message = _frame(Opcode.TEXT, text.encode())
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
        self._relay.pass_packet(room, self.number, data[0], bytes(data[1:]))

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
        elif message.peer != self.number:
            self._relay.pass_signal(self.room, self.number, message)

    def _join(self, message: Join) -> None:
        if self._asked_to_join:
            self.fail(Failure("bad-message", "this connection has asked to join already"))
            return
        self._asked_to_join = True
        self.session = message.session
        self.name = message.name
        self.bitstream = message.bitstream
        # What a session is known by; it cannot be turned back into the session.
        self.identity = hashlib.sha256(message.session.encode()).hexdigest()[:16]
        self._relay.enter(self, message)

    def refuse(self, failure: Failure) -> None:
        """The relay does not let this client in."""
        self._relay.stats.refused_joins += 1
        self.fail(failure, _TRY_LATER if failure.code == "busy" else _POLICY)

    def seat(self, room: RelayRoom, number: int, since_s: float) -> None:
        """The relay lets this client in."""
        self._timer.cancel()
        self.room = room
        self.number = number
        self.since_s = since_s
        room.peers[number] = self

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


def packet_frame(source: int, datagram: bytes) -> bytes:
    """A datagram as it goes to clients, built once however many they are."""
    return _frame(Opcode.BINARY, bytes((source,)) + datagram)


def _frame(opcode: Opcode, payload: bytes) -> bytes:
    """An unmasked, unfragmented websocket frame (RFC 6455, 5.2)."""
    length = len(payload)
    if length < 126:
        return bytes((0x80 | opcode, length)) + payload
    return bytes((0x80 | opcode, 126)) + length.to_bytes(2, "big") + payload
