"""The two ends of one stream of sound over datagrams: what turns samples into them, and what turns them back.

A datagram is a packet or a receiver report; their first bytes tell them apart. Nothing here knows a socket or a
clock: the caller brings both, so that a whole call can be simulated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from streamcodec.codec.packet import Packet, PacketFlags
from streamcodec.errors import PacketError
from streamcodec.net.congestion import CongestionConfig, CongestionController, SendRate
from streamcodec.net.jitter_buffer import JitterBuffer, JitterConfig, JitterStats
from streamcodec.net.playout import Decoder, Playout, PlayoutStats
from streamcodec.net.redundancy import Coarser, Redundancy
from streamcodec.net.report import REPORT_BYTES, ReceiverReport, ReceptionMonitor
from streamcodec.net.time_scale import Samples

HEADER_BYTES = 90
"""IP, UDP, DTLS and SCTP around a datagram, roughly; what wire rates count beside the datagram."""
TALKING = 0.01
"""Root mean square above which a peer counts as talking."""


class Encoder(Protocol):
    """What a sender needs of an encoder."""

    def push(self, samples: Samples, /) -> list[Packet]: ...

    def flush(self) -> list[Packet]: ...

    def set_bitrate(self, bitrate_bps: float, /) -> None: ...


@dataclass(frozen=True, slots=True)
class SenderStats:
    """Counts since the start, and the rate in force."""

    packets: int
    payload_bytes: int
    """Of the packets themselves, without copies."""
    datagram_bytes: int
    wire_bytes: int
    """With :data:`HEADER_BYTES` for each datagram."""
    rate: SendRate


class MediaSender:
    """Samples in, datagrams out, at the rate and redundancy that the receivers' reports allow.

    With ``coarser`` None no copies are sent. ``fixed_copies`` overrides what reports ask for. Where there are several
    receivers, the worst path decides: the lowest rate and the most copies.
    """

    def __init__(
        self,
        encoder: Encoder,
        coarser: Coarser | None = None,
        congestion: CongestionConfig | None = None,
        fixed_copies: int | None = None,
    ) -> None:
        self._encoder = encoder
        self._redundancy = Redundancy(coarser or (lambda packet: None), fixed_copies or 0)
        self._congestion = congestion or CongestionConfig()
        self._fixed_copies = fixed_copies
        self._controllers: dict[str, CongestionController] = {}
        self._round_trips_ms: dict[str, float] = {}
        self._rate = SendRate(self._congestion.start_bps, fixed_copies or 0)
        self._encoder.set_bitrate(self._rate.bitrate_bps)
        self._packets = self._payload_bytes = self._datagram_bytes = 0

    @property
    def stats(self) -> SenderStats:
        """A frozen snapshot."""
        wire_bytes = self._datagram_bytes + HEADER_BYTES * self._packets
        return SenderStats(self._packets, self._payload_bytes, self._datagram_bytes, wire_bytes, self._rate)

    @property
    def round_trips_ms(self) -> dict[str, float]:
        """Last measured round trip to each receiver."""
        return dict(self._round_trips_ms)

    def push(self, samples: Samples) -> list[bytes]:
        """Datagrams of the packets that these samples complete."""
        return self._pack(self._encoder.push(samples))

    def flush(self) -> list[bytes]:
        """Datagrams of what is still inside the encoder; the last one says that the stream ends."""
        packets = self._encoder.flush()
        if packets:
            packets[-1] = replace(packets[-1], flags=packets[-1].flags | PacketFlags.END)
        return self._pack(packets)

    def hear_report(self, receiver: str, report: ReceiverReport, now_ms: float) -> None:
        """Take a report of one receiver, and change rate and redundancy if it says so."""
        controller = self._controllers.setdefault(receiver, CongestionController(self._congestion))
        controller.on_report(report, now_ms)
        round_trip_ms = report.round_trip_ms(now_ms)
        if round_trip_ms is not None:
            self._round_trips_ms[receiver] = round_trip_ms
        self._apply()

    def tick(self, now_ms: float) -> None:
        """Call several times a second: a receiver that has fallen silent counts as a path that is stuck."""
        for controller in self._controllers.values():
            controller.on_tick(now_ms)
        self._apply()

    def forget(self, receiver: str) -> None:
        """A receiver has left."""
        self._controllers.pop(receiver, None)
        self._round_trips_ms.pop(receiver, None)
        self._apply()

    def _apply(self) -> None:
        rates = [controller.rate for controller in self._controllers.values()]
        copies = max((rate.copies for rate in rates), default=0)
        if self._fixed_copies is not None:
            copies = self._fixed_copies
        bitrate_bps = min((rate.bitrate_bps for rate in rates), default=self._congestion.start_bps)
        if bitrate_bps != self._rate.bitrate_bps:
            self._encoder.set_bitrate(bitrate_bps)
        self._redundancy.copies = copies
        self._rate = SendRate(bitrate_bps, copies)

    def _pack(self, packets: list[Packet]) -> list[bytes]:
        datagrams = [self._redundancy.attach(packet).to_bytes() for packet in packets]
        self._packets += len(packets)
        self._payload_bytes += sum(len(packet.payload) for packet in packets)
        self._datagram_bytes += sum(map(len, datagrams))
        return datagrams


@dataclass(frozen=True, slots=True)
class ReceiverStats:
    """Everything about one received stream."""

    jitter: JitterStats
    playout: PlayoutStats
    damaged: int
    talking: bool


class MediaReceiver:
    """One sender's datagrams in, its sound out."""

    def __init__(self, decoder: Decoder, sample_rate_hz: int, jitter: JitterConfig | None = None) -> None:
        self._buffer = JitterBuffer(jitter)
        self._playout = Playout(self._buffer, decoder, sample_rate_hz)
        self._monitor = ReceptionMonitor()
        self._damaged = 0
        self._loudness = 0.0

    @property
    def stats(self) -> ReceiverStats:
        """A frozen snapshot."""
        return ReceiverStats(
            self._buffer.stats, self._playout.stats, self._damaged, bool(np.sqrt(self._loudness) > TALKING)
        )

    def receive(self, datagram: bytes, now_ms: float) -> ReceiverReport | None:
        """Take a datagram; a report among them is returned, for the sender that it is about. Damage is counted."""
        try:
            if len(datagram) == REPORT_BYTES and datagram[0] & 0x0F == 0x0A:
                report = ReceiverReport.from_bytes(datagram)
                self._monitor.hear_report(report, now_ms)
                return report
            packet = Packet.from_bytes(datagram)
        except PacketError:
            self._damaged += 1
            return None
        wire_bytes = len(datagram) + HEADER_BYTES
        for frame in packet.each_frame():
            self._monitor.observe(frame, 0 if frame.part else wire_bytes, now_ms)
            self._buffer.put(frame, now_ms)
        return None

    def pull(self, now_ms: float, count_samples: int) -> Samples:
        """The next samples to play.

        Shape: ``[count]``.
        """
        samples = self._playout.pull(now_ms, count_samples)
        if count_samples:
            self._loudness += 0.2 * (float(samples @ samples) / count_samples - self._loudness)
        return samples

    def report(self, now_ms: float) -> bytes | None:
        """A report to send back, if one is due."""
        if not self._monitor.due(now_ms):
            return None
        return self._monitor.report(now_ms, self._buffer.stats).to_bytes()
