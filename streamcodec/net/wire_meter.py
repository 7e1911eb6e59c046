"""What a call costs on the wire, both ways, with every header and acknowledgement: counted, not calculated.

Direct lines are counted where DTLS hands its datagrams to ICE: SRTP, RTCP, the data channel and its acknowledgements.
Headers of IP, UDP and TURN are added to each datagram, and what ICE's consent checks (RFC 7675) come to. The line to
the relay is counted by the kernel (``TCP_INFO``: segments, acknowledgements and retransmissions included) on Linux,
and elsewhere from the messages.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from dataclasses import dataclass
from typing import Any

from streamcodec.net.ack_phase import Segments

IPV4_BYTES, IPV6_BYTES, UDP_BYTES, TURN_BYTES = 20, 40, 8, 4
TCP_BYTES, TCP_TIMESTAMP_BYTES = 20, 12
CONSENT_BYTES = 208
"""A consent request of ICE and the answer to the other side's, with their headers; over IPv4."""
CONSENT_INTERVAL_S = 5.0
MESSAGE_BYTES = 80
"""Around a short websocket message over TLS and IPv4, where the kernel does not tell."""
_TCP_INFO_BYTES = 208
_TCP_INFO_TIMESTAMPS = 1


@dataclass(frozen=True, slots=True)
class WireBytes:
    """Bytes on the wire since the start, by direction."""

    sent: int = 0
    received: int = 0

    def __add__(self, other: WireBytes) -> WireBytes:
        return WireBytes(self.sent + other.sent, self.received + other.received)


def connection_bytes(connection: Any, connected_s: float) -> WireBytes | None:
    """Of one aiortc connection that has been up for ``connected_s``; None where it tells no more."""
    transport = None if connection.sctp is None else connection.sctp.transport
    if transport is None:
        return None
    # getStats of senders and receivers would tell the same, but only from a coroutine.
    (stats,) = transport._get_stats().values()
    pair = next(iter(transport.transport._connection._nominated.values()), None)
    if pair is None:
        return None
    ip_bytes = IPV6_BYTES if ":" in pair.remote_addr[0] else IPV4_BYTES
    relayed = pair.protocol.local_candidate is not None and pair.protocol.local_candidate.type == "relay"
    around = ip_bytes + UDP_BYTES + (TURN_BYTES if relayed else 0)
    consent = round(connected_s / CONSENT_INTERVAL_S * (CONSENT_BYTES + 2 * (ip_bytes - IPV4_BYTES)))
    return WireBytes(
        stats.bytesSent + around * stats.packetsSent + consent,
        stats.bytesReceived + around * stats.packetsReceived + consent,
    )


def tcp_segments(connected: socket.socket) -> Segments | None:
    """Of one TCP connection, both ways; None where the kernel does not tell."""
    info = _tcp_info(connected)
    if info is None:
        return None
    segments_out, segments_in = struct.unpack_from("=II", info, 136)
    data_in, data_out = struct.unpack_from("=II", info, 152)
    return Segments(segments_out + segments_in - data_in - data_out, data_out)


def _tcp_info(connected: socket.socket) -> bytes | None:
    option = getattr(socket, "TCP_INFO", None)
    if option is None:
        return None
    try:
        info = connected.getsockopt(socket.IPPROTO_TCP, option, _TCP_INFO_BYTES)
    except OSError:
        return None
    return info if len(info) >= _TCP_INFO_BYTES else None


def tcp_bytes(connected: socket.socket) -> WireBytes | None:
    """Of one TCP connection; None where the kernel does not tell."""
    info = _tcp_info(connected)
    if info is None:
        return None
    (received,) = struct.unpack_from("=Q", info, 128)
    segments_out, segments_in = struct.unpack_from("=II", info, 136)
    (sent,) = struct.unpack_from("=Q", info, 200)
    ip_bytes = IPV6_BYTES if connected.family == socket.AF_INET6 else IPV4_BYTES
    around = ip_bytes + TCP_BYTES + (TCP_TIMESTAMP_BYTES if info[5] & _TCP_INFO_TIMESTAMPS else 0)
    return WireBytes(sent + around * segments_out, received + around * segments_in)


@dataclass(frozen=True, slots=True)
class WireStats:
    """What has gone over the wire since the start, and how fast it has in the last seconds."""

    bytes: WireBytes = WireBytes()
    sent_bps: float = 0.0
    received_bps: float = 0.0


class RateMeter:
    """Rates of the last few seconds, from totals noted now and then."""

    def __init__(self, window_s: float = 3.0) -> None:
        self._window_s = window_s
        self._noted: deque[tuple[float, WireBytes]] = deque()

    def note(self, total: WireBytes, now_s: float) -> WireStats:
        """Take note of the totals at a moment; what it makes of them."""
        noted = self._noted
        noted.append((now_s, total))
        while len(noted) > 2 and now_s - noted[1][0] >= self._window_s:
            noted.popleft()
        since_s, before = noted[0]
        elapsed_s = now_s - since_s
        if elapsed_s <= 0.0:
            return WireStats(total)
        return WireStats(
            total,
            8.0 * (total.sent - before.sent) / elapsed_s,
            8.0 * (total.received - before.received) / elapsed_s,
        )
