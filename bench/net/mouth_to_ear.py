"""Delay from mouth to ear through two processes on loopback addresses: everything but the sound devices.

    python bench/net/mouth_to_ear.py --seconds 20 --path direct

Over a direct line, or over a relay between them.
One process pushes chirps into a call in real time, another pulls what it hears; both keep the time of the same
monotonic clock. A sample leaves the mouth when it is spoken, not when its block is pushed, and reaches the ear when
its place in the pulled block is played. Loopback range only, at most 60 seconds, stops by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass

import aioice.ice
import numpy as np

from streamcodec import StreamDecoder, StreamEncoder
from streamcodec.models.shipped import DEFAULT_MODEL
from streamcodec.net.call import Call, CallConfig
from streamcodec.net.client import ClientConfig
from streamcodec.net.congestion import CongestionConfig
from streamcodec.net.media import MediaConfig
from streamcodec.net.relay.server import Relay
from streamcodec.net.room import RoomConfig
from streamcodec.net.time_scale import Samples
from streamcodec.net.webrtc import WebRtcConfig

RATE_HZ = 24_000
BLOCK_SAMPLES = 240
BLOCK_S = BLOCK_SAMPLES / RATE_HZ
CHIRP_EVERY_S = 0.35
CHIRP_S = 0.05
BITRATE_BPS = 6_000
BUDGET_MS = 50.0
SETTLE_S = 3.0
LONGEST_S = 60.0


@dataclass(frozen=True)
class Result:
    """Milliseconds."""

    chirps: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    packet_ms: float
    """Collecting a packet."""
    codec_ms: float
    """Algorithmic delay of encoder and decoder."""
    buffer_p50_ms: float
    """Depth of the jitter buffer."""
    concealed: int


def chirp() -> Samples:
    """A sweep from 300 to 2,500 Hz that fades in and out."""
    time_s = np.arange(round(CHIRP_S * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * (300 * time_s + (2_500 - 300) / (2 * CHIRP_S) * time_s**2)
    return np.asarray(0.5 * np.sin(phase) * np.hanning(len(time_s)), np.float32)


@dataclass(frozen=True)
class Way:
    """What to measure; both processes get it."""

    url: str
    model: str
    direct: bool
    packet_ms: int


def config(way: Way) -> CallConfig:
    """A direct line, or the relay alone, at a fixed rate."""
    if way.direct:
        aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    fixed = CongestionConfig(minimum_bps=BITRATE_BPS, start_bps=BITRATE_BPS, maximum_bps=BITRATE_BPS)
    room = RoomConfig(ClientConfig(way.url, "bench"), webrtc=WebRtcConfig() if way.direct else None)
    return CallConfig(room, MediaConfig(RATE_HZ, congestion=fixed, redundancy=0))


def call_on(way: Way) -> Call:
    """A call with the real codec."""
    encoder = StreamEncoder(RATE_HZ, BITRATE_BPS, model=way.model, packet_ms=way.packet_ms)
    return Call(config(way), encoder, lambda: StreamDecoder(RATE_HZ, model=way.model))


async def reached(call: Call, way: Way) -> None:
    """Wait until the other side is there, on the path that is to be measured."""
    wanted = "direct" if way.direct else "relay"
    while [peer.path for peer in call.peers.values()] != [wanted]:
        await asyncio.sleep(0.01)


async def pace(index: int, start_s: float) -> None:
    """Sleep until block ``index`` is due."""
    await asyncio.sleep(max(0.0, start_s + index * BLOCK_S - time.monotonic()))


def speak(way: Way, seconds: float) -> tuple[float, Samples]:
    """Push chirps; returns when the first sample was spoken, and all samples."""
    spacing = round(CHIRP_EVERY_S * RATE_HZ)
    sound = np.zeros(round(seconds / BLOCK_S) * BLOCK_SAMPLES, np.float32)
    rng = np.random.default_rng(1)
    for start in range(spacing, len(sound) - spacing, spacing):
        at = start + int(rng.integers(0, BLOCK_SAMPLES * 2))
        sound[at : at + len(chirp())] += chirp()
    sound += rng.normal(0, 1e-3, len(sound)).astype(np.float32)

    async def main() -> float:
        async with call_on(way) as call:
            await reached(call, way)
            start_s = time.monotonic()
            for index in range(len(sound) // BLOCK_SAMPLES):
                # A block can be pushed only once it has been spoken.
                await pace(index + 1, start_s)
                call.push(sound[index * BLOCK_SAMPLES : (index + 1) * BLOCK_SAMPLES])
                await call.pull(BLOCK_SAMPLES)
            return start_s

    return asyncio.run(main()), sound


def listen(way: Way, seconds: float) -> tuple[float, Samples, list[float], int]:
    """Pull for as long; returns when the first sample was played, all samples, buffer depths, and concealment."""
    heard: list[Samples] = []
    depths_ms: list[float] = []
    concealed = 0

    async def main() -> float:
        nonlocal concealed
        async with call_on(way) as call:
            await reached(call, way)
            start_s = time.monotonic()
            for index in range(round(seconds / BLOCK_S)):
                await pace(index, start_s)
                heard.append(await call.pull(BLOCK_SAMPLES))
                for peer in call.peers.values():
                    depths_ms.append(peer.stream.jitter.depth_ms)
                    if index * BLOCK_S < seconds - 1.0:
                        concealed = peer.stream.jitter.concealed
            return start_s

    return asyncio.run(main()), np.concatenate(heard), depths_ms[round(SETTLE_S / BLOCK_S) :], concealed


def delays_ms(spoken_s: float, spoken: Samples, heard_s: float, heard: Samples) -> list[float]:
    """Delay of each chirp, by matched filter, after the buffer has settled."""
    pattern = chirp()
    found = []
    marks = np.correlate(spoken, pattern, mode="valid")
    answers = np.abs(np.correlate(heard, pattern, mode="valid"))
    spacing = round(CHIRP_EVERY_S * RATE_HZ)
    start = round(SETTLE_S * RATE_HZ)
    while start + spacing < len(marks):
        at = start + int(np.argmax(marks[start : start + spacing]))
        start += spacing
        if marks[at] < 0.9 * float(pattern @ pattern):
            continue
        offset = round((spoken_s - heard_s) * RATE_HZ) + at
        window = answers[max(0, offset) : offset + spacing // 2]
        if len(window) < spacing // 2 or window.max() < 0.3 * float(pattern @ pattern):
            continue
        position = max(0, offset) + int(np.argmax(window))
        found.append(1_000.0 * (heard_s + position / RATE_HZ - spoken_s - at / RATE_HZ))
    return found


async def measure(seconds: float, model: str, direct: bool, packet_ms: int) -> Result:
    """Run the two processes beside a relay."""
    loop = asyncio.get_running_loop()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        async with Relay() as relay:
            way = Way(relay.url, model, direct, packet_ms)
            speaking = loop.run_in_executor(pool, speak, way, seconds)
            listening = loop.run_in_executor(pool, listen, way, seconds)
            spoken_s, spoken = await speaking
            heard_s, heard, depths_ms, concealed = await listening
    found = delays_ms(spoken_s, spoken, heard_s, heard)
    encoder = StreamEncoder(RATE_HZ, BITRATE_BPS, model=model, packet_ms=packet_ms)
    decoder = StreamDecoder(RATE_HZ, model=model)
    return Result(
        chirps=len(found),
        p50_ms=round(float(np.percentile(found, 50)), 2),
        p95_ms=round(float(np.percentile(found, 95)), 2),
        p99_ms=round(float(np.percentile(found, 99)), 2),
        max_ms=round(max(found), 2),
        packet_ms=1_000.0 * encoder.block_samples / RATE_HZ,
        codec_ms=round(1_000.0 * (encoder.delay_samples + decoder.delay_samples) / RATE_HZ, 2),
        buffer_p50_ms=round(float(np.median(depths_ms)), 2),
        concealed=concealed,
    )


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help=f"at most {LONGEST_S:.0f}")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="name or folder of a model")
    parser.add_argument("--path", choices=("direct", "relay"), default="direct", help="default direct")
    parser.add_argument("--packet-ms", type=int, default=20, help="sound in one packet (default 20)")
    options = parser.parse_args()
    if not SETTLE_S + 2.0 <= options.seconds <= LONGEST_S:
        parser.error(f"seconds must be {SETTLE_S + 2.0:.0f} to {LONGEST_S:.0f}")
    result = asyncio.run(measure(options.seconds, options.model, options.path == "direct", options.packet_ms))
    print(
        f"mouth to ear over {result.chirps} chirps: p50 {result.p50_ms} p95 {result.p95_ms} p99 {result.p99_ms} "
        f"max {result.max_ms} ms, budget {BUDGET_MS:.0f} ms; of it packet {result.packet_ms}, "
        f"codec {result.codec_ms}, buffer {result.buffer_p50_ms} (median); {result.concealed} packets concealed"
    )
    print(json.dumps(asdict(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
