"""Who may come into a relay: counts and rates per address, so that one address cannot take what is there for all.

No socket lives here and no clock: the caller brings both. An address is an IPv4 address or an IPv6 /64 network, which
is what one household or one machine has. Connections that have yet to join are *waiting*; where there is no place for
another, the one that has waited longest goes, so a newcomer always has a moment to join in.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from streamcodec.errors import StreamcodecError
from streamcodec.net.relay.rate_limit import RateLimit

UNKNOWN = "unknown"
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class GateConfig:
    """How much one address may take; 0 for as much as there is."""

    max_waiting: int = 200
    """Connections that have not joined yet, of all addresses together."""
    address_waiting: int = 50
    address_people: int = 64
    address_rooms: int = 32
    """Rooms that people of one address are in."""
    address_joins_per_s: float = 2.0
    address_join_burst: float = 128.0
    """After a relay's restart everybody of an office comes back at once."""
    wrong_token_delay_s: float = 0.05
    """Answer to a first wrong token; doubled for each that follows, up to a second."""
    wrong_token_memory_s: float = 60.0
    remembered_addresses: int = 10_000


@dataclass(slots=True, eq=False)
class Visit:
    """One connection, from acceptance to its end."""

    address: str
    drop: Callable[[], None]
    waiting: bool = True
    room: str | None = None
    through_proxy: bool = False


@dataclass(slots=True)
class _Address:
    joins: RateLimit
    waiting: dict[Visit, None] = field(default_factory=dict)
    rooms: Counter[str] = field(default_factory=Counter)
    wrong_tokens: int = 0
    wrong_since_s: float = 0.0

    @property
    def people(self) -> int:
        return sum(self.rooms.values())

    @property
    def idle(self) -> bool:
        return not self.waiting and not self.rooms


class Gate:
    """Counts who is there; all methods are quick and none raises on what strangers do."""

    def __init__(self, config: GateConfig | None = None) -> None:
        self.config = config or GateConfig()
        self._addresses: OrderedDict[str, _Address] = OrderedDict()
        self._waiting: dict[Visit, None] = {}
        self.dropped = 0
        """Waiting connections that had to make room."""

    @property
    def waiting(self) -> int:
        """Connections that have not joined yet."""
        return len(self._waiting)

    def come(self, address: str, drop: Callable[[], None], *, through_proxy: bool = False) -> Visit:
        """A connection is there; others may be dropped to make room for it.

        ``through_proxy``: the address is a trusted proxy's, so it is not held against it.
        """
        visit = Visit(address, drop, through_proxy=through_proxy)
        self._wait(visit)
        return visit

    def move(self, visit: Visit, address: str) -> None:
        """A proxy has told whose connection it is."""
        if visit.waiting and address != visit.address:
            self._stop_waiting(visit)
            visit.address, visit.through_proxy = address, False
            self._wait(visit)

    def refusal(self, visit: Visit, room: str, now_s: float) -> str:
        """Why this visitor may not join ``room`` now, in one sentence; empty if it may."""
        entry, config = self._entry(visit.address), self.config
        if not entry.joins.allow(now_s):
            return "too many joins from this address; try again in a minute"
        if config.address_people and entry.people >= config.address_people:
            return f"this address has its {config.address_people} people at this relay"
        if config.address_rooms and room not in entry.rooms and len(entry.rooms) >= config.address_rooms:
            return f"this address has people in {config.address_rooms} rooms, which is as many as it may"
        return ""

    def sit(self, visit: Visit, room: str) -> None:
        """The visitor has joined."""
        self._stop_waiting(visit)
        visit.room = room
        self._entry(visit.address).rooms[room] += 1

    def stand(self, visit: Visit) -> None:
        """The visitor has left its room."""
        entry = self._addresses.get(visit.address)
        if visit.room is not None and entry is not None:
            entry.rooms[visit.room] -= 1
            if entry.rooms[visit.room] <= 0:
                del entry.rooms[visit.room]
        visit.room = None

    def leave(self, visit: Visit) -> None:
        """The connection has ended."""
        self._stop_waiting(visit)
        self.stand(visit)

    def wrong_token(self, visit: Visit, now_s: float) -> float:
        """Note a token that opens nothing; seconds to wait before saying so."""
        entry, config = self._entry(visit.address), self.config
        if now_s - entry.wrong_since_s > config.wrong_token_memory_s:
            entry.wrong_tokens = 0
        entry.wrong_since_s = now_s
        delay_s: float = config.wrong_token_delay_s * 2 ** min(entry.wrong_tokens, 16)
        entry.wrong_tokens += 1
        return min(1.0, delay_s)

    # -- inside -------------------------------------------------------------------------------------------------

    def _entry(self, address: str) -> _Address:
        entry = self._addresses.get(address)
        if entry is None:
            config = self.config
            self._forget()
            entry = _Address(RateLimit(config.address_joins_per_s, config.address_join_burst))
            self._addresses[address] = entry
        self._addresses.move_to_end(address)
        return entry

    def _forget(self) -> None:
        """Let go of the addresses longest unheard of that hold nothing, where there is no room for one more."""
        excess = len(self._addresses) + 1 - self.config.remembered_addresses
        if excess > 0:
            idle = [address for address, entry in self._addresses.items() if entry.idle]
            for address in idle[: max(excess, len(idle) // 10)]:
                del self._addresses[address]

    def _wait(self, visit: Visit) -> None:
        config = self.config
        mine = self._entry(visit.address).waiting
        if not visit.through_proxy and config.address_waiting and len(mine) >= config.address_waiting:
            self._drop_one(mine)
        if config.max_waiting and len(self._waiting) >= config.max_waiting:
            # Whoever has most waiting pays.
            most, _ = Counter(waiting.address for waiting in self._waiting).most_common(1)[0]
            self._drop_one(self._entry(most).waiting)
        self._entry(visit.address).waiting[visit] = None
        self._waiting[visit] = None

    def _drop_one(self, among: Iterable[Visit]) -> None:
        first = next(iter(among), None)
        if first is not None:
            self.dropped += 1
            self._stop_waiting(first)
            first.drop()

    def _stop_waiting(self, visit: Visit) -> None:
        visit.waiting = False
        self._waiting.pop(visit, None)
        entry = self._addresses.get(visit.address)
        if entry is not None:
            entry.waiting.pop(visit, None)


def address_of(host: str) -> str:
    """What an IP address counts as: itself for IPv4, its /64 for IPv6; ``unknown`` for what is none."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return UNKNOWN
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def networks(names: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks such as ``10.0.0.0/8``; raises StreamcodecError."""
    return tuple(_network(name) for name in names)


def _network(name: str) -> Network:
    try:
        return ipaddress.ip_network(name, strict=False)
    except ValueError as error:
        raise StreamcodecError(
            f"a proxy is named by its address or network such as 10.0.0.0/8, got {name!r}"
        ) from error


def is_within(host: str, trusted: tuple[Network, ...]) -> bool:
    """Whether an address belongs to one of these networks."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address.version == network.version and address in network for network in trusted)


def forwarded_for(header: str, trusted: tuple[Network, ...]) -> str | None:
    """Whom a chain of proxies speaks for (``X-Forwarded-For``): the last address that is no trusted proxy's.

    Entries further left are what anybody may have written, so they count for nothing; None where there is no address.
    """
    for entry in reversed(header.split(",")):
        host = entry.strip().removeprefix("[").partition("]")[0] if "[" in entry else entry.strip()
        if host.count(":") == 1:
            host = host.partition(":")[0]
        if address_of(host) == UNKNOWN:
            return None
        if not is_within(host, trusted):
            return host
    return None
