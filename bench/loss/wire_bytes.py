"""What packets take on the wire in the compact framing of calls (``docs/wire-format.md``)."""

from __future__ import annotations

from dataclasses import dataclass

from streamcodec.codec.packet import Packet

SYNC_BYTES = 5
SYNC_FRAMES = 8
"""Sequence number and time stamp in full come every so many frames."""


@dataclass
class FrameCounter:
    """Adds up frames: a byte, now and then the position in full, the payload, and copies with a byte or two each."""

    frame_bytes: int = 0
    carried_bytes: int = 0
    """Payloads and copies, with what frames the copies."""
    _since_sync: int = SYNC_FRAMES

    def count(self, packet: Packet) -> None:
        """Take note of a packet sent."""
        self._since_sync += packet.frames
        if self._since_sync > SYNC_FRAMES:
            self.frame_bytes += SYNC_BYTES
            self._since_sync = packet.frames
        carried = len(packet.payload)
        age = 0
        for index, copy in enumerate(packet.redundant):
            age += packet.frames
            last = index == len(packet.redundant) - 1
            # A mark, an age where it is not the usual one, a length for each payload but the last.
            carried += 1 + len(copy.payload) + (copy.age != age) + (not last)
            age = copy.age
        carried += bool(packet.redundant)
        self.carried_bytes += carried
        self.frame_bytes += 1 + carried
