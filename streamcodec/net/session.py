"""The two ends of one stream of sound over datagrams: what turns samples into them, and what turns them back.

A datagram is a packet, a piece of one or a receiver report; their first bytes tell them apart. Nothing here knows a
socket or a clock: the caller brings both, so that a whole call can be simulated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from streamcodec.codec.packet import SEQUENCE_MODULUS, Packet, PacketFlags, Tier
from streamcodec.codec.stream_format import StreamFormat, format_of
from streamcodec.errors import PacketError
from streamcodec.net import copy_plan
from streamcodec.net.congestion import CongestionConfig, CongestionController, SendRate
from streamcodec.net.fragments import Fragmenter, Reassembler, is_fragment, pieces_of
from streamcodec.net.jitter_buffer import JitterBuffer
from streamcodec.net.jitter_types import FRAME_MS, JitterConfig, JitterStats
from streamcodec.net.listeners import agreed_rate
from streamcodec.net.playout import Decoder, Playout, PlayoutStats
from streamcodec.net.redundancy import Redundancy, RedundantForm
from streamcodec.net.report import REPORT_BYTES, ReceiverReport, ReceptionMonitor
from streamcodec.net.time_scale import Samples
from streamcodec.net.voice_activity import VoiceActivityDetector

HEADER_BYTES = 42
"""What a packet takes on a direct line beside its own bytes: IP 20, UDP 8, RTP 12, tag 10; and the 10 bytes around
its payload become 1.6 (:mod:`streamcodec.net.framing`)."""
PIECE_HEADER_BYTES = 96
"""The same for a piece of a long packet, on a data channel: IP 20, UDP 8, DTLS 37, SCTP 28, ours and padding."""


def header_bytes(packet_bytes: int) -> int:
    """What a packet of so many bytes takes on a direct line beside them, calculated."""
    pieces = pieces_of(packet_bytes)
    return HEADER_BYTES if pieces == 1 else PIECE_HEADER_BYTES * pieces


class Encoder(Protocol):
    """What a sender needs of an encoder."""

    def push(self, samples: Samples, /) -> list[Packet]:
        """Packets that these samples complete. Shape: ``[n]`` or ``[n, channels]``."""

    def flush(self) -> list[Packet]:
        """Packets of what is still inside."""

    def set_bitrate(self, bitrate_bps: float, /) -> None:
        """Aim at another payload rate from the next packet on; raises BitrateError."""


@runtime_checkable
class KeyEncoder(Encoder, Protocol):
    """An encoder whose packets do not all decode alone."""

    def request_key(self) -> None:
        """Make the next packet decode without those before it."""


@dataclass(frozen=True, slots=True)
class SenderStats:
    """Counts since the start of what went out to anybody, and the rate in force."""

    packets: int
    datagrams: int
    """As many as packets, unless these are too long for one."""
    payload_bytes: int
    """Of the packets themselves, without copies."""
    datagram_bytes: int
    wire_bytes: int
    """What that comes to on a direct line, calculated (:func:`header_bytes`)."""
    rate: SendRate | None
    """None where the encoder's own settings decide."""


