"""What a receiver tells a sender twice a second: loss, its burstiness, delay and how it grows. In the manner of RTCP.

Layout, big-endian, 36 bytes::

    byte 0       version (high nibble), 0xA (low nibble)
    byte 1       share of packets lost in the interval, in 1/255
    byte 2       share of playout concealed in the interval, in 1/255
    byte 3       mean loss burst in the interval, in 1/8 packets
    bytes 4-5    highest sequence number received
    bytes 6-7    interarrival jitter, in 0.1 ms (RFC 3550, A.8)
    bytes 8-9    queueing delay: the fastest packet of the interval against the fastest of the last 30 s, in 0.1 ms
    bytes 10-11  growth of that delay, signed, in ms per second
    bytes 12-13  playout delay of the jitter buffer, in ms
    bytes 14-15  rate received, in 100 bit/s
    bytes 16-19  packets received since the start
    bytes 20-23  packets lost since the start
    bytes 24-27  when this report was made, in ms of the reporter's clock
    bytes 28-31  ``made`` of the last report that the reporter had from the other side
    bytes 32-33  how long ago that one came, in ms; 65,535 for never or longer
    bytes 34-35  CRC-16 (CCITT) of everything before
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, replace

from streamcodec.codec.checksum import fits_checksum, with_checksum
from streamcodec.codec.packet import Packet
from streamcodec.errors import PacketError
from streamcodec.net.jitter_types import FRAME_MS, JitterStats
from streamcodec.net.wrapped_numbers import extend

VERSION = 1
REPORT_BYTES = 36
INTERVAL_MS = 500.0
NEVER = 0xFFFF
_MARK = 0xA
_BODY = struct.Struct(">BBBBHHHhHHIIIIH")
FIRST_BYTE = VERSION << 4 | _MARK


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """One report; values are clamped to what the layout holds when it is serialised."""

    loss: float
    """0 to 1, in the interval."""
    concealed: float
    mean_burst_packets: float
    highest_sequence: int
    jitter_ms: float
    queue_ms: float
    queue_growth_ms_per_s: float
    playout_delay_ms: float
    received_bps: float
    received_packets: int
    lost_packets: int
    made_ms: int
    echo_made_ms: int = 0
    echo_age_ms: int = NEVER

    def to_bytes(self) -> bytes:
        """Serialise; the inverse of :meth:`from_bytes` up to rounding."""
        body = _BODY.pack(
            FIRST_BYTE,
            _clamp(self.loss * 255, 0xFF),
            _clamp(self.concealed * 255, 0xFF),
            _clamp(self.mean_burst_packets * 8, 0xFF),
            self.highest_sequence & 0xFFFF,
            _clamp(self.jitter_ms * 10, 0xFFFF),
            _clamp(self.queue_ms * 10, 0xFFFF),
            _clamp(self.queue_growth_ms_per_s, 0x7FFF, -0x8000),
            _clamp(self.playout_delay_ms, 0xFFFF),
            _clamp(self.received_bps / 100, 0xFFFF),
            self.received_packets & 0xFFFFFFFF,
            self.lost_packets & 0xFFFFFFFF,
            self.made_ms & 0xFFFFFFFF,
            self.echo_made_ms & 0xFFFFFFFF,
            _clamp(self.echo_age_ms, NEVER),
        )
        return with_checksum(body)

    @classmethod
    def from_bytes(cls, data: bytes) -> ReceiverReport:
        """Parse after checking length, version and CRC; raises PacketError."""
        if len(data) != REPORT_BYTES:
            raise PacketError(f"a receiver report has {REPORT_BYTES} bytes, got {len(data)}")
        if data[0] != VERSION << 4 | _MARK:
            raise PacketError(f"byte {data[0]:#x} does not begin a receiver report of version {VERSION}")
        if not fits_checksum(data):
            raise PacketError("receiver report checksum does not match: the report is damaged")
        values = _BODY.unpack_from(data)
        return cls(
            loss=values[1] / 255,
            concealed=values[2] / 255,
            mean_burst_packets=values[3] / 8,
            highest_sequence=values[4],
            jitter_ms=values[5] / 10,
            queue_ms=values[6] / 10,
            queue_growth_ms_per_s=float(values[7]),
            playout_delay_ms=float(values[8]),
            received_bps=values[9] * 100.0,
            received_packets=values[10],
            lost_packets=values[11],
            made_ms=values[12],
            echo_made_ms=values[13],
            echo_age_ms=values[14],
        )

    def held(self, milliseconds: float) -> ReceiverReport:
        """The same report sent that much later than it was made: what it says of round trips stays true."""
        age_ms = self.echo_age_ms
        return replace(
            self,
            made_ms=self.made_ms + round(milliseconds),
            echo_age_ms=NEVER if age_ms == NEVER else age_ms + round(milliseconds),
        )

    def round_trip_ms(self, now_ms: float) -> float | None:
        """Round-trip time seen by the receiver of this report; None while it has no report of ours to echo."""
        if self.echo_age_ms == NEVER:
            return None
        elapsed_ms = (round(now_ms) - self.echo_made_ms) & 0xFFFFFFFF
        return float(max(0, elapsed_ms - self.echo_age_ms)) if elapsed_ms < 0x80000000 else None


def is_report(datagram: bytes) -> bool:
    """Whether a datagram has the length and the beginning of a report."""
    return len(datagram) == REPORT_BYTES and datagram[0] == FIRST_BYTE


class ReceptionMonitor:
    """Watches packets as they arrive and makes the report when it is due.

    Independent of the jitter buffer, whose statistics only add what was concealed and how deep it is.
    """

    _BASE_INTERVALS = 60
    _LONGEST_GAP_PACKETS = 3_000
    _PAUSE_MS = 1_000.0
    """After so long without a packet delays are compared with later ones alone: time stamps may have wrapped since,
    or stood still, which looks like a queue."""

    def __init__(self, packet_ms: float = FRAME_MS) -> None:
        self._packet_ms = packet_ms
        self._highest: int | None = None
        self._first = 0
        self._received = 0
        self._jitter_ms = 0.0
        self._last_transit_ms: float | None = None
        self._arrival_ms = float("-inf")
        self._base_ms: deque[float] = deque(maxlen=self._BASE_INTERVALS)
        self._last_fastest: tuple[float, float] | None = None
        self._last_report_ms: float | None = None
        self._echo: tuple[int, float] | None = None
        self._last_concealed = 0
        self._last_played = 0
        self._unit = 0
        self._begin_interval()

    def observe(self, packet: Packet, size_bytes: int, arrival_ms: float) -> None:
        """Take note of a packet of ``size_bytes`` on the wire."""
        restarted = self._highest is not None and (
            abs(extend(packet.sequence, self._highest) - self._highest) > self._LONGEST_GAP_PACKETS
        )
        if self._highest is None or restarted:
            self._begin_stream(packet)
        elif arrival_ms - self._arrival_ms > self._PAUSE_MS:
            self._forget_delays()
        self._arrival_ms = arrival_ms
        assert self._highest is not None
        sequence = extend(packet.sequence, self._highest)
        self._unit = extend(packet.timestamp, self._unit)
        self._received += 1
        self._interval_received += 1
        self._interval_bytes += size_bytes
        if sequence > self._highest:
            gap = sequence - self._highest - 1
            if gap:
                self._interval_bursts += 1
                self._interval_missing += gap
            self._highest = sequence
        elif sequence < self._highest and self._interval_missing:
            # Out of order: what looked lost has come after all.
            self._interval_missing -= 1
        self._observe_delay(arrival_ms - self._unit * self._packet_ms, packet.part in (None, packet.frames - 1))

    def hear_report(self, report: ReceiverReport, now_ms: float) -> None:
        """Remember the other side's report, to be echoed for its measurement of the round trip."""
        self._echo = (report.made_ms, now_ms)

    def due(self, now_ms: float) -> bool:
        """Whether a report should be made now: half a second after the last one, if anything was ever received."""
        if self._highest is None:
            return False
        if self._last_report_ms is None:
            self._last_report_ms = now_ms
        return now_ms - self._last_report_ms >= INTERVAL_MS

    def report(self, now_ms: float, stats: JitterStats) -> ReceiverReport:
        """Close the interval and report on it. Errors: PacketError before the first packet."""
        if self._highest is None:
            raise PacketError("there is nothing to report before the first packet")
        since_ms = now_ms - (self._last_report_ms if self._last_report_ms is not None else now_ms - INTERVAL_MS)
        expected = self._interval_received + self._interval_missing
        queue_ms, growth = self._queue(now_ms)
        concealed = stats.concealed - self._last_concealed
        ticks = concealed + stats.played + stats.recovered - self._last_played
        report = ReceiverReport(
            loss=self._interval_missing / expected if expected else 0.0,
            concealed=concealed / ticks if ticks > 0 else 0.0,
            mean_burst_packets=self._interval_missing / self._interval_bursts if self._interval_bursts else 0.0,
            highest_sequence=self._highest % 65_536,
            jitter_ms=self._jitter_ms,
            queue_ms=queue_ms,
            queue_growth_ms_per_s=growth,
            playout_delay_ms=max(0.0, stats.depth_ms),
            received_bps=8_000.0 * self._interval_bytes / since_ms if since_ms > 0 else 0.0,
            received_packets=self._received,
            lost_packets=max(0, self._highest - self._first + 1 - self._received),
            made_ms=round(now_ms) & 0xFFFFFFFF,
            echo_made_ms=self._echo[0] if self._echo else 0,
            echo_age_ms=min(NEVER, round(now_ms - self._echo[1])) if self._echo else NEVER,
        )
        self._last_report_ms = now_ms
        self._last_concealed = stats.concealed
        self._last_played = stats.played + stats.recovered
        self._begin_interval()
        return report

    def _begin_stream(self, packet: Packet) -> None:
        self._first = packet.sequence
        self._highest = packet.sequence - 1
        self._received = 0
        self._unit = packet.timestamp
        self._forget_delays()
        self._begin_interval()

    def _forget_delays(self) -> None:
        self._last_transit_ms = None
        self._last_fastest = None
        self._interval_fastest_ms: float | None = None
        self._base_ms.clear()

    def _begin_interval(self) -> None:
        self._interval_received = 0
        self._interval_missing = 0
        self._interval_bursts = 0
        self._interval_bytes = 0
        self._interval_fastest_ms = None

    def _observe_delay(self, transit_ms: float, whole: bool) -> None:
        # Frames of a packet come together: only its last one tells of the network, however long packets are.
        if whole:
            if self._last_transit_ms is not None:
                self._jitter_ms += (abs(transit_ms - self._last_transit_ms) - self._jitter_ms) / 16
            self._last_transit_ms = transit_ms
        fastest_ms = self._interval_fastest_ms
        self._interval_fastest_ms = transit_ms if fastest_ms is None else min(fastest_ms, transit_ms)

    def _queue(self, now_ms: float) -> tuple[float, float]:
        """(queueing delay in ms, its growth in ms per second); the fastest packet of an interval sheds the jitter."""
        fastest_ms = self._interval_fastest_ms
        if fastest_ms is None:
            return 0.0, 0.0
        growth = 0.0
        if self._last_fastest is not None and now_ms > self._last_fastest[0]:
            growth = 1_000.0 * (fastest_ms - self._last_fastest[1]) / (now_ms - self._last_fastest[0])
        self._last_fastest = (now_ms, fastest_ms)
        self._base_ms.append(fastest_ms)
        return fastest_ms - min(self._base_ms), growth


def _clamp(value: float, highest: int, lowest: int = 0) -> int:
    return min(max(round(value), lowest), highest)
