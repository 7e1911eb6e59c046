"""What is sent through the loss: streamcodec's four ways, and Opus packet by packet."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamcodec import Packet, StreamDecoder, StreamEncoder
from streamcodec.evaluation.alignment import resample
from streamcodec.evaluation.libopus import LibOpus, OpusDecoder, OpusEncoder, OpusSettings, load_libopus
from streamcodec.evaluation.systems import DATA_CHANNEL_OVERHEAD_BYTES, SRTP_OVERHEAD_BYTES
from streamcodec.net.congestion import CongestionConfig
from streamcodec.net.delay_estimator import DelayConfig
from streamcodec.net.jitter_buffer import JitterConfig
from streamcodec.net.loss_models import LossModel
from streamcodec.net.lossy_link import LinkConfig, LossyLink
from streamcodec.net.simulate import simulate_stream

Float32Array = NDArray[np.float32]
NEURAL_CONCEALMENT_COMPLEXITY = 5


@dataclass(frozen=True)
class Heard:
    """What came out, and what it took."""

    samples: Float32Array
    """Shape: ``[n]``, with some delay."""
    sample_rate_hz: int
    payload_bytes: int
    carried_bytes: int
    """Payload and redundant copies."""
    wire_bytes: int
    """All of the datagrams."""
    packets: int
    made_up: int
    """Packet durations for which neither a packet nor a copy of it was there."""


@dataclass(frozen=True)
class System:
    """A name, and sound through loss."""

    name: str
    transmit: Callable[[Float32Array, int, LossModel, float], Heard]
    """(samples ``[n]``, sample_rate_hz, losses, their rate) to what is heard."""


class ZerosForLost:
    """A decoder whose concealment is not heard: silence where a packet is missing."""

    def __init__(self, decoder: StreamDecoder) -> None:
        self._decoder = decoder

    def push(self, packet: Packet | None) -> Float32Array:
        sound = self._decoder.push(packet)
        return sound if packet is not None else np.zeros_like(sound)


@dataclass(frozen=True)
class OwnSystem:
    """streamcodec through its own sender, jitter buffer and playout, the playout delay held at ``delay_ms``."""

    kbps: float
    redundancy: int | None
    concealment: bool
    delay_ms: float
    model: str

    def __call__(self, samples: Float32Array, sample_rate_hz: int, losses: LossModel, loss_rate: float) -> Heard:
        """Shape: samples ``[n]``."""
        rate_bps = round(1_000 * self.kbps)
        encoder = StreamEncoder(sample_rate_hz, rate_bps, model=self.model)
        decoder = StreamDecoder(sample_rate_hz, model=self.model)
        result = simulate_stream(
            samples,
            sample_rate_hz,
            encoder,
            decoder if self.concealment else ZerosForLost(decoder),
            LossyLink(LinkConfig(), losses),
            encode_redundant=encoder.encode_redundant,
            redundancy=self.redundancy,
            congestion=CongestionConfig(minimum_bps=rate_bps, start_bps=rate_bps, maximum_bps=rate_bps),
            jitter=JitterConfig(DelayConfig(self.delay_ms, self.delay_ms, self.delay_ms)),
        )
        sent, received = result.sender, result.receiver.jitter
        packet_header_bytes = 10
        return Heard(
            result.samples,
            sample_rate_hz,
            sent.payload_bytes,
            sent.datagram_bytes - packet_header_bytes * sent.packets,
            sent.datagram_bytes + DATA_CHANNEL_OVERHEAD_BYTES * sent.packets,
            sent.packets,
            received.concealed,
        )


@functools.cache
def loaded(path: Path | None) -> LibOpus:
    """A libopus, loaded once in each process: systems travel between them, libraries do not."""
    return load_libopus(path)


@dataclass(frozen=True)
class OpusSystem:
    """Opus; a lost packet is concealed by its decoder, or taken from the next packet where ``fec`` put it there."""

    library_path: Path | None
    kbps: float
    fec: bool

    def __call__(self, samples: Float32Array, sample_rate_hz: int, losses: LossModel, loss_rate: float) -> Heard:
        """Shape: samples ``[n]``."""
        library = loaded(self.library_path)
        settings = OpusSettings(
            bandwidth="wide",
            application="voip",
            inband_fec=self.fec,
            expected_loss_percent=round(100 * loss_rate),
            decoder_complexity=NEURAL_CONCEALMENT_COMPLEXITY if library.has_neural_concealment else 0,
        )
        encoder = OpusEncoder(library, settings, round(1_000 * self.kbps))
        decoder = OpusDecoder(library, replace(settings, expected_loss_percent=0))
        sound = resample(samples, sample_rate_hz, settings.sample_rate_hz)
        frame = settings.frame_samples
        padding = -(len(sound) + encoder.lookahead_samples) % frame + encoder.lookahead_samples
        frames = np.pad(sound, (0, padding)).astype(np.float32).reshape(-1, frame)
        packets = [encoder.encode(each) for each in frames]
        arrived: list[bytes | None] = [None if losses.lost() else packet for packet in packets]
        heard = []
        for packet, following in zip(arrived, [*arrived[1:], None], strict=True):
            if packet is None and self.fec and following is not None:
                heard.append(decoder.decode(following, fec=True))
            else:
                heard.append(decoder.decode(packet))
        payload_bytes = sum(map(len, packets))
        return Heard(
            np.concatenate(heard),
            settings.sample_rate_hz,
            payload_bytes,
            payload_bytes,
            payload_bytes + SRTP_OVERHEAD_BYTES * len(packets),
            len(packets),
            sum(packet is None for packet in arrived),
        )