class MediaSender:
    """Samples in, datagrams out, at the rate and redundancy that the receivers' reports allow.

    With ``encode_redundant`` None no redundant copies are sent. ``congestion`` None leaves the rate to the encoder,
    for those that take the bits they need. ``fixed_redundancy`` overrides what reports ask for. Where there are
    several receivers, the worst path decides within bounds: see :func:`~streamcodec.net.listeners.agreed_rate`.
    """

    def __init__(
        self,
        encoder: Encoder,
        encode_redundant: RedundantForm | None = None,
        congestion: CongestionConfig | None = None,
        fixed_redundancy: int | None = None,
    ) -> None:
        self._encoder = encoder
        self._redundancy = Redundancy(encode_redundant or (lambda packet, share: None))
        self._fragmenter = Fragmenter()
        self._congestion = congestion
        self._fixed_redundancy = fixed_redundancy
        self._controllers: dict[str, CongestionController] = {}
        self._round_trips_ms: dict[str, float] = {}
        self._rate: SendRate | None = None
        if fixed_redundancy is not None:
            self._redundancy.ages = copy_plan.spread(fixed_redundancy, FRAME_MS)
        if congestion is not None:
            self._apply(congestion)
        self._begun = False
        self._paused, self._pause_ms = False, 0.0
        self._skipped = 0
        """Frames of pauses, which encoders do not count in their time stamps."""
        self._packets = self._datagrams = self._payload_bytes = self._datagram_bytes = self._header_bytes = 0

    @property
    def stats(self) -> SenderStats:
        """A frozen snapshot."""
        wire_bytes = self._datagram_bytes + self._header_bytes
        return SenderStats(
            self._packets, self._datagrams, self._payload_bytes, self._datagram_bytes, wire_bytes, self._rate
        )

    @property
    def round_trips_ms(self) -> dict[str, float]:
        """Last measured round trip to each receiver."""
        return dict(self._round_trips_ms)

    def push(self, samples: Samples, *, counted: bool = True) -> list[bytes]:
        """Datagrams of the packets that these samples complete; not ``counted`` where nobody will get them."""
        self._begun = True
        return self._pack(self._encoder.push(samples), counted)

    def pause(self, pause_ms: float) -> None:
        """For so long nothing was pushed: what comes next is so much later than what came before.

        Without that a listener would take it for late, and play all that follows later. The next packet is to decode
        alone: what a listener plays meanwhile leaves its decoder without the one before.
        """
        if isinstance(self._encoder, KeyEncoder):
            self._encoder.request_key()
        self._paused = True
        self._pause_ms += pause_ms

    def flush(self, *, counted: bool = True) -> list[bytes]:
        """Datagrams of what is still inside the encoder, if anything was pushed; the last one ends the stream."""
        packets = self._encoder.flush() if self._begun else []
        if packets:
            packets[-1] = replace(packets[-1], flags=packets[-1].flags | PacketFlags.END)
        return self._pack(packets, counted)

    def hear_report(self, receiver: str, report: ReceiverReport, now_ms: float) -> None:
        """Take a report of one receiver, and change rate and redundancy if it says so."""
        round_trip_ms = report.round_trip_ms(now_ms)
        if round_trip_ms is not None:
            self._round_trips_ms[receiver] = round_trip_ms
        if self._congestion is not None:
            controller = self._controllers.setdefault(receiver, CongestionController(self._congestion))
            controller.on_report(report, now_ms)
            self._apply(self._congestion)

    def tick(self, now_ms: float) -> None:
        """Call several times a second: a receiver that has fallen silent counts as a path that is stuck."""
        for controller in self._controllers.values():
            controller.on_tick(now_ms)
        if self._congestion is not None:
            self._apply(self._congestion)

    def forget(self, receiver: str) -> None:
        """A receiver has left."""
        self._controllers.pop(receiver, None)
        self._round_trips_ms.pop(receiver, None)
        if self._congestion is not None:
            self._apply(self._congestion)

    def _apply(self, congestion: CongestionConfig) -> None:
        rates = [controller.rate for controller in self._controllers.values()]
        agreed = agreed_rate(rates, congestion)
        ages = agreed.ages
        if self._fixed_redundancy is not None:
            ages = copy_plan.spread(self._fixed_redundancy, congestion.packet_ms)
        bitrate_bps = agreed.bitrate_bps
        if self._rate is None or bitrate_bps != self._rate.bitrate_bps:
            self._encoder.set_bitrate(bitrate_bps)
        self._redundancy.ages = ages
        self._rate = SendRate(bitrate_bps, len(ages), ages)

    def _note_length(self, packet: Packet) -> None:
        """How long packets are decides which of them copies should ride on."""
        packet_ms = FRAME_MS * packet.frames
        congestion = self._congestion
        if congestion is None or congestion.packet_ms == packet_ms:
            return
        self._congestion = congestion = replace(congestion, packet_ms=packet_ms)
        for controller in self._controllers.values():
            controller.config = replace(controller.config, packet_ms=packet_ms)
        self._apply(congestion)

    def _place(self, packet: Packet) -> Packet:
        """The packet behind the pauses that there were before it."""
        if self._paused:
            # One that needs the packet before must follow it.
            form = format_of(packet) if packet.is_key else None
            frames, left_ms = (0, 0.0) if form is None else divmod(self._pause_ms, form.packet_ms)
            self._skipped += int(frames)
            self._paused, self._pause_ms = False, left_ms
        if not self._skipped:
            return packet
        return replace(packet, timestamp=(packet.timestamp + self._skipped) % SEQUENCE_MODULUS)

    def _pack(self, packets: list[Packet], counted: bool) -> list[bytes]:
        packets = [self._place(packet) for packet in packets]
        if packets:
            self._note_length(packets[0])
        datagrams = [
            datagram
            for packet in packets
            for datagram in self._fragmenter.split(self._redundancy.attach(packet).to_bytes())
        ]
        if not counted:
            return datagrams
        self._packets += len(packets)
        self._datagrams += len(datagrams)
        self._header_bytes += sum(PIECE_HEADER_BYTES if is_fragment(each) else HEADER_BYTES for each in datagrams)
        self._payload_bytes += sum(len(packet.payload) for packet in packets)
        self._datagram_bytes += sum(map(len, datagrams))
        return datagrams


