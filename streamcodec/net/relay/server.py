"""Websocket relay and signalling server: rooms of a few peers, one process, one event loop.

Several relays can share rooms over a backbone (see :mod:`streamcodec.net.relay.cluster`).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl as tls
import time
from collections import Counter
from collections.abc import Callable

from streamcodec.net.relay.cluster import Backbone, Cluster, ClusterConfig, Member
from streamcodec.net.relay.config import RelayConfig, RelayStats
from streamcodec.net.relay.connection import RelayConnection, RelayRoom
from streamcodec.net.relay.tokens import TokenError, TokenSigner
from streamcodec.net.signalling import (
    MAX_PEERS,
    Failure,
    Join,
    PeerInfo,
    PeerJoined,
    PeerLeft,
    Signal,
    Welcome,
)

logger = logging.getLogger("streamcodec.relay")

_GOING_AWAY = 1001


class Relay:
    """The server. ``async with Relay(config, signer) as relay: await relay.serve_forever()``.

    Without a ``signer`` anyone may join any room. ``context`` makes it TLS (``wss``). ``wall_clock`` tells the
    seconds since 1970 that token expiry is held against. With a ``backbone``, rooms are shared with the other relays
    on it.
    """

    def __init__(
        self,
        config: RelayConfig | None = None,
        signer: TokenSigner | None = None,
        *,
        context: tls.SSLContext | None = None,
        wall_clock: Callable[[], float] = time.time,
        backbone: Backbone | None = None,
        cluster: ClusterConfig | None = None,
    ) -> None:
        self.config = config or RelayConfig()
        self.stats = RelayStats()
        self._signer = signer
        self._context = context
        self._wall_clock = wall_clock
        self._rooms: dict[str, RelayRoom] = {}
        self._connections: set[RelayConnection] = set()
        self._cluster = None if backbone is None else Cluster(backbone, self, cluster)
        self._opening: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

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
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        return f"{scheme}://{host}:{self.port}"

    async def start(self) -> None:
        """Listen."""
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        if self._cluster is not None:
            await self._cluster.start()
        self._server = await self.loop.create_server(
            lambda: RelayConnection(self),
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
        for task in list(self._tasks):
            task.cancel()
        if self._cluster is not None:
            await self._cluster.stop()

    # -- for connections ----------------------------------------------------------------------------------------

    def admit(self, connection: RelayConnection) -> bool:
        """Whether there is room for one more connection that has yet to join."""
        if len(self._connections) - self.stats.participants >= self.config.max_waiting:
            return False
        self._connections.add(connection)
        self.stats.connections = len(self._connections)
        return True

    def enter(self, connection: RelayConnection, message: Join) -> None:
        """Put a connection into its room, or tell it why not; later, where other relays have to be asked first."""
        if self._signer is not None:
            try:
                self._signer.verify(message.token, message.room, self._wall_clock())
            except TokenError as error:
                connection.refuse(Failure("bad-token", str(error)))
                return
        if self._cluster is None or message.room in self._rooms:
            self._enter(connection, message)
            return
        task = self.loop.create_task(self._enter_later(self._cluster, connection, message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def pass_packet(self, room: RelayRoom, source: int, destination: int, datagram: bytes) -> None:
        """Take a client's datagram to where it is meant to go."""
        room.deliver(source, destination, datagram)
        if self._cluster is not None:
            self._cluster.send_packet(room.name, source, destination, datagram)

    def pass_signal(self, room: RelayRoom, source: int, signal: Signal) -> None:
        """Take a client's signal to its peer."""
        if signal.peer in room.peers:
            room.peers[signal.peer].send_text(Signal(source, signal.data).to_json())
        elif self._cluster is not None:
            self._cluster.send_signal(room.name, source, signal)

    def forget(self, connection: RelayConnection) -> None:
        """A connection has ended."""
        self._connections.discard(connection)
        self._leave(connection)

    # -- for the cluster ----------------------------------------------------------------------------------------

    def local_members(self, room: str) -> list[Member]:
        """Who of a room is here."""
        here = self._rooms.get(room)
        return [] if here is None else [Member(peer.info, peer.since_s) for peer in here.peers.values()]

    def remote_joined(self, room: str, info: PeerInfo) -> None:
        """Somebody has come to another relay."""
        if room in self._rooms:
            self._rooms[room].announce(PeerJoined(info).to_json())

    def remote_left(self, room: str, number: int) -> None:
        """Somebody has left another relay."""
        if room in self._rooms:
            self._rooms[room].announce(PeerLeft(number).to_json())

    def remote_packet(self, room: str, source: int, destination: int, datagram: bytes) -> None:
        """A datagram from somebody at another relay."""
        if room in self._rooms:
            self._rooms[room].deliver(source, destination, datagram)

    def remote_signal(self, room: str, source: int, signal: Signal) -> None:
        """A signal from somebody at another relay."""
        here = self._rooms.get(room)
        if here is not None and signal.peer in here.peers:
            here.peers[signal.peer].send_text(Signal(source, signal.data).to_json())

    def evict(self, room: str, number: int, moved: bool) -> None:
        """Somebody here has turned up at another relay, or holds a number that goes to somebody there."""
        peer = self._rooms[room].peers[number]
        self._leave(peer)
        peer.fail(Failure("replaced", "this session has connected anew") if moved else Failure("busy", "try again"))

    # -- inside -------------------------------------------------------------------------------------------------

    async def _enter_later(self, cluster: Cluster, connection: RelayConnection, message: Join) -> None:
        self._opening[message.room] += 1
        try:
            await cluster.open(message.room)
        finally:
            self._opening[message.room] -= 1
        if not connection.is_closing:
            self._enter(connection, message)
        await self._close_unused(cluster, message.room)

    def _enter(self, connection: RelayConnection, message: Join) -> None:
        room = self._rooms.get(message.room)
        if room is not None:
            self._replace(room, message.session)
            room = self._rooms.get(message.room)
        elsewhere = []
        if self._cluster is not None:
            self._cluster.forget(message.room, connection.identity)
            elsewhere = self._cluster.members(message.room)
        if self.stats.participants >= self.config.max_participants:
            connection.refuse(Failure("busy", "the relay has as many participants as it takes"))
            return
        if room is None and len(self._rooms) >= self.config.max_rooms:
            connection.refuse(Failure("busy", "the relay has as many rooms as it takes"))
            return
        others = [*elsewhere, *(peer.info for peer in room.peers.values())] if room is not None else elsewhere
        if len(others) >= self.config.room_peers:
            connection.refuse(Failure("room-full", f"the room has its {self.config.room_peers} peers"))
            return
        if room is None:
            room = self._rooms[message.room] = RelayRoom(message.room)
        connection.seat(room, self._free_number(others), self._wall_clock())
        self._count()
        connection.send_text(Welcome(connection.number, tuple(others), connection.identity).to_json())
        room.announce(PeerJoined(connection.info).to_json(), connection)
        if self._cluster is not None:
            self._cluster.announce(room.name, came=connection.identity)

    def _free_number(self, others: list[PeerInfo]) -> int:
        """The lowest free number; with other relays any, so that two relays seldom give out the same at once."""
        taken = {info.peer for info in others}
        free = [number for number in range(MAX_PEERS) if number not in taken]
        return free[0] if self._cluster is None else secrets.choice(free)

    def _replace(self, room: RelayRoom, session: str) -> None:
        """The same client comes back before its old connection was missed."""
        for peer in list(room.peers.values()):
            if peer.session == session:
                self._leave(peer)
                peer.fail(Failure("replaced", "this session has connected anew"))

    def _leave(self, connection: RelayConnection) -> None:
        room = connection.room
        connection.room = None
        if room is not None:
            del room.peers[connection.number]
            room.announce(PeerLeft(connection.number).to_json(), connection)
            if not room.peers:
                del self._rooms[room.name]
            self._tell_cluster(room)
        self._count()

    def _tell_cluster(self, room: RelayRoom) -> None:
        if self._cluster is None:
            return
        self._cluster.announce(room.name)
        if not room.peers:
            task = self.loop.create_task(self._close_room(self._cluster, room.name))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _close_room(self, cluster: Cluster, room: str) -> None:
        """Let go of a room that is still empty after a moment: whoever was replaced is about to be back."""
        await asyncio.sleep(0.1)
        await self._close_unused(cluster, room)

    async def _close_unused(self, cluster: Cluster, room: str) -> None:
        if self._opening[room] == 0:
            del self._opening[room]
            if room not in self._rooms:
                await cluster.close(room)

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
