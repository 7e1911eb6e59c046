"""Several relays, on one machine or many, with rooms in common: who is where, and packets from one to another.

Relays talk over a *backbone* that publishes bytes to a topic: NATS, or a stand-in within one process. A room's topic
carries, after one byte of kind and the sending relay's 8-byte name,

- snapshots: everyone this relay has in the room, with when they came, in JSON (complete, so a lost one does no harm);
- packets: source and destination number, then the datagram;
- signals: source, destination and object, in JSON.

One common topic carries heartbeats; a relay unheard of for some seconds has died, and its people have left. The
backbone is trusted: it has to be closed to everyone but the relays.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from streamcodec.errors import StreamcodecError
from streamcodec.extras import extra_imports
from streamcodec.net.signalling import MAX_DATAGRAM_BYTES, MAX_PEERS, PeerInfo, Signal, parse_peer_info, parse_signal

HEARTBEATS = "streamcodec.relays"
_SNAPSHOT, _PACKET, _SIGNAL = 1, 2, 3
_NAME_BYTES = 8
_HEADER_BYTES = 1 + _NAME_BYTES


class ClusterError(StreamcodecError):
    """Bytes on the backbone that are not a relay's."""


class Backbone(Protocol):
    """Publishes bytes to a topic, to every subscriber but the publisher."""

    async def start(self, on_message: Callable[[str, bytes], None]) -> None: ...

    async def stop(self) -> None: ...

    async def subscribe(self, topic: str) -> None: ...

    async def unsubscribe(self, topic: str) -> None: ...

    def publish(self, topic: str, data: bytes) -> None: ...


class NatsBackbone:
    """NATS, by ``nats-py``. ``url`` such as ``nats://127.0.0.1:4222``; put credentials and TLS into it.

    While the server is away messages are dropped, and the connection is resumed by itself. At most
    ``queue_messages`` wait to be published; the oldest go first.
    """

    def __init__(self, url: str, queue_messages: int = 2_000) -> None:
        self._url = url
        self._queue: deque[tuple[str, bytes]] = deque(maxlen=queue_messages)
        self._wake = asyncio.Event()
        self._subscriptions: dict[str, Any] = {}

    async def start(self, on_message: Callable[[str, bytes], None]) -> None:
        """Connect; raises OSError or the library's errors if the server is not there."""
        with extra_imports("cluster"):
            import nats

        async def swallow(error: Exception) -> None:
            """Lost connections are expected, and are resumed."""

        self._on_message = on_message
        self._client = await nats.connect(
            self._url,
            no_echo=True,
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,
            connect_timeout=2,
            error_cb=swallow,
        )
        self._publisher = asyncio.create_task(self._publish_for_ever())

    async def stop(self) -> None:
        """Disconnect."""
        self._publisher.cancel()
        await self._client.close()

    async def subscribe(self, topic: str) -> None:
        """Receive what others publish to ``topic``, once the server has confirmed it."""

        async def hear(message: Any) -> None:
            self._on_message(message.subject, message.data)

        if topic not in self._subscriptions:
            self._subscriptions[topic] = await self._client.subscribe(topic, cb=hear)
            with contextlib.suppress(Exception):
                # Without a server there is nobody to hear either; the library subscribes again when it is back.
                await self._client.flush(timeout=1)

    async def unsubscribe(self, topic: str) -> None:
        """Receive it no longer."""
        subscription = self._subscriptions.pop(topic, None)
        if subscription is not None:
            with contextlib.suppress(Exception):
                await subscription.unsubscribe()

    def publish(self, topic: str, data: bytes) -> None:
        """Queue for publication."""
        self._queue.append((topic, data))
        self._wake.set()

    async def _publish_for_ever(self) -> None:
        while True:
            while self._queue:
                topic, data = self._queue.popleft()
                if self._client.is_connected:
                    with contextlib.suppress(Exception):
                        await self._client.publish(topic, data)
            self._wake.clear()
            await self._wake.wait()


@dataclass(frozen=True, slots=True)
class Member:
    """Someone in a room, and when they came there, in seconds since 1970."""

    info: PeerInfo
    since_s: float
    token: str = ""
    """What the token is known by that this seat was taken with."""


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """Timing, in seconds."""

    heartbeat_s: float = 1.0
    death_s: float = 3.0
    gather_s: float = 0.06
    """How long a relay new to a room waits for the others to say who is there."""
    snapshot_s: float = 2.0


