"""Limits, timeouts and counts of a relay."""

from __future__ import annotations

from dataclasses import dataclass, fields

from streamcodec.errors import StreamcodecError
from streamcodec.net.gate import GateConfig, networks
from streamcodec.net.signalling import MAX_PEERS


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """Limits and timeouts."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 for any free port."""
    room_peers: int = 8
    max_rooms: int = 500
    max_participants: int = 1_000
    max_waiting: int = 200
    """Connections that have not joined yet, TLS handshakes included; a newcomer beyond takes the oldest's place."""
    address_waiting: int = 50
    """The same, of one address; this and the next two: 0 for no limit."""
    address_people: int = 64
    address_rooms: int = 32
    address_joins_per_s: float = 2.0
    address_join_burst: float = 128.0
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """Addresses and networks whose ``X-Forwarded-For`` is believed; what comes through them counts for its origin."""
    origins: tuple[str, ...] | None = None
    """Web pages that may connect, by their ``Origin``; clients that send none always may. None allows any."""
    packets_per_s: float = 600.0
    """Eight people's reports and the pieces of lossless packets included."""
    packet_burst: float = 600.0
    signals_per_s: float = 10.0
    signal_burst: float = 60.0
    signal_bytes_per_s: float = 32_768.0
    signal_burst_bytes: float = 262_144.0
    room_joins_per_s: float = 5.0
    """Comings and goings that the others in a room must hear of; as many more at once as fill the room twice."""
    refused_packets: int = 2_000
    """A peer that exceeds its rate by this many packets is disconnected."""
    queue_messages: int = 64
    write_buffer_bytes: int = 16_384
    socket_buffer_bytes: int = 65_536
    join_timeout_s: float = 5.0
    ping_interval_s: float = 5.0
    idle_timeout_s: float = 15.0
    seat_grace_s: float = 6.0
    """A seat not heard of for so long is given up where another connection shows its token."""
    slow_timeout_s: float = 5.0
    close_timeout_s: float = 2.0
    housekeeping_s: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.room_peers <= MAX_PEERS:
            raise StreamcodecError(f"room_peers must be 1 to {MAX_PEERS}, got {self.room_peers}")
        for item in fields(self):
            if item.name.endswith("_s") and getattr(self, item.name) <= 0:
                raise StreamcodecError(f"{item.name} must be positive, got {getattr(self, item.name)}")
        if self.max_waiting < 1:
            raise StreamcodecError(f"max_waiting must be at least 1, got {self.max_waiting}")
        networks(self.trusted_proxies)

    @property
    def gate(self) -> GateConfig:
        """The limits per address."""
        return GateConfig(
            self.max_waiting,
            self.address_waiting,
            self.address_people,
            self.address_rooms,
            self.address_joins_per_s,
            self.address_join_burst,
        )


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
    refused_connections: int = 0
    """Closed at the door: no place or no descriptor left, or a TLS handshake that came to nothing."""
    dropped_waiting: int = 0
    """Had not joined when others wanted their place."""
    wrong_tokens: int = 0
    expired: int = 0
    """Seats that ended with their token."""
    dropped_signals: int = 0
    """Signals beyond their sender's rate, or unread by their receiver."""
    shed: int = 0
    """Disconnected for not reading."""
    timeouts: int = 0
