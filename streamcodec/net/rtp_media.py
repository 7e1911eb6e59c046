"""Media of a direct line as SRTP: the bytes of this codec's frames on an Opus line of aiortc's.

Sending is aiortc's public way: a track whose ``recv`` gives an ``av.Packet`` has its bytes sent as they are.
Receiving and the sender reports are the two places where aiortc is overridden, each marked below; both are methods
of objects of one connection, and nothing of the library is changed for anybody else.
"""

from __future__ import annotations

import asyncio
import fractions
import time
from collections.abc import Callable
from typing import Any, Literal

from streamcodec.extras import extra_imports

with extra_imports("net"):
    import av
    from aiortc import MediaStreamTrack, RTCPeerConnection, RTCRtpSender
    from aiortc.mediastreams import MediaStreamError
    from aiortc.rtcdtlstransport import (
        SRTP_AEAD_AES_128_GCM,
        SRTP_AEAD_AES_256_GCM,
        SRTP_AES128_CM_SHA1_80,
        SRTP_PROFILES,
    )
    from aiortc.rtp import RtcpByePacket

SrtpProfile = Literal["sha1-80", "gcm"]
"""How SRTP packets are protected: a tag of 10 bytes (AES-128 in counter mode, HMAC-SHA1), or one of 16 (AES-GCM)."""

CLOCK_HZ = 48_000
"""Of the time stamps on an Opus line (RFC 7587)."""
FRAME_TICKS = 960
"""Of that clock in a frame of 20 ms; other frame durations are counted in the same unit."""
REPORT_INTERVAL_S = 5.0
"""RTCP sender reports go out this often; nothing here needs them, but a browser may."""
_WRAP = 1 << 32


class RtpMedia:
    """The audio line of one connection. Make it before the connection's first offer or answer.

    ``on_frame(frame, unit)`` gets what comes, with its time stamp in frames, extended over wraps, from any origin.
    """

    def __init__(
        self, connection: RTCPeerConnection, profile: SrtpProfile, on_frame: Callable[[bytes, int], None]
    ) -> None:
        self._connection = connection
        self._on_frame = on_frame
        self._track = _FrameTrack()
        sender = connection.addTrack(self._track)
        self._transceiver = next(t for t in connection.getTransceivers() if t.sender is sender)
        opus = [c for c in RTCRtpSender.getCapabilities("audio").codecs if c.mimeType.lower() == "audio/opus"]
        self._transceiver.setCodecPreferences(opus)
        choose_profile(sender.transport, profile)
        self._last_timestamp: int | None = None
        self._ticks = 0
        self._reported_s = float("-inf")
        # Override 1 of aiortc: packets are taken as they arrive. Its own way is a buffer that waits for 4 and throws
        # away packets that did come, behind which a decoder thread would try to read them as Opus.
        self._transceiver.receiver._handle_rtp_packet = self._take  # type: ignore[method-assign]
        # Override 2 of aiortc: its sender reports every second or so cost as much as a frame's headers.
        self._send_rtcp = sender._send_rtcp
        sender._send_rtcp = self._report  # type: ignore[method-assign]

    @property
    def ready(self) -> bool:
        """Whether both ends have agreed on the line and are connected."""
        agreed = self._transceiver.currentDirection == "sendrecv"
        return agreed and self._connection.connectionState == "connected"

    @property
    def buffered_bytes(self) -> int:
        """What waits to be sent."""
        return self._track.buffered_bytes

    def send(self, frame: bytes, unit: int) -> None:
        """Send one frame of media, stamped with its time in frames."""
        self._track.put(frame, unit)

    async def _take(self, packet: Any, arrival_time_ms: int) -> None:
        timestamp: int = packet.timestamp
        if self._last_timestamp is not None:
            self._ticks += (timestamp - self._last_timestamp + _WRAP // 2) % _WRAP - _WRAP // 2
        self._last_timestamp = timestamp
        if packet.payload:
            self._on_frame(packet.payload, round(self._ticks / FRAME_TICKS))

    async def _report(self, packets: list[Any]) -> None:
        now_s = time.monotonic()
        leaving = any(isinstance(packet, RtcpByePacket) for packet in packets)
        if leaving or now_s - self._reported_s >= REPORT_INTERVAL_S:
            self._reported_s = now_s
            await self._send_rtcp(packets)


class _FrameTrack(MediaStreamTrack):
    """Frames of media already coded, one at a time."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._queue: asyncio.Queue[tuple[bytes, int]] = asyncio.Queue()
        self.buffered_bytes = 0

    def put(self, frame: bytes, unit: int) -> None:
        self.buffered_bytes += len(frame)
        self._queue.put_nowait((frame, unit))

    async def recv(self) -> Any:
        if self.readyState != "live":
            raise MediaStreamError
        frame, unit = await self._queue.get()
        self.buffered_bytes -= len(frame)
        packet = av.Packet(frame)
        packet.pts = unit * FRAME_TICKS
        packet.time_base = fractions.Fraction(1, CLOCK_HZ)
        return packet


def choose_profile(transport: Any, profile: SrtpProfile) -> None:
    """What one DTLS transport of aiortc's offers and takes: nothing but GCM, or the shorter tag first."""
    gcm = [SRTP_AEAD_AES_128_GCM, SRTP_AEAD_AES_256_GCM]
    wanted = gcm if profile == "gcm" else [SRTP_AES128_CM_SHA1_80, *gcm]
    transport._srtp_profiles = [each for each in wanted if each in SRTP_PROFILES]


def plain_description(sdp: str) -> str:
    """A session description without RTP header extensions, each of which would cost bytes in every packet."""
    return "".join(line for line in sdp.splitlines(keepends=True) if not line.startswith("a=extmap"))
