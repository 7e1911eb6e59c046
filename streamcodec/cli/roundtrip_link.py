"""``streamcodec roundtrip`` over a link that only loses: encoder, loss model, decoder, and figures."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamcodec.cli.common import (
    percentiles,
    progress_bar,
)

if TYPE_CHECKING:
    from streamcodec import StreamEncoder


def through_link(
    samples: NDArray[Any], encoder: StreamEncoder, options: argparse.Namespace
) -> tuple[NDArray[Any], dict[str, Any]]:
    """Encode, lose, decode; returns sound of the source's length, delay removed, and figures.

    Shape: ``[n, channels]`` -> ``[n]`` (neural) or ``[n, channels]``.
    """
    from streamcodec import StreamDecoder
    from streamcodec.net.loss_models import GilbertElliott, GilbertElliottConfig
    from streamcodec.net.session import header_bytes

    settings, rate_hz, block = encoder.settings, encoder.sample_rate_hz, encoder.block_samples
    frames = block // encoder.frame_samples
    decoder = StreamDecoder(
        rate_hz,
        tier=encoder.tier,
        channels=settings.channels,
        bits_per_sample=settings.bits_per_sample,
        model=settings.model,
    )
    loss = GilbertElliott(GilbertElliottConfig(options.loss, options.burst), options.seed)
    sound = encoder.accept(samples)
    # Compile and load everything before the clock starts, as a call does before audio starts.
    decoder.push(encoder.push(np.zeros((block, *sound.shape[1:]), sound.dtype))[0])
    encoder.reset()
    decoder.reset()
    encode_ms: list[float] = []
    decode_ms: list[float] = []
    heard = []
    payload_bytes = packet_bytes = wire_bytes = packets = lost = 0
    lag = encoder.delay_samples + decoder.delay_samples
    needed = -(-(len(sound) + lag) // block) * block
    padded = np.concatenate([sound, np.zeros((needed - len(sound), *sound.shape[1:]), sound.dtype)])
    # Of a block's cost, the share of 10 ms in it, in ms.
    to_10_ms = 1000.0 * (rate_hz / 100.0) / block
    with progress_bar("round trip") as progress:
        for start in range(0, len(padded), block):
            began = time.perf_counter()
            sent = encoder.push(padded[start : start + block])
            between = time.perf_counter()
            arrived = None
            for packet in sent:
                data = packet.to_bytes()
                packets += 1
                payload_bytes += len(packet.payload)
                packet_bytes += len(data)
                wire_bytes += len(data) + header_bytes(len(data))
                arrived = data
                if loss.lost():
                    lost += 1
                    arrived = None
            before_decoding = time.perf_counter()
            heard += [decoder.push(None) for _ in range(frames)] if arrived is None else [decoder.push(arrived)]
            encode_ms.append(to_10_ms * (between - began))
            decode_ms.append(to_10_ms * (time.perf_counter() - before_decoding))
            progress(start / len(padded))
    counts = {
        "packets": packets,
        "lost": lost,
        "late": 0,
        "discarded": 0,
        "recovered": 0,
        **concealed(decoder.concealed, encoder),
        "payload_bytes": payload_bytes,
        "packet_bytes": packet_bytes,
        "wire_bytes": wire_bytes,
        "delay_ms": round(1000.0 * (encoder.latency_samples + decoder.delay_samples) / rate_hz, 3),
    }
    figures = describe(samples, encoder, counts, encode_ms, decode_ms)
    return np.concatenate([decoder.silence(0), *heard])[lag : lag + len(sound)], figures


def in_packets(frames: int, encoder: StreamEncoder) -> int:
    """Packets that so many frames fill or begin to fill."""
    return -(-frames * encoder.frame_samples // encoder.block_samples)


def concealed(frames: int, encoder: StreamEncoder) -> dict[str, Any]:
    """Figures of what was made up, in packets as all counts are, and as time."""
    time_ms = 1000.0 * frames * encoder.frame_samples / encoder.sample_rate_hz
    return {"concealed": in_packets(frames, encoder), "concealed_ms": round(time_ms, 3)}


def describe(
    samples: NDArray[Any],
    encoder: StreamEncoder,
    counts: dict[str, Any],
    encode_ms: list[float],
    decode_ms: list[float],
) -> dict[str, Any]:
    """The figures printed: counts, rates and costs per 10 ms."""
    from streamcodec.codec.options import tier_name

    seconds = max(len(samples), 1) / encoder.sample_rate_hz
    both = [a + b for a, b in zip(encode_ms, decode_ms, strict=False)] or [0.0]
    return {
        "tier": tier_name(encoder.tier),
        "duration_s": round(len(samples) / encoder.sample_rate_hz, 6),
        "sample_rate_hz": encoder.sample_rate_hz,
        "channels": samples.shape[1],
        **counts,
        "payload_bps": round(8.0 * counts["payload_bytes"] / seconds, 1),
        "wire_kbps": round(0.008 * counts["wire_bytes"] / seconds, 3),
        "cost_per_10_ms": {
            "encode": percentiles(encode_ms or [0.0]),
            "decode": percentiles(decode_ms or [0.0]),
            "total": percentiles(both),
        },
    }