class ClusterHost(Protocol):
    """What the cluster needs of the relay it belongs to."""

    def local_members(self, room: str) -> list[Member]: ...

    def remote_joined(self, room: str, info: PeerInfo) -> None: ...

    def remote_left(self, room: str, number: int) -> None: ...

    def remote_packet(self, room: str, source: int, destination: int, datagram: bytes) -> None: ...

    def remote_signal(self, room: str, source: int, signal: Signal) -> None: ...

    def evict(self, room: str, number: int, moved: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everyone a relay has in a room; ``asks`` for the others' in return. ``came`` has just come, if anyone has."""

    members: tuple[Member, ...]
    asks: bool = False
    came: str = ""

    def to_bytes(self) -> bytes:
        """Serialise, without the header."""
        members = [
            {**asdict(member.info), "since_s": member.since_s, "token": member.token} for member in self.members
        ]
        fields = {"members": members, "asks": self.asks, "came": self.came}
        return json.dumps(fields, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Snapshot:
        """Parse; raises ClusterError."""
        try:
            fields = json.loads(data)
            members = tuple(
                Member(parse_peer_info(entry), float(entry["since_s"]), str(entry.get("token", "")))
                for entry in fields["members"]
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ClusterError("a snapshot that no relay makes") from error
        if len(members) > MAX_PEERS:
            raise ClusterError(f"a snapshot has at most {MAX_PEERS} members, got {len(members)}")
        return cls(members, bool(fields.get("asks")), str(fields.get("came", "")))


class Cluster:
    """One relay's view of the others. All on the event loop; see the module for what is exchanged."""

    def __init__(self, backbone: Backbone, host: ClusterHost, config: ClusterConfig | None = None) -> None:
        self._backbone = backbone
        self._host = host
        self._config = config or ClusterConfig()
        self._name = secrets.token_bytes(_NAME_BYTES)
        self._rooms: dict[str, str] = {}
        self._remote: dict[str, dict[int, tuple[bytes, Member]]] = {}
        self._heard_s: dict[bytes, float] = {}
        self.damaged = 0

    async def start(self) -> None:
        """Join the backbone."""
        self._loop = asyncio.get_running_loop()
        await self._backbone.start(self._hear)
        await self._backbone.subscribe(HEARTBEATS)
        self._tasks = [asyncio.create_task(self._beat()), asyncio.create_task(self._repeat())]

    async def stop(self) -> None:
        """Leave the backbone."""
        for task in self._tasks:
            task.cancel()
        await self._backbone.stop()

    async def open(self, room: str) -> None:
        """Follow a room, and wait a moment to learn who is in it."""
        topic = topic_of(room)
        if topic not in self._rooms:
            self._rooms[topic] = room
            self._remote[room] = {}
            await self._backbone.subscribe(topic)
        self.announce(room, asks=True)
        await asyncio.sleep(self._config.gather_s)

    async def close(self, room: str) -> None:
        """Follow a room no longer."""
        topic = topic_of(room)
        self._rooms.pop(topic, None)
        self._remote.pop(room, None)
        await self._backbone.unsubscribe(topic)

    def members(self, room: str) -> list[PeerInfo]:
        """Who is in a room at other relays."""
        return [member.info for _, member in self._remote.get(room, {}).values()]

    def seats(self, room: str, token: str) -> list[PeerInfo]:
        """Who is in a room at other relays with a token."""
        return [member.info for _, member in self._remote.get(room, {}).values() if member.token == token]

    def forget(self, room: str, identity: str) -> None:
        """A peer who has joined at another relay, or at this one, is no longer where it was."""
        remote = self._remote.get(room, {})
        for number, (_, member) in list(remote.items()):
            if member.info.identity == identity:
                del remote[number]
                self._host.remote_left(room, number)

    def announce(self, room: str, *, asks: bool = False, came: str = "") -> None:
        """Tell the others who is in a room here."""
        snapshot = Snapshot(tuple(self._host.local_members(room)), asks, came)
        self._publish(room, _SNAPSHOT, snapshot.to_bytes())

    def send_packet(self, room: str, source: int, destination: int, datagram: bytes) -> None:
        """Pass a datagram on, if it concerns anyone elsewhere."""
        remote = self._remote.get(room)
        if remote and (destination not in range(MAX_PEERS) or destination in remote):
            self._publish(room, _PACKET, bytes((source, destination)) + datagram)

    def send_signal(self, room: str, source: int, signal: Signal) -> None:
        """Pass a signal on, if it is for anyone elsewhere."""
        if signal.peer in self._remote.get(room, {}):
            body = json.dumps({"source": source, "peer": signal.peer, "data": signal.data}, separators=(",", ":"))
            self._publish(room, _SIGNAL, body.encode())

    # -- inside -------------------------------------------------------------------------------------------------

    def _publish(self, room: str, kind: int, body: bytes) -> None:
        self._backbone.publish(topic_of(room), bytes((kind,)) + self._name + body)

    def _hear(self, topic: str, data: bytes) -> None:
        if topic == HEARTBEATS:
            if len(data) == _NAME_BYTES and data != self._name:
                self._heard_s[data] = self._loop.time()
            return
        room = self._rooms.get(topic)
        name = data[1:_HEADER_BYTES]
        if room is None or len(data) < _HEADER_BYTES or name == self._name:
            return
        self._heard_s[name] = self._loop.time()
        try:
            self._take(room, data[0], name, data[_HEADER_BYTES:])
        except StreamcodecError:
            self.damaged += 1

    def _take(self, room: str, kind: int, name: bytes, body: bytes) -> None:
        if kind == _PACKET:
            if not 3 <= len(body) <= MAX_DATAGRAM_BYTES + 2:
                raise ClusterError(f"a packet of {len(body)} bytes")
            owner = self._remote[room].get(body[0])
            if owner is not None and owner[0] == name:
                self._host.remote_packet(room, body[0], body[1], body[2:])
        elif kind == _SNAPSHOT:
            self._take_snapshot(room, name, Snapshot.from_bytes(body))
        elif kind == _SIGNAL:
            source, signal = parse_signal(body)
            owner = self._remote[room].get(source)
            if owner is not None and owner[0] == name:
                self._host.remote_signal(room, source, signal)
        else:
            raise ClusterError(f"message kind {kind} is unknown")

    def _take_snapshot(self, room: str, name: bytes, snapshot: Snapshot) -> None:
        remote = self._remote[room]
        present = {member.info.peer: member for member in snapshot.members}
        for number in [number for number, (owner, _) in remote.items() if owner == name]:
            if number not in present or present[number].info != remote[number][1].info:
                del remote[number]
                self._host.remote_left(room, number)
        for number, member in present.items():
            if number in remote or self._has_moved(room, member, snapshot.came):
                continue
            if self._is_ours(room, member, snapshot.came):
                continue
            self.forget(room, member.info.identity)
            remote[number] = (name, member)
            self._host.remote_joined(room, member.info)
        if snapshot.asks:
            self.announce(room)

    def _has_moved(self, room: str, member: Member, came: str) -> bool:
        """Whether a relay names somebody who has come to another one since: it has yet to hear of that."""
        identity = member.info.identity
        return identity != came and any(
            other.info.identity == identity and other.since_s > member.since_s
            for _, other in self._remote[room].values()
        )

    def _is_ours(self, room: str, member: Member, came: str) -> bool:
        """Settle a clash with someone here: a client is where it came last, a number is the smaller identity's."""
        for ours in self._host.local_members(room):
            same = ours.info.identity == member.info.identity
            if not same and ours.info.peer != member.info.peer:
                continue
            theirs_later = member.info.identity == came or member.since_s > ours.since_s
            if theirs_later if same else member.info.identity < ours.info.identity:
                self._host.evict(room, ours.info.peer, moved=same)
                return False
            self.announce(room)
            return True
        return False

    async def _beat(self) -> None:
        while True:
            self._backbone.publish(HEARTBEATS, self._name)
            await asyncio.sleep(self._config.heartbeat_s)
            self._bury(self._loop.time())

    def _bury(self, now_s: float) -> None:
        dead = {name for name, heard_s in self._heard_s.items() if now_s - heard_s > self._config.death_s}
        for name in dead:
            del self._heard_s[name]
        for room, remote in self._remote.items():
            for number in [number for number, (owner, _) in remote.items() if owner in dead]:
                del remote[number]
                self._host.remote_left(room, number)

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(self._config.snapshot_s)
            for room in list(self._remote):
                self.announce(room)


def topic_of(room: str) -> str:
    """The topic of a room: its hash, because names may hold what a topic may not."""
    return f"streamcodec.room.{hashlib.sha256(room.encode()).hexdigest()[:32]}"
