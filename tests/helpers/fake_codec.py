"""A codec as simple as can be, 24 kHz in 20 ms packets: 8-bit samples, and 4-bit ones for coarser copies."""

from __future__ import annotations

import numpy as np

from streamcodec.codec.packet import Packet, PacketFlags, Tier
from streamcodec.net.time_scale import Samples

RATE_HZ = 24_000
PACKET_SAMPLES = 480
FINE, COARSE = 8, 2


class FakeEncoder:
    """Every fourth sample, as 8 bits."""

    def __init__(self) -> None:
        self.bitrates_bps: list[float] = []
        self._pending: Samples = np.zeros(0, np.float32)
        self._count = 0

    def push(self, samples: Samples) -> list[Packet]:
        self._pending = np.concatenate((self._pending, samples))
        packets = []
        while len(self._pending) >= PACKET_SAMPLES:
            block, self._pending = self._pending[:PACKET_SAMPLES], self._pending[PACKET_SAMPLES:]
            packets.append(self._packet(np.round(block[::4] * 127).astype(np.int8).tobytes()))
        return packets

    def flush(self) -> list[Packet]:
        return self.push(np.zeros(PACKET_SAMPLES - len(self._pending), np.float32))

    def set_bitrate(self, bitrate_bps: float) -> None:
        self.bitrates_bps.append(bitrate_bps)

    def _packet(self, payload: bytes) -> Packet:
        number = self._count % 65_536
        self._count += 1
        return Packet(Tier.NEURAL, number, number, FINE, PacketFlags.KEY, payload)


def encode_redundant(packet: Packet, share: float) -> tuple[int, bytes]:
    """Every sixteenth sample."""
    return COARSE, packet.payload[::4]


class FakeDecoder:
    """Interpolates; concealment holds the last block and fades."""

    def __init__(self) -> None:
        self._last: Samples = np.zeros(PACKET_SAMPLES, np.float32)

    def push(self, packet: Packet | None, following: Packet | None = None, /) -> Samples:
        if packet is None or packet.quality_index not in (FINE, COARSE) or not packet.payload:
            self._last = 0.7 * self._last
            return self._last
        step = 4 if packet.quality_index == FINE else 16
        kept = np.frombuffer(packet.payload, np.int8)[: PACKET_SAMPLES // step].astype(np.float32) / 127
        self._last = np.interp(np.arange(PACKET_SAMPLES), np.arange(len(kept)) * step, kept).astype(np.float32)
        return self._last