@dataclass(frozen=True, slots=True)
class ReceiverStats:
    """Everything about one received stream."""

    jitter: JitterStats
    playout: PlayoutStats
    damaged: int
    """Datagrams that are no packet, or of no use: before the first key packet, or of another stream's format."""
    incomplete: int
    """Packets of which a piece never came; they count as lost too."""
    talking: bool
    level_rms: float = 0.0
    format: StreamFormat | None = None
    """None before the first packet."""


class MediaReceiver:
    """One sender's datagrams in, its sound out.

    The first packet that tells its format decides how long packets are, and that no other tier is taken.
    """

    def __init__(
        self, decoder: Decoder, sample_rate_hz: int, jitter: JitterConfig | None = None, channels: int = 1
    ) -> None:
        self._decoder = decoder
        self._sample_rate_hz = sample_rate_hz
        self._channels = channels
        self._config = jitter or JitterConfig()
        self._format: StreamFormat | None = None
        self._reassembler = Reassembler()
        self._voice_activity = VoiceActivityDetector(sample_rate_hz)
        self._damaged = 0
        self._start(self._config, exact=False)

    def _start(self, config: JitterConfig, *, exact: bool) -> None:
        self._buffer = JitterBuffer(config)
        self._playout = Playout(self._buffer, self._decoder, self._sample_rate_hz, self._channels, exact=exact)
        self._monitor = ReceptionMonitor(config.frame_ms)

    @property
    def stats(self) -> ReceiverStats:
        """A frozen snapshot."""
        return ReceiverStats(
            self._buffer.stats,
            self._playout.stats,
            self._damaged,
            self._reassembler.incomplete,
            self._voice_activity.talking,
            self._voice_activity.level_rms,
            self._format,
        )

    @property
    def talking(self) -> bool:
        """Whether what is played now is speech."""
        return self._voice_activity.talking

    def receive(self, datagram: bytes, now_ms: float) -> ReceiverReport | None:
        """Take a datagram; a report among them is returned, for the sender that it is about. Damage is counted."""
        try:
            if len(datagram) == REPORT_BYTES and datagram[0] & 0x0F == 0x0A:
                report = ReceiverReport.from_bytes(datagram)
                self._monitor.hear_report(report, now_ms)
                return report
            whole = self._reassembler.add(datagram, now_ms) if is_fragment(datagram) else datagram
            if whole is None:
                return None
            packet = Packet.from_bytes(whole)
        except PacketError:
            self._damaged += 1
            return None
        if not self._fits(packet):
            self._damaged += 1
            return None
        wire_bytes = len(whole) + header_bytes(len(whole))
        for frame in packet.each_frame():
            self._monitor.observe(frame, 0 if frame.part else wire_bytes, now_ms)
            self._buffer.put(frame, now_ms)
        return None

    def _fits(self, packet: Packet) -> bool:
        if self._format is None:
            self._format = format_of(packet)
            if self._format is not None and self._format.tier is not Tier.NEURAL:
                # Nothing has been put into the buffer yet.
                config = replace(self._config, frame_ms=self._format.packet_ms)
                self._start(config, exact=self._format.tier is Tier.LOSSLESS)
        if self._format is None or packet.tier is not self._format.tier:
            return False
        # A stream keeps its format: one that changed it from packet to packet would have decoders made without end.
        return packet.tier is Tier.NEURAL or format_of(packet) in (None, self._format)

    def pull(self, now_ms: float, count_samples: int) -> Samples:
        """The next samples to play.

        Shape: ``[count]``, or ``[count, channels]`` for more than one.
        """
        samples = self._playout.pull(now_ms, count_samples)
        self._voice_activity.hear(samples)
        return samples

    def report(self, now_ms: float) -> bytes | None:
        """A report to send back, if one is due."""
        if not self._monitor.due(now_ms):
            return None
        return self._monitor.report(now_ms, self._buffer.stats).to_bytes()
