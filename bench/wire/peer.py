"""One of two peers, as a process of its own: commands as JSON on standard input, answers on standard output."""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import json
import ssl
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aioice.ice
import av
import numpy as np
import soundfile
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription

from bench.wire.network import Counters
from streamcodec import StreamDecoder, StreamEncoder
from streamcodec.net.call import Call, CallConfig
from streamcodec.net.client import ClientConfig
from streamcodec.net.congestion import CongestionConfig
from streamcodec.net.media import MediaConfig
from streamcodec.net.room import RoomConfig
from streamcodec.net.rtp_media import choose_profile, plain_description
from streamcodec.net.webrtc import WebRtcConfig

SPEECH = Path(__file__).parents[2] / "streamcodec" / "demo_data" / "speech.flac"
RATE_HZ = 24_000
BLOCK_SAMPLES = 240
OPUS_RATE_HZ = 48_000
SETTLE_S = 2.0
KEY = bytes(range(32))


def speech(rate_hz: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Speech at a rate that divides into 10 ms; linear interpolation is good enough to spend bits on."""
    sound, own_hz = soundfile.read(SPEECH, dtype="float32")
    mono = sound if sound.ndim == 1 else sound.mean(axis=1)
    at = np.arange(0, len(mono) * rate_hz // own_hz) * own_hz / rate_hz
    return np.interp(at, np.arange(len(mono)), mono).astype(np.float32)


class Meter:
    """Counts a device, and this process's time, between two moments."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._counters, self._start_s, self._cpu_s = Counters.read(device), time.monotonic(), time.process_time()

    def result(self) -> dict[str, Any]:
        """Since it was made."""
        counted = Counters.read(self._device).since(self._counters)
        return {
            "seconds": time.monotonic() - self._start_s,
            "cpu_seconds": time.process_time() - self._cpu_s,
            **asdict(counted),
        }


async def call(job: dict[str, Any]) -> dict[str, Any]:
    """Talk for ``seconds`` as the job says."""
    kbps, packet_ms = job["kbps"], job["packet_ms"]
    rate = round(1_000 * kbps)
    encoder = StreamEncoder(RATE_HZ, rate, packet_ms=packet_ms)
    context = ssl.create_default_context(cafile=job["ca"]) if job.get("ca") else None
    webrtc = None if job["transport"] == "relay" else WebRtcConfig(media=job["transport"], srtp=job["srtp"])
    config = CallConfig(
        RoomConfig(
            ClientConfig(job["url"], job["room"], context=context, attempt_timeout_s=5.0),
            KEY if job["key"] else None,
            webrtc,
        ),
        MediaConfig(RATE_HZ, congestion=CongestionConfig(rate, rate, rate), redundancy=job["copies"]),
    )
    sound = speech(RATE_HZ)
    wanted = "relay" if webrtc is None else "direct"
    async with Call(config, encoder, lambda: StreamDecoder(RATE_HZ), encoder.encode_redundant) as speaking:
        deadline_s = time.monotonic() + 20.0
        while [peer.path for peer in speaking.peers.values()] != [wanted]:
            if time.monotonic() > deadline_s:
                return {"error": f"no {wanted} path within 20 s"}
            await asyncio.sleep(0.02)
        start_s = time.monotonic()
        meter = None
        (peer,) = speaking.peers.values()
        before, wire_before = speaking.sender_stats, speaking.wire_bytes
        for index in range(round((SETTLE_S + job["seconds"]) * RATE_HZ / BLOCK_SAMPLES)):
            at = index * BLOCK_SAMPLES % (len(sound) - BLOCK_SAMPLES)
            await asyncio.sleep(max(0.0, start_s + (index + 1) * BLOCK_SAMPLES / RATE_HZ - time.monotonic()))
            speaking.push(sound[at : at + BLOCK_SAMPLES])
            await speaking.pull(BLOCK_SAMPLES)
            # The other side may leave a moment before this one has finished.
            peer = next(iter(speaking.peers.values()), peer)
            if meter is None and time.monotonic() - start_s >= SETTLE_S:
                meter = Meter(job["device"])
                before, wire_before = speaking.sender_stats, speaking.wire_bytes
        assert meter is not None
        result = meter.result()
        sent, wire = speaking.sender_stats, speaking.wire_bytes
        # The other side has as much to finish as this one.
        await asyncio.sleep(0.5)
        return {
            **result,
            "payload_bytes": sent.payload_bytes - before.payload_bytes,
            "packets": sent.packets - before.packets,
            "meter_sent_bytes": wire.sent - wire_before.sent,
            "meter_received_bytes": wire.received - wire_before.received,
            "lost": peer.stream.jitter.lost,
            "round_trip_ms": peer.round_trip_ms,
        }


class OpusTrack(MediaStreamTrack):
    """Opus packets made beforehand, in real time."""

    kind = "audio"

    def __init__(self, packets: list[bytes], packet_ms: int) -> None:
        super().__init__()
        self._packets, self._packet_ms = packets, packet_ms
        self.index = 0
        self.payload_bytes = 0
        self._start_s: float | None = None

    async def recv(self) -> av.Packet:
        """The next one, when it is due."""
        if self._start_s is None:
            self._start_s = time.monotonic()
        await asyncio.sleep(max(0.0, self._start_s + self.index * self._packet_ms / 1_000 - time.monotonic()))
        data = self._packets[self.index % len(self._packets)]
        packet = av.Packet(data)
        packet.pts = self.index * self._packet_ms * 48
        packet.time_base = fractions.Fraction(1, OPUS_RATE_HZ)
        self.index += 1
        self.payload_bytes += len(data)
        return packet


def opus_packets(kbps: float, packet_ms: int) -> list[bytes]:
    """Speech as libopus of PyAV codes it: mono, for calls, variable rate."""
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = OPUS_RATE_HZ, "mono", "s16"
    encoder.bit_rate = round(1_000 * kbps)
    encoder.options = {"application": "voip", "frame_duration": str(packet_ms)}
    samples = np.round(speech(OPUS_RATE_HZ) * 32_767).astype(np.int16)
    size = OPUS_RATE_HZ * packet_ms // 1_000
    packets = []
    for start in range(0, len(samples) - size, size):
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis, start : start + size], format="s16", layout="mono")
        frame.sample_rate, frame.pts = OPUS_RATE_HZ, start
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


