"""One client of a relay, from TCP connection to its end, and the room it sits in.

Built on the sans-I/O side of ``websockets``: a datagram is parsed, its first byte replaced by the sender's number and
written to the other peers' sockets within one callback, with no task or queue in between. What a peer does not read
in time is dropped, oldest first, and a peer that reads nothing for long is disconnected; memory per connection is
bounded. Nothing received is ever logged.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import socket
from typing import Protocol, cast
from urllib.parse import urlsplit

from streamcodec.extras import extra_imports
from streamcodec.net.gate import Visit
from streamcodec.net.relay.config import RelayConfig, RelayStats
from streamcodec.net.relay.frames import packet_frame, text_frame
from streamcodec.net.relay.pages import Pages, only_get
from streamcodec.net.relay.rate_limit import RateLimit
from streamcodec.net.relay.unsent_packets import UnsentPackets
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

with extra_imports("net"):
    from websockets.frames import Frame, Opcode
    from websockets.http11 import Request
    from websockets.protocol import State
    from websockets.server import ServerProtocol
    from websockets.typing import Origin

# At debug level the library logs the content of messages, tokens among them.
_library_logger = logging.getLogger("streamcodec.relay.websocket")
_library_logger.setLevel(logging.ERROR)

SMALL_BYTES = 160
SMALL_PER_S = 3.0
"""What those who may not speak may send to one other, and those who may not hear may get: reports, and no sound."""
MAX_CONTROL_MESSAGES = 256
PAGE_TIMEOUT_S = 120.0
"""Within which a page must have been fetched: 8 MB on a line of half a megabit."""
_PAGE_PIECE_BYTES = 16_384
_POLICY = 1008
_TRY_LATER = 1013


class Host(Protocol):
    """What a connection needs of its relay."""

    config: RelayConfig
    stats: RelayStats
    pages: Pages | None
    loop: asyncio.AbstractEventLoop

    def enrol(self, connection: RelayConnection) -> None: ...

    def forwarded(self, connection: RelayConnection, header: str) -> None: ...

    def enter(self, connection: RelayConnection, message: Join) -> None: ...

    def forget(self, connection: RelayConnection) -> None: ...

    def pass_packet(self, room: RelayRoom, source: int, destination: int, datagram: bytes) -> None: ...

    def pass_signal(self, room: RelayRoom, source: int, signal: Signal) -> None: ...


class RelayRoom:
    """Who of a room is connected to this relay, by number."""

    __slots__ = ("joins", "name", "peers")

    def __init__(self, name: str, joins: RateLimit) -> None:
        self.name = name
        self.joins = joins
        self.peers: dict[int, RelayConnection] = {}

    def deliver(self, source: int, destination: int, datagram: bytes) -> None:
        """Write a datagram to those here whom it concerns."""
        framed = packet_frame(source, datagram)
        if destination == EVERYONE:
            for number, peer in self.peers.items():
                if number != source and peer.hears:
                    peer.send_packet(framed, source)
        elif destination != source and destination in self.peers:
            peer = self.peers[destination]
            if peer.hears or peer.takes_small(source, datagram):
                peer.send_packet(framed, source)

    def announce(self, text: str, besides: RelayConnection | None = None) -> None:
        """Send everyone here a signalling message."""
        for peer in list(self.peers.values()):
            if peer is not besides:
                peer.send_text(text)


class RelayConnection(asyncio.Protocol):
    """One client, from TCP connection to its end."""

    def __init__(self, relay: Host, visit: Visit) -> None:
        self._relay = relay
        self.visit = visit
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
        self._signal_bytes = RateLimit(config.signal_bytes_per_s, config.signal_burst_bytes)
        self._small: dict[tuple[int, bool], RateLimit] = {}
        self._refused = 0
        self._unsent = UnsentPackets()
        self._unsent_control: list[bytes] = []
        self._paused_s: float | None = None
        self._page: memoryview | None = None
        self._closing = False
        self._pinged = False
        self.heard_s = self._loop.time()
        self.room: RelayRoom | None = None
        self.number = -1
        self.since_s = 0.0
        self.token = ""
        self.seats = 1
        self.ends_s = float("inf")
        self.speaks = self.hears = True
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
        return PeerInfo(self.number, self.name, self.identity, self.bitstream, self.speaks, self.hears)

    # -- asyncio.Protocol ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        config = self._relay.config
        self._transport.set_write_buffer_limits(high=config.write_buffer_bytes)
        connected = transport.get_extra_info("socket")
        if connected is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, config.socket_buffer_bytes)
        self._relay.enrol(self)
        if not self.visit.waiting:
            self._transport.abort()
            return
        self.visit.drop = self._make_room
        self._timer = self._loop.call_later(config.join_timeout_s, self._join_timed_out)

    def data_received(self, data: bytes) -> None:
        self.heard_s = self._loop.time()
        self._pinged = False
        if self._page is not None:
            return
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
        if self._page is not None:
            self._transport.abort()
            return
        self._websocket.receive_eof()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        if hasattr(self, "_timer"):
            self._timer.cancel()
        self._closing = True
        self._page = None
        self._relay.forget(self)

    def pause_writing(self) -> None:
        self._paused_s = self._loop.time()

    def resume_writing(self) -> None:
        self._paused_s = None
        if self._page is not None:
            self._send_page()
            return
        for message in self._unsent_control:
            self._transport.write(message)
        self._unsent_control.clear()
        while self._unsent and self._paused_s is None:
            # One of each sender's in turn.
            for source in self._unsent.senders:
                self._transport.write(self._unsent.take(source))
                self._relay.stats.sent_packets += 1

    # -- to the client ------------------------------------------------------------------------------------------

    def send_packet(self, framed: bytes, source: int) -> None:
        """Write a framed datagram, or keep it for when the client reads again.

        Where there are too many, the oldest of the sender with the most goes.
        """
        if self._closing:
            return
        if self._paused_s is None:
            self._transport.write(framed)
            self._relay.stats.sent_packets += 1
            return
        self._unsent.add(source, framed)
        if len(self._unsent) > self._relay.config.queue_messages:
            self._relay.stats.dropped_packets += 1
            self._unsent.drop_oldest()

    def takes_small(self, peer: int, datagram: bytes, *, sends: bool = False) -> bool:
        """Whether a datagram from (or, with ``sends``, to) ``peer`` may pass where sound may not."""
        limit = self._small.setdefault((peer, sends), RateLimit(SMALL_PER_S, 2 * SMALL_PER_S))
        return len(datagram) <= SMALL_BYTES and limit.allow(self._loop.time())

    def send_text(self, text: str, *, droppable: bool = False) -> None:
        """Send a signalling message; what is ``droppable`` a client with many unread never sees.

        A client that leaves too many others unread is shed; rates keep the others in a room from making so many.
        """
        if self._closing or self._websocket.state is not State.OPEN:
            return
        message = text_frame(text)
        if self._paused_s is None:
            self._transport.write(message)
        elif droppable and len(self._unsent_control) >= self._relay.config.queue_messages:
            self._relay.stats.dropped_signals += 1
        elif len(self._unsent_control) < MAX_CONTROL_MESSAGES + 4 * self._relay.config.room_peers:
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
        elif self._page is None and now_s - self.heard_s > config.idle_timeout_s:
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
        forwarded = request.headers.get_all("X-Forwarded-For")
        if forwarded:
            self._relay.forwarded(self, ",".join(forwarded))
        pages, is_health = self._relay.pages, request.path.partition("?")[0] == "/health"
        if pages is not None and "Upgrade" not in request.headers and not is_health:
            named = {name: ",".join(request.headers.get_all(name)) for name in ("If-None-Match", "Accept-Encoding")}
            # Older versions of the library know GET alone.
            method = getattr(request, "method", "GET")
            head, body = pages.answer(request.path, named) if method in ("GET", "HEAD") else only_get()
            self._serve(head, b"" if method == "HEAD" else body)
            return
        if pages is not None and _is_own_page(request):
            self._websocket.origins = None
        response = self._websocket.reject(200, "ok\n") if is_health else self._websocket.accept(request)
        self._websocket.send_response(response)

    def _serve(self, head: bytes, body: bytes) -> None:
        """Send a page at the pace at which it is read, then hang up."""
        self._timer.cancel()
        self._timer = self._loop.call_later(PAGE_TIMEOUT_S, self._join_timed_out)
        self._transport.write(head)
        self._page = memoryview(body)
        self._send_page()

    def _send_page(self) -> None:
        while self._page is not None and len(self._page) and self._paused_s is None:
            piece, self._page = self._page[:_PAGE_PIECE_BYTES], self._page[_PAGE_PIECE_BYTES:]
            self._transport.write(bytes(piece))
        if not self._page and not self._closing:
            self._closing = True
            # Not at once: asyncio closes twice where that happens while it asks for more to write.
            self._loop.call_soon(self._transport.close)

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
        allowed = 2 <= len(data) <= MAX_DATAGRAM_BYTES + 1 and self._packets.allow(self.heard_s)
        if allowed and not self.speaks:
            allowed = data[0] != EVERYONE and self.takes_small(data[0], bytes(data[1:]), sends=True)
        if not allowed:
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
        if not self._signal_bytes.allow(self.heard_s, float(len(data))):
            self._relay.stats.dropped_signals += 1
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
        self.name = message.name  # unless the token knows better
        self.bitstream = message.bitstream
        # What a session is known by; it cannot be turned back into the session.
        self.identity = hashlib.sha256(message.session.encode()).hexdigest()[:16]
        self._relay.enter(self, message)

    def refuse(self, failure: Failure) -> None:
        """The relay does not let this client in."""
        self._relay.stats.refused_joins += 1
        self.fail(failure, _TRY_LATER if failure.code == "busy" else _POLICY)

    def refuse_later(self, failure: Failure, delay_s: float) -> None:
        """The same after a while, so that trying again and again takes its time."""
        self._timer.cancel()
        self._timer = self._loop.call_later(delay_s, self.refuse, failure)

    def _make_room(self) -> None:
        """Close a connection that has not joined: others want its place."""
        self._closing = True
        self._transport.abort()

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
        if self._page is not None:
            self._transport.abort()
            return
        self.close(_POLICY, "nobody joined in time")

    def _shed(self) -> None:
        self._relay.stats.shed += 1
        self._closing = True
        self._transport.abort()


def _is_own_page(request: Request) -> bool:
    """Whether a page that asks for a websocket came from here: from the address asked, or over https, where a
    certificate has shown that the name is ours. Without one, anybody's name can be made to lead here.
    """
    hosts, origins = request.headers.get_all("Host"), request.headers.get_all("Origin")
    if len(hosts) != 1 or len(origins) != 1:
        return False
    if origins[0] == f"https://{hosts[0]}":
        return True
    return origins[0] == f"http://{hosts[0]}" and _is_address(urlsplit(origins[0]).hostname or "")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost"
    return True
