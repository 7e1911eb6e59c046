"""How much silence a file may claim: a bound on what is decoded where no packets stand."""

from __future__ import annotations

from streamcodec.codec.packet import MAX_FRAMES, Tier

SILENT_FRAMES = 25
"""Frame durations without a packet behind one: discontinuous transmission sends one each 0.4 s."""
LEAST_PACKET_BYTES = 3
"""Of one that may be followed by so many, in either form of a file: frames skipped, flags, length.

In the compact form a packet without payload may take one byte; one of discontinuous transmission, between pauses,
takes three.
"""
MAX_SILENT_FRAMES = 1_500
"""Of those that no damage accounts for, at once."""
FRAMES_PER_DAMAGED_BYTE = 5
"""Frames that a byte of a neural stream in its pauses stands for."""
BYTES_PER_DAMAGED_FRAME = 5
"""What the waveform tiers need at least for a frame, of silence."""


class SilenceBudget:
    """Frame durations that may pass without a packet, earned by packets and by bytes that are damaged."""

    def __init__(self, tier: Tier) -> None:
        neural = tier is Tier.NEURAL
        self.longest_pause = SILENT_FRAMES if neural else 0
        """Frame durations between clusters in which nothing need have been sent; more are missing."""
        self._per_packet = SILENT_FRAMES if neural else 1
        self._frames_per_byte = FRAMES_PER_DAMAGED_BYTE if neural else 1 / BYTES_PER_DAMAGED_FRAME
        self.left = 0

    def earn_packet(self, frames: int, size: int) -> None:
        """Count a packet of so many frames that takes ``size`` bytes in its cluster.

        Frames and silence together are bounded by these bytes.
        """
        earned = self._per_packet
        if size < LEAST_PACKET_BYTES:
            earned = min(earned, size * (SILENT_FRAMES + MAX_FRAMES) // LEAST_PACKET_BYTES - frames)
        self.left = min(self.left + earned, MAX_SILENT_FRAMES)

    def earn_damage(self, count_bytes: int) -> None:
        self.left += int(self._frames_per_byte * count_bytes)

    def spend(self, frames: int) -> int:
        """So many frames, or as many as there are."""
        spent = min(frames, self.left)
        self.left -= spent
        return spent