async def opus(job: dict[str, Any], lines: asyncio.StreamReader) -> dict[str, Any]:
    """The same with aiortc's Opus: as it comes, or ``trimmed`` to the shorter tag and no header extensions."""
    connection = RTCPeerConnection()
    track = OpusTrack(opus_packets(job["kbps"], job["packet_ms"]), job["packet_ms"])
    sender = connection.addTrack(track)
    if job["trimmed"]:
        choose_profile(sender.transport, "sha1-80")

    def heard(text: str, kind: str) -> RTCSessionDescription:
        return RTCSessionDescription(plain_description(text) if job["trimmed"] else text, kind)

    if job["offers"]:
        await connection.setLocalDescription(await connection.createOffer())
        say({"sdp": connection.localDescription.sdp})
        answer = json.loads(await lines.readline())
        await connection.setRemoteDescription(heard(answer["sdp"], "answer"))
    else:
        offer = json.loads(await lines.readline())
        await connection.setRemoteDescription(heard(offer["sdp"], "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        say({"sdp": connection.localDescription.sdp})
    deadline_s = time.monotonic() + 20.0
    while connection.connectionState != "connected":
        if time.monotonic() > deadline_s:
            return {"error": "no connection within 20 s"}
        await asyncio.sleep(0.02)
    await asyncio.sleep(SETTLE_S)
    meter, payload, packets = Meter(job["device"]), track.payload_bytes, track.index
    await asyncio.sleep(job["seconds"])
    result = {**meter.result(), "payload_bytes": track.payload_bytes - payload, "packets": track.index - packets}
    await asyncio.sleep(0.5)
    await connection.close()
    return result


def say(answer: dict[str, Any]) -> None:
    """One line of JSON."""
    print(json.dumps(answer), flush=True)


async def main() -> None:
    """Do what is asked until standard input ends."""
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        job = json.loads(line)
        if job["device"] == "lo":
            aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
        say(await (opus(job, lines) if job["codec"] == "opus" else call(job)))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
