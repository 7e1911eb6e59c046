"""The sender's side of redundancy: coarser copies of the last packets ride along with each new one.

A datagram's headers outweigh a packet at call rates many times over, so a copy in the next packet costs a small part
of what a packet of its own would.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from streamcodec.codec.packet import MAX_REDUNDANT, SEQUENCE_MODULUS, Packet, RedundantCopy
from streamcodec.errors import StreamcodecError
from streamcodec.net.fragments import MAX_WHOLE_BYTES

RedundantForm = Callable[[Packet], "tuple[int, bytes] | None"]
"""Gives (level, payload) of a cheaper version of a packet just coded, or None where there is none."""


class Redundancy:
    """Attaches up to ``redundancy`` earlier packets' coarser payloads to each packet sent."""

    def __init__(
        self, encode_redundant: RedundantForm, redundancy: int = 0, *, max_packet_bytes: int = MAX_WHOLE_BYTES
    ) -> None:
        self._encode_redundant = encode_redundant
        self._max_packet_bytes = max_packet_bytes
        self._recent: deque[tuple[int, RedundantCopy]] = deque(maxlen=MAX_REDUNDANT)
        self.redundancy = redundancy

    @property
    def redundancy(self) -> int:
        """How many earlier packets ride along; may be changed at any time. Errors: outside 0 to 8."""
        return self._redundancy

    @redundancy.setter
    def redundancy(self, redundancy: int) -> None:
        if not 0 <= redundancy <= MAX_REDUNDANT:
            raise StreamcodecError(f"redundancy must be 0 to {MAX_REDUNDANT}, got {redundancy}")
        self._redundancy = redundancy

    def attach(self, packet: Packet) -> Packet:
        """The packet with copies of those before it, newest first, as many as fit the datagram."""
        chosen: list[RedundantCopy] = []
        room_bytes = self._max_packet_bytes - len(packet.to_bytes())
        for timestamp, copy in reversed(self._recent):
            age = (packet.timestamp - timestamp) % SEQUENCE_MODULUS
            cost_bytes = len(copy.payload) + 5
            if len(chosen) == self._redundancy or age > self._redundancy * packet.frames or cost_bytes > room_bytes:
                break
            if age == 0:
                continue
            room_bytes -= cost_bytes
            chosen.append(replace(copy, age=age))
        self._remember(packet)
        return replace(packet, redundant=tuple(chosen)) if chosen else packet

    def reset(self) -> None:
        """Forget the packets sent so far."""
        self._recent.clear()

    def _remember(self, packet: Packet) -> None:
        coarse = self._encode_redundant(packet)
        if coarse is not None:
            quality_index, payload = coarse
            self._recent.append((packet.timestamp, RedundantCopy(1, quality_index, packet.flags, payload)))
