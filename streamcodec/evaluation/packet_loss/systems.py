"""What is sent through the loss: streamcodec as it comes, and Opus with all that libopus has against loss."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamcodec.codec.packet import Packet
from streamcodec.codec.stream import StreamDecoder, StreamEncoder
from streamcodec.evaluation.alignment import resample
from streamcodec.evaluation.libopus import DredReader, LibOpus, OpusDecoder, OpusEncoder, OpusSettings, load_libopus
from streamcodec.evaluation.systems import SRTP_OVERHEAD_BYTES
from streamcodec.net.framing import Framer
from streamcodec.net.loss_models import LossModel
from streamcodec.net.lossy_link import LinkConfig, LossyLink
from streamcodec.net.simulate import simulate_stream
from streamcodec.net.wire_rate import OTHER_BPS, WireRateConfig
from streamcodec.net.wire_sender import WireRateSender

Float32Array = NDArray[np.float32]
NOLACE_COMPLEXITY = 7
"""Decoder complexity that brings deep concealment and NoLACE."""
LONGEST_WAIT_MS = 100.0
"""Playout delay beyond a packet's own arrival that a receiver may take."""
DRED_MS = 200


@dataclass(frozen=True)
class Heard:
    """What came out, and what it took."""

    samples: Float32Array
    """Shape: ``[n]``, with some delay."""
    sample_rate_hz: int
    payload_bytes: int
    carried_bytes: int
    """Payload and what redundancy adds to it."""
    wire_bytes: int
    """All of the datagrams, from the IP header to the authentication tag of SRTP."""
    packets: int
    made_up: float
    """Share of the sound for which neither its packet nor any redundancy was there."""
    playout_ms: float
    """Playout delay aimed at, on average; for Opus the longest that its receiver waits."""
    plan: str = ""
    """What was sent at the end."""


@dataclass(frozen=True)
class LossySystem:
    """A name, how long its packets are, and sound through loss."""

    name: str
    transmit: Callable[[Float32Array, int, LossModel, float], Heard]
    """(samples ``[n]``, sample_rate_hz, losses, their rate) to what is heard."""


@dataclass
class CountingLink(LossyLink):
    """Counts what datagrams take as frames of SRTP, instead of the self-contained form that is simulated."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._framer = Framer(numbered=True)
        self.frame_bytes = 0
        self.carried_bytes = 0
        """Payloads, and copies with what frames them."""

    def send(self, datagram: bytes, now_ms: float) -> None:
        self.frame_bytes += len(self._framer.frame(datagram))
        packet = Packet.from_bytes(datagram)
        without = replace(packet, redundant=())
        self.carried_bytes += len(packet.payload) + len(datagram) - len(without.to_bytes())
        super().send(datagram, now_ms)


@dataclass(frozen=True)
class OwnSystem:
    """streamcodec as a call has it: given is the rate on the wire, all else is chosen as reports come in."""

    wire_kbps: float
    model: str

    def __call__(self, samples: Float32Array, sample_rate_hz: int, losses: LossModel, loss_rate: float) -> Heard:
        """Shape: samples ``[n]``."""
        encoder = StreamEncoder(sample_rate_hz, model=self.model)
        # Reports and checks of the line, which the controller allows for, are not counted here, of neither codec.
        wire_bps = round(1_000 * self.wire_kbps + OTHER_BPS)
        sender = WireRateSender(encoder, encoder.encode_redundant, WireRateConfig(wire_bps))
        link = CountingLink(LinkConfig(), losses)
        decoder = StreamDecoder(sample_rate_hz, model=self.model)
        result = simulate_stream(samples, sample_rate_hz, encoder, decoder, link, sender=sender)
        packets = result.sender.packets
        return Heard(
            result.samples,
            sample_rate_hz,
            result.sender.payload_bytes,
            link.carried_bytes,
            link.frame_bytes + SRTP_OVERHEAD_BYTES * packets,
            packets,
            result.made_up,
            result.playout_ms,
            f"{sender.plan.packet_ms} ms, {sender.plan.bitrate_bps / 1_000:.1f} kbps, {sender.plan.ages}",
        )


@functools.cache
def loaded(path: Path | None) -> LibOpus:
    """A libopus, loaded once in each process: systems travel between them, libraries do not."""
    return load_libopus(path)


@dataclass(frozen=True)
class OpusSystem:
    """Opus, told the loss rate.

    A lost packet is taken from the first of those after it that came within :data:`LONGEST_WAIT_MS`: from in-band FEC
    if it is the next one and has it, else from DRED. It is concealed where there is neither.
    """

    library_path: Path | None
    kbps: float
    packet_ms: int
    dred: bool
    fec: bool = False

    def __call__(self, samples: Float32Array, sample_rate_hz: int, losses: LossModel, loss_rate: float) -> Heard:
        """Shape: samples ``[n]``."""
        library = loaded(self.library_path)
        settings = OpusSettings(
            frame_ms=self.packet_ms,
            bandwidth="wide",
            application="voip",
            inband_fec=self.fec,
            expected_loss_percent=round(100 * loss_rate),
            decoder_complexity=NOLACE_COMPLEXITY if library.has_neural_concealment else 0,
            dred_ms=DRED_MS if self.dred and loss_rate > 0 else 0,
        )
        encoder = OpusEncoder(library, settings, round(1_000 * self.kbps))
        sound = resample(samples, sample_rate_hz, settings.sample_rate_hz)
        frame = settings.frame_samples
        padding = -(len(sound) + encoder.lookahead_samples) % frame + encoder.lookahead_samples
        frames = np.pad(sound, (0, padding)).astype(np.float32).reshape(-1, frame)
        packets = [encoder.encode(each) for each in frames]
        arrived: list[bytes | None] = [None if losses.lost() else packet for packet in packets]
        receiver = _OpusReceiver(library, settings, self.fec)
        heard = [receiver.play(arrived, index) for index in range(len(arrived))]
        payload_bytes = sum(map(len, packets))
        return Heard(
            np.concatenate(heard),
            settings.sample_rate_hz,
            payload_bytes,
            payload_bytes,
            payload_bytes + SRTP_OVERHEAD_BYTES * len(packets),
            len(packets),
            receiver.made_up / len(packets),
            LONGEST_WAIT_MS // self.packet_ms * self.packet_ms,
        )


class _OpusReceiver:
    def __init__(self, library: LibOpus, settings: OpusSettings, fec: bool) -> None:
        self._decoder = OpusDecoder(library, settings)
        self._reader = DredReader(library, settings.sample_rate_hz) if settings.dred_ms else None
        self._frame_samples = settings.frame_samples
        self._wait_packets = int(LONGEST_WAIT_MS // settings.frame_ms)
        self._fec = fec
        self.made_up = 0

    def play(self, arrived: list[bytes | None], index: int) -> Float32Array:
        packet = arrived[index]
        if packet is not None:
            return self._decoder.decode(packet)
        for later in range(1, self._wait_packets + 1):
            carrier = arrived[index + later] if index + later < len(arrived) else None
            if carrier is None:
                continue
            if self._fec and later == 1 and self._decoder.has_fec(carrier):
                return self._decoder.decode(carrier, fec=True)
            back_samples = later * self._frame_samples
            if self._reader is None:
                break
            reached = self._reader.read(carrier, back_samples + 4 * self._frame_samples)
            # What redundancy has of a part of the packet is used too; libopus conceals the rest.
            if reached > back_samples - self._frame_samples:
                return self._decoder.decode_dred(self._reader, back_samples)
            break
        self.made_up += 1
        return self._decoder.decode(None)
