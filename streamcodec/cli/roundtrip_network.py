"""``streamcodec roundtrip`` through jitter, redundancy and the receiver of calls, on a simulated clock."""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamcodec import Packet, StreamcodecError, StreamDecoder, StreamEncoder, Tier
from streamcodec.cli.common import redundancy_of
from streamcodec.cli.roundtrip_link import concealed, describe, in_packets
from streamcodec.net.congestion import CongestionConfig
from streamcodec.net.loss_models import GilbertElliott, GilbertElliottConfig
from streamcodec.net.lossy_link import LinkConfig, LossyLink
from streamcodec.net.simulate import simulate_stream

LINK_DELAY_MS = 20.0
LONGEST_PLAYOUT_DELAY_MS = 1_100.0

Float32Array = NDArray[np.float32]


class TimedEncoder:
    """An encoder that notes what packets cost, in milliseconds per 10 ms."""

    def __init__(self, encoder: StreamEncoder) -> None:
        self._encoder = encoder
        self.costs_ms: list[float] = []
        self.set_bitrate = encoder.set_bitrate
        self.flush = encoder.flush

    def push(self, samples: Float32Array) -> list[Packet]:
        began = time.perf_counter()
        packets = self._encoder.push(samples)
        if packets:
            self.costs_ms.append(500.0 * (time.perf_counter() - began))
        return packets


class TimedDecoder:
    """A decoder that notes what packets cost, and which came first."""

    def __init__(self, decoder: StreamDecoder) -> None:
        self._decoder = decoder
        self.costs_ms: list[float] = []
        self.first_timestamp: int | None = None

    def push(self, packet: Packet | None, following: Packet | None = None) -> Float32Array:
        if packet is not None and self.first_timestamp is None:
            self.first_timestamp = packet.timestamp
        began = time.perf_counter()
        sound = self._decoder.push(packet, following)
        self.costs_ms.append(500.0 * (time.perf_counter() - began))
        return sound


def through_network(
    samples: NDArray[Any], encoder: StreamEncoder, options: argparse.Namespace
) -> tuple[Float32Array, dict[str, Any]]:
    """Encode, send, lose, buffer, decode; returns sound of the source's length, first delay removed, and figures."""
    if encoder.tier is not Tier.NEURAL or encoder.settings.mode == "stream":
        whose = "for the neural tier" if encoder.tier is not Tier.NEURAL else "with --mode independent"
        raise StreamcodecError(
            f"--jitter and --redundancy are simulated {whose} alone, as calls have it: leave "
            f"{'--tier' if encoder.tier is not Tier.NEURAL else '--mode stream'} out, or them"
        )
    rate_hz = encoder.sample_rate_hz
    decoder = StreamDecoder(rate_hz, model=encoder.settings.model)
    timed_encoder, timed_decoder = TimedEncoder(encoder), TimedDecoder(decoder)
    rate_bps = round(encoder.settings.bitrate_bps or CongestionConfig().start_bps)
    sound = encoder.accept(samples)
    result = simulate_stream(
        sound,
        rate_hz,
        timed_encoder,
        timed_decoder,
        LossyLink(
            LinkConfig(delay_ms=LINK_DELAY_MS, jitter_ms=options.jitter),
            GilbertElliott(GilbertElliottConfig(options.loss, options.burst), options.seed),
            options.seed,
        ),
        encode_redundant=encoder.encode_redundant,
        redundancy=redundancy_of(options.redundancy),
        congestion=CongestionConfig(minimum_bps=rate_bps, start_bps=rate_bps, maximum_bps=rate_bps),
        tail_ms=LONGEST_PLAYOUT_DELAY_MS,
    )
    first = (timed_decoder.first_timestamp or 0) * encoder.frame_samples
    lag = max(0, result.waited_samples - first) + encoder.delay_samples + decoder.delay_samples
    heard = result.samples[lag : lag + sound.size]
    jitter = result.receiver.jitter
    counts = {
        "packets": result.sender.packets,
        # A jitter buffer counts frames.
        "lost": in_packets(jitter.lost, encoder),
        "late": in_packets(jitter.late, encoder),
        "discarded": in_packets(jitter.discarded, encoder),
        "recovered": in_packets(jitter.recovered, encoder),
        **concealed(jitter.concealed, encoder),
        "payload_bytes": result.sender.payload_bytes,
        "packet_bytes": result.sender.datagram_bytes,
        "wire_bytes": result.sender.wire_bytes,
        "delay_ms": round(1000.0 * (encoder.latency_samples + decoder.delay_samples) / rate_hz, 3),
        "mouth_to_ear_ms": round(1000.0 * lag / rate_hz, 3),
    }
    figures = describe(samples, encoder, counts, timed_encoder.costs_ms, timed_decoder.costs_ms)
    return np.pad(heard, (0, sound.size - heard.size)), figures
