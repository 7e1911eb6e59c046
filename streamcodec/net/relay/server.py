"""Websocket relay and signalling server: rooms of a few peers, one process, one event loop.

Several relays can share rooms over a backbone (see :mod:`streamcodec.net.relay.cluster`).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl as tls
import time
from collections import Counter, OrderedDict
from collections.abc import Callable

from streamcodec.net.doorman import DoorConfig, Doorman, descriptors_for_idle
from streamcodec.net.gate import Gate, address_of, forwarded_for, networks
from streamcodec.net.relay.cluster import Backbone, Cluster, ClusterConfig, Member
from streamcodec.net.relay.config import RelayConfig, RelayStats
from streamcodec.net.relay.connection import RelayConnection, RelayRoom
from streamcodec.net.relay.pages import Pages
from streamcodec.net.relay.rate_limit import RateLimit
from streamcodec.net.relay.tokens import Pass, TokenError, TokenSigner
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
REMEMBERED_TOKENS = 10_000
"""Of which it is known when they were first used."""


class Relay:
    """The server. ``async with Relay(config, signer) as relay: await relay.serve_forever()``.

    Without a ``signer`` anyone may join any room. ``context`` makes it TLS (``wss``). ``wall_clock`` tells the
    seconds since 1970 that token expiry is held against. With a ``backbone``, rooms are shared with the other relays
    on it. ``pages`` are served to browsers beside the websockets.
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
        pages: Pages | None = None,
    ) -> None:
        self.config = config or RelayConfig()
        self.stats = RelayStats()
        self.pages = pages
        self._signer = signer
        self._context = context
        self._wall_clock = wall_clock
        self._rooms: dict[str, RelayRoom] = {}
        self._connections: set[RelayConnection] = set()
        self._cluster = None if backbone is None else Cluster(backbone, self, cluster)
        self._opening: Counter[str] = Counter()
        self.gate = Gate(self.config.gate)
        self._proxies = networks(self.config.trusted_proxies)
        self._told_of_proxies = False
        door = DoorConfig(self.config.host, self.config.port, self.config.join_timeout_s, self._proxies)
        self._doorman = Doorman(door, self.gate, lambda visit: RelayConnection(self, visit), context)
        self._first_used_s: OrderedDict[str, float] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Relay:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def port(self) -> int:
        """The port listened on."""
        return self._doorman.port

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
        config = self.config
        try:
            await self._doorman.open(descriptors_for_idle(config.max_participants + config.max_waiting))
        except BaseException:
            if self._cluster is not None:
                await self._cluster.stop()
            raise
        self._housekeeper = self.loop.create_task(self._keep_house())
        logger.info("relay listens on %s", self.url)

    async def serve_forever(self) -> None:
        """Run until cancelled."""
        await asyncio.get_running_loop().create_future()

    async def close(self) -> None:
        """Stop listening and disconnect everyone."""
        self._housekeeper.cancel()
        await self._doorman.close()
        for connection in list(self._connections):
            connection.close(_GOING_AWAY, "the relay is going away")
        deadline_s = self.loop.time() + self.config.close_timeout_s
        while self._connections and self.loop.time() < deadline_s:
            await asyncio.sleep(0.01)
        for task in list(self._tasks):
            task.cancel()
        if self._cluster is not None:
            await self._cluster.stop()

    # -- for connections ----------------------------------------------------------------------------------------

    def enrol(self, connection: RelayConnection) -> None:
        """A connection has been made, and has yet to join."""
        self._connections.add(connection)
        self.stats.connections = len(self._connections)

    def forwarded(self, connection: RelayConnection, header: str) -> None:
        """A request names whom it comes from: believed where a trusted proxy says so."""
        if connection.visit.through_proxy:
            host = forwarded_for(header, self._proxies)
            if host is not None:
                self.gate.move(connection.visit, address_of(host))
        elif not self._told_of_proxies:
            self._told_of_proxies = True
            logger.warning(
                "requests through a proxy at %s, whose X-Forwarded-For is not believed: name it with --trusted-proxy",
                connection.visit.address,
            )

    def enter(self, connection: RelayConnection, message: Join) -> None:
        """Put a connection into its room, or tell it why not; later, where other relays have to be asked first."""
        refusal = self.gate.refusal(connection.visit, message.room, self.loop.time())
        if refusal:
            connection.refuse(Failure("busy", refusal))
            return
        if self._signer is not None:
            try:
                self._admit(connection, self._signer.verify(message.token, message.room, self._wall_clock()))
            except TokenError as error:
                self.stats.wrong_tokens += 1
                delay_s = self.gate.wrong_token(connection.visit, self.loop.time())
                connection.refuse_later(Failure("bad-token", str(error)), delay_s)
                return
        if self._cluster is None or message.room in self._rooms:
            self._enter(connection, message)
            return
        task = self.loop.create_task(self._enter_later(self._cluster, connection, message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _admit(self, connection: RelayConnection, allowed: Pass) -> None:
        """Note what a token allows; raises TokenError where its time is over."""
        grants, now_s = allowed.grants, self._wall_clock()
        connection.token, connection.seats = allowed.id, grants.seats
        connection.speaks, connection.hears = grants.speak, grants.listen
        connection.ends_s = allowed.expires_s
        if grants.name:
            connection.name = grants.name
        if grants.minutes is not None:
            first_s = self._first_used_s.setdefault(allowed.id, now_s)
            if len(self._first_used_s) > REMEMBERED_TOKENS:
                self._first_used_s.popitem(last=False)
            connection.ends_s = min(allowed.expires_s, first_s + 60.0 * grants.minutes)
            if connection.ends_s <= now_s:
                raise TokenError(f"the {grants.minutes:g} minutes of this token are over; ask for a new one")

    def pass_packet(self, room: RelayRoom, source: int, destination: int, datagram: bytes) -> None:
        """Take a client's datagram to where it is meant to go."""
        room.deliver(source, destination, datagram)
        if self._cluster is not None:
            self._cluster.send_packet(room.name, source, destination, datagram)

    def pass_signal(self, room: RelayRoom, source: int, signal: Signal) -> None:
        """Take a client's signal to its peer."""
        if signal.peer in room.peers:
            room.peers[signal.peer].send_text(Signal(source, signal.data).to_json(), droppable=True)
        elif self._cluster is not None:
            self._cluster.send_signal(room.name, source, signal)

    def forget(self, connection: RelayConnection) -> None:
        """A connection has ended."""
        self._connections.discard(connection)
        self._leave(connection)
        self._doorman.gone(connection.visit)

    # -- for the cluster ----------------------------------------------------------------------------------------

    def local_members(self, room: str) -> list[Member]:
        """Who of a room is here."""
        here = self._rooms.get(room)
        return [] if here is None else [Member(peer.info, peer.since_s, peer.token) for peer in here.peers.values()]

    def remote_joined(self, room: str, info: PeerInfo) -> None:
        """A peer has joined at another relay."""
        if room in self._rooms:
            self._rooms[room].announce(PeerJoined(info).to_json())

    def remote_left(self, room: str, number: int) -> None:
        """A peer has left another relay."""
        if room in self._rooms:
            self._rooms[room].announce(PeerLeft(number).to_json())

    def remote_packet(self, room: str, source: int, destination: int, datagram: bytes) -> None:
        """A datagram from a peer at another relay."""
        if room in self._rooms:
            self._rooms[room].deliver(source, destination, datagram)

    def remote_signal(self, room: str, source: int, signal: Signal) -> None:
        """A signal from a peer at another relay."""
        here = self._rooms.get(room)
        if here is not None and signal.peer in here.peers:
            here.peers[signal.peer].send_text(Signal(source, signal.data).to_json(), droppable=True)

    def evict(self, room: str, number: int, moved: bool) -> None:
        """A peer here has joined at another relay, or holds a number that goes to one there."""
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
        if self._signer is not None and not self._has_seat(connection, message):
            return
        room = self._rooms.get(message.room)  # those who had to give up a seat may have been the last in it
        if room is None and len(self._rooms) >= self.config.max_rooms:
            connection.refuse(Failure("busy", "the relay has as many rooms as it takes"))
            return
        others = [*elsewhere, *(peer.info for peer in room.peers.values())] if room is not None else elsewhere
        if len(others) >= self.config.room_peers:
            connection.refuse(Failure("room-full", f"the room has its {self.config.room_peers} peers"))
            return
        if room is None:
            per_s = self.config.room_joins_per_s
            room = self._rooms[message.room] = RelayRoom(
                message.room, RateLimit(per_s, 64.0 + 2 * self.config.room_peers)
            )
        if not room.joins.allow(self.loop.time()):
            connection.refuse(Failure("busy", "too much coming and going in this room; try again in a moment"))
            return
        connection.seat(room, self._free_number(others), self._wall_clock())
        self.gate.sit(connection.visit, room.name)
        self._count()
        welcome = Welcome(connection.number, tuple(others), connection.identity, connection.speaks, connection.hears)
        connection.send_text(welcome.to_json())
        room.announce(PeerJoined(connection.info).to_json(), connection)
        if self._cluster is not None:
            self._cluster.announce(room.name, came=connection.identity)

    def _has_seat(self, connection: RelayConnection, message: Join) -> bool:
        """Whether a seat of the token is free; one whose holder has fallen silent is."""
        room = self._rooms.get(message.room)
        taken = [] if self._cluster is None else self._cluster.seats(message.room, connection.token)
        here = [] if room is None else [peer for peer in room.peers.values() if peer.token == connection.token]
        now_s = self.loop.time()
        if len(taken) + len(here) >= connection.seats:
            for peer in [peer for peer in here if now_s - peer.heard_s > self.config.seat_grace_s]:
                self._leave(peer)
                peer.fail(Failure("replaced", "this token has been used elsewhere"))
                here.remove(peer)
        if len(taken) + len(here) < connection.seats:
            return True
        seats = "one seat" if connection.seats == 1 else f"{connection.seats} seats"
        connection.refuse(
            Failure("token-in-use", f"this token serves {seats}, in use already: ask for a token of your own")
        )
        return False

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
            self.gate.stand(connection.visit)
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
            now_s, wall_s = self.loop.time(), self._wall_clock()
            self.stats.refused_connections = self._doorman.refused
            self.stats.dropped_waiting = self.gate.dropped
            for connection in list(self._connections):
                if connection.room is not None and connection.ends_s <= wall_s:
                    self.stats.expired += 1
                    self._leave(connection)
                    connection.fail(Failure("expired", "the time of this token is over; ask for a new one"))
                else:
                    connection.look_after(now_s)
