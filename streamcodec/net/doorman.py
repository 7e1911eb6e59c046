"""Accepts a server's TCP connections and decides about each before anything is spent on it.

asyncio's own servers make a transport, and with TLS buffers of some 200 KB, for whoever connects. Here a
connection is counted first, TLS handshakes included, and dropped where others have to come first. Where the system
has no file descriptors left, one kept in reserve lets the newcomer be turned away instead of left hanging.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import os
import socket
import ssl as tls
import sys
from collections.abc import Callable
from dataclasses import dataclass

from streamcodec.net.gate import Gate, Network, Visit, address_of, is_within

logger = logging.getLogger("streamcodec.relay")

BACKLOG = 4_096
MAX_IDLE = 10_000
LEAST_IDLE = 64
ACCEPTS_AT_ONCE = 128
"""Then the event loop has its turn, so that a flood of connections does not hold the media up."""
_OUT_OF_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
RESERVED_DESCRIPTORS = 64
"""For everything that is no connection: the health port, the backbone, logs."""
_WARN_EVERY_S = 10.0
_HANDSHAKE_RECORD, _RECORD_HEADER_BYTES, _MAX_RECORD_BYTES = 22, 5, 16_384
_GARBAGE_HANDSHAKES = 200


@dataclass(frozen=True, slots=True)
class DoorConfig:
    """Where to listen, and how patient to be."""

    host: str
    port: int
    handshake_timeout_s: float
    trusted_proxies: tuple[Network, ...] = ()


class Doorman:
    """Listens, counts, and hands each connection to a protocol that ``make_protocol(visit)`` makes.

    A connection is *idle* until its first byte: it costs a descriptor and next to nothing else, so it is held, and
    closed after a while. Closing it at once would only bring it back at once. With its first byte it is a visit, and
    passes the gate.
    """

    def __init__(
        self,
        config: DoorConfig,
        gate: Gate,
        make_protocol: Callable[[Visit], asyncio.Protocol],
        context: tls.SSLContext | None = None,
    ) -> None:
        self._config = config
        self._gate = gate
        self._make_protocol = make_protocol
        self._context = context
        self._listeners: list[socket.socket] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._handshakes: set[asyncio.Task[None]] = set()
        self._idle: dict[socket.socket, tuple[str, float, int]] = {}
        self._garbage = 0
        self._max_idle = MAX_IDLE
        self._reserve: int | None = None
        self._warned_s = float("-inf")
        self.refused = 0
        """Connections closed because nothing came of them, or there was no descriptor for them."""

    @property
    def port(self) -> int:
        """The port listened on."""
        return int(self._listeners[0].getsockname()[1])

    @property
    def idle(self) -> int:
        """Connections on which nothing has come yet."""
        return len(self._idle)

    async def open(self, max_idle: int = MAX_IDLE) -> None:
        """Listen, and hold at most so many idle connections; raises OSError."""
        self._loop = asyncio.get_running_loop()
        self._max_idle = max_idle
        host, port = self._config.host, self._config.port
        found = await self._loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                chosen = (address[0], self.port, *address[2:]) if self._listeners and port == 0 else address
                self._listeners.append(_listener(family, chosen))
        except BaseException:
            self._shut()
            raise
        with contextlib.suppress(OSError):
            self._reserve = os.open(os.devnull, os.O_RDONLY)
        for listener in self._listeners:
            self._watch(listener)
        self._tasks.append(self._loop.create_task(self._close_idle()))

    async def close(self) -> None:
        """Listen no longer; connections that are through are left alone."""
        for listener in self._listeners:
            self._unwatch(listener)
        for task in (*self._tasks, *self._handshakes):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._handshakes, return_exceptions=True)
        for connected in list(self._idle):
            self._drop_idle(connected)
        self._shut()

    def gone(self, visit: Visit) -> None:
        """A connection has ended."""
        self._gate.leave(visit)

    # -- inside -------------------------------------------------------------------------------------------------

    def _watch(self, listener: socket.socket) -> None:
        try:
            self._loop.add_reader(listener, self._accept_some, listener)
        except NotImplementedError:  # Windows
            self._tasks.append(self._loop.create_task(self._accept(listener)))

    def _unwatch(self, listener: socket.socket) -> None:
        with contextlib.suppress(NotImplementedError):
            self._loop.remove_reader(listener)

    def _shut(self) -> None:
        for listener in self._listeners:
            listener.close()
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None

    def _accept_some(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                connected, peer = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _OUT_OF_DESCRIPTORS:
                    self._turn_away(listener, error)
                    return
                continue  # the other side has gone before we looked
            connected.setblocking(False)
            if len(self._idle) >= self._max_idle:
                self._drop_idle(next(iter(self._idle)))
            self._idle[connected] = str(peer[0]), self._loop.time(), 0
            self._loop.add_reader(connected, self._begins, connected)

    async def _accept(self, listener: socket.socket) -> None:
        """Where the loop cannot watch sockets nothing is known of a first byte either."""
        while True:
            try:
                connected, peer = await self._loop.sock_accept(listener)
            except OSError:
                await asyncio.sleep(0.01)
                continue
            connected.setblocking(False)
            self._let_in(connected, str(peer[0]))
            await asyncio.sleep(0)

    def _begins(self, connected: socket.socket) -> None:
        """Something has come, or the end. TLS begins once the whole of its first record is there."""
        try:
            begun = connected.recv(_RECORD_HEADER_BYTES + _MAX_RECORD_BYTES, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            begun = b""
        wanted = 1 if self._context is None else _record_bytes(begun)
        if begun and len(begun) < wanted:
            host, since_s, before = self._idle[connected]
            with contextlib.suppress(OSError):
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)
                if len(begun) > before:
                    self._idle[connected] = host, since_s, len(begun)
                    return
        # Readable without anything more having come: the other side has ended it.
        if len(begun) < wanted:
            self._drop_idle(connected)
            return
        with contextlib.suppress(OSError):
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        host, _, _ = self._idle.pop(connected)
        self._loop.remove_reader(connected)
        self._let_in(connected, host)

    def _drop_idle(self, connected: socket.socket) -> None:
        del self._idle[connected]
        self._loop.remove_reader(connected)
        connected.close()
        self.refused += 1

    async def _close_idle(self) -> None:
        """Those on which nothing has come for long; a dict keeps the order in which they came."""
        while True:
            await asyncio.sleep(self._config.handshake_timeout_s / 5)
            oldest_s = self._loop.time() - self._config.handshake_timeout_s
            for connected in [one for one, (_, since_s, _) in self._idle.items() if since_s < oldest_s]:
                self._drop_idle(connected)

    def _turn_away(self, listener: socket.socket, error: OSError) -> None:
        """Without a descriptor for the newcomer: one that is idle goes, or else the newcomer."""
        self._warn(f"no connection can be accepted: {error.strerror}; raise the limit of open files")
        if self._idle:
            self._drop_idle(next(iter(self._idle)))
            return
        self.refused += 1
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None
        with contextlib.suppress(OSError):
            listener.accept()[0].close()
        with contextlib.suppress(OSError):
            self._reserve = os.open(os.devnull, os.O_RDONLY)

    def _warn(self, text: str) -> None:
        if self._loop.time() - self._warned_s > _WARN_EVERY_S:
            self._warned_s = self._loop.time()
            logger.warning("%s", text)

    def _let_in(self, connected: socket.socket, host: str) -> None:
        proxied = is_within(host, self._config.trusted_proxies)
        task: asyncio.Task[None] | None = None

        def drop() -> None:
            # Before the protocol is there the handshake is what ends; afterwards the protocol has its own way.
            if task is not None:
                task.cancel()

        visit = self._gate.come(address_of(host), drop, through_proxy=proxied)
        with contextlib.suppress(OSError):
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._connect(connected, visit))
        self._handshakes.add(task)
        task.add_done_callback(lambda ended: self._connected(ended, connected, visit))

    async def _connect(self, connected: socket.socket, visit: Visit) -> None:
        await self._loop.connect_accepted_socket(
            lambda: self._make_protocol(visit),
            connected,
            ssl=self._context,
            ssl_handshake_timeout=self._config.handshake_timeout_s if self._context is not None else None,
        )

    def _connected(self, task: asyncio.Task[None], connected: socket.socket, visit: Visit) -> None:
        """The protocol has taken over, or nothing has come of it; a task cancelled early never ran at all."""
        self._handshakes.discard(task)
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error is not None:
            self.refused += 1
            connected.close()
            self.gone(visit)
            self._collect()
        if error is not None and not isinstance(error, OSError | asyncio.TimeoutError):
            logger.error("a connection could not be begun: %s", type(error).__name__)

    def _collect(self) -> None:
        """Failed TLS handshakes leave a quarter of a megabyte each in cycles that few objects are part of."""
        self._garbage += self._context is not None
        if self._garbage >= _GARBAGE_HANDSHAKES:
            self._garbage = 0
            gc.collect()


def _record_bytes(begun: bytes) -> int:
    """How long a TLS connection's first record is, as far as its beginning tells."""
    if len(begun) < _RECORD_HEADER_BYTES:
        return _RECORD_HEADER_BYTES
    if begun[0] != _HANDSHAKE_RECORD:
        return 1  # no TLS: its library says so at once
    return _RECORD_HEADER_BYTES + min(int.from_bytes(begun[3:5], "big"), _MAX_RECORD_BYTES)


def _listener(family: int, address: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def descriptors_for_idle(needed: int) -> int:
    """How many idle connections there may be beside ``needed`` others; asks the system for more open files first."""
    if sys.platform == "win32":
        return MAX_IDLE
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = needed + MAX_IDLE + RESERVED_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        granted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return MAX_IDLE
    left = soft - RESERVED_DESCRIPTORS - needed
    if left < LEAST_IDLE:
        logger.warning(
            "the system allows %d open files, too few for %d connections: raise it with ulimit -n", soft, needed
        )
    return min(MAX_IDLE, max(LEAST_IDLE, left))
