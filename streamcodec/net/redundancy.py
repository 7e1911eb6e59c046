"""The sender's side of redundancy: coarser copies of the last packets ride along with each new one.

A datagram's headers outweigh a packet at call rates many times over, so a copy in a later packet costs a small part
of what a packet of its own would. Which packets ride along: :mod:`streamcodec.net.copy_plan`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from streamcodec.codec.packet import MAX_REDUNDANT, SEQUENCE_MODULUS, Packet, PacketFlags, RedundantCopy
from streamcodec.errors import StreamcodecError
from streamcodec.net.fragments import MAX_WHOLE_BYTES

RedundantForm = Callable[[Packet, float], "tuple[int, bytes] | None"]
"""Gives (quality index, payload) of a packet coded a moment ago at a share of its rate, None where there is none."""
FIRST_SHARE, LATER = 0.5, 0.8
"""Rate of a packet's first copy beside the packet's own, and of later ones beside the first's: a second copy is
seldom played, it takes the loss of the packet and of the first."""


def copies_share(first_share: float, count: int) -> float:
    """Rate of so many copies together beside a packet's."""
    return first_share * (1.0 + LATER * (count - 1)) if count else 0.0


class Redundancy:
    """Attaches to each packet sent coarser payloads of earlier ones, those that went out :attr:`ages` packets ago."""

    def __init__(
        self, encode_redundant: RedundantForm, redundancy: int = 0, *, max_packet_bytes: int = MAX_WHOLE_BYTES
    ) -> None:
        self._encode_redundant = encode_redundant
        self._max_packet_bytes = max_packet_bytes
        self._recent: deque[Packet] = deque(maxlen=MAX_REDUNDANT)
        self._ages: tuple[int, ...] = ()
        self.share = FIRST_SHARE
        self.redundancy = redundancy

    @property
    def redundancy(self) -> int:
        """How many earlier packets ride along; setting it takes the last so many. Errors: outside 0 to 8."""
        return len(self._ages)

    @redundancy.setter
    def redundancy(self, redundancy: int) -> None:
        if not 0 <= redundancy <= MAX_REDUNDANT:
            raise StreamcodecError(f"redundancy must be 0 to {MAX_REDUNDANT}, got {redundancy}")
        self._ages = tuple(range(1, redundancy + 1))

    @property
    def ages(self) -> tuple[int, ...]:
        """Which packets ride along: how many packets ago they were sent. Errors: outside 1 to 8, or not ascending."""
        return self._ages

    @ages.setter
    def ages(self, ages: tuple[int, ...]) -> None:
        if list(ages) != sorted(set(ages)) or not all(1 <= age <= MAX_REDUNDANT for age in ages):
            raise StreamcodecError(f"ages of copies must be 1 to {MAX_REDUNDANT} packets, ascending, got {ages}")
        self._ages = ages

    def attach(self, packet: Packet) -> Packet:
        """The packet with copies of those before it, newest first, as many as fit the datagram.

        Left out is what would be of no use: older in media time than in packets (sent before a pause). A copy is as
        long as the packet that carries it; after a change of length it may begin and end within earlier packets. A
        stream's first packets, which have nothing to carry, announce by an empty copy how old the copies will be.
        """
        chosen: list[RedundantCopy] = []
        room_bytes = self._max_packet_bytes - len(packet.to_bytes())
        for back in self._ages:
            copy = self._copy(back, packet) if back <= len(self._recent) else None
            if copy is None:
                continue
            cost_bytes = len(copy.payload) + 5
            if cost_bytes <= room_bytes:
                room_bytes -= cost_bytes
                chosen.append(copy)
        oldest = self._ages[-1] * packet.frames if self._ages else 0
        carried = max((copy.age for copy in chosen), default=0)
        if carried < oldest and len(self._recent) < self._ages[-1] and self._encode_redundant(packet, self.share):
            # The receiver had better begin with the delay that the copies to come ask for.
            chosen.append(RedundantCopy(oldest, 0, PacketFlags.KEY, b""))
        self._recent.append(packet)
        return replace(packet, redundant=tuple(chosen)) if chosen else packet

    def reset(self) -> None:
        """Forget the packets sent so far."""
        self._recent.clear()

    def _copy(self, back: int, carrier: Packet) -> RedundantCopy | None:
        earlier: Packet | None = self._recent[-back]
        if earlier is not None and earlier.frames != carrier.frames:
            earlier = self._stretch((carrier.timestamp - back * carrier.frames) % SEQUENCE_MODULUS, carrier.frames)
        if earlier is None:
            return None
        age = (carrier.timestamp - earlier.timestamp) % SEQUENCE_MODULUS
        if not 0 < age <= self._ages[-1] * carrier.frames:
            return None
        coarse = self._encode_redundant(earlier, self.share if back == self._ages[0] else LATER * self.share)
        return None if coarse is None else RedundantCopy(age, coarse[0], earlier.flags, coarse[1])

    def _stretch(self, timestamp: int, frames: int) -> Packet | None:
        """So many frames that were sent without a pause in packets of another length, named as one packet."""
        named: Packet | None = None
        found = 0
        for packet in self._recent:
            into = (timestamp + found - packet.timestamp) % SEQUENCE_MODULUS
            if into >= packet.frames:
                continue
            if named is None:
                sequence = (packet.sequence + into) % SEQUENCE_MODULUS
                named = replace(packet, sequence=sequence, timestamp=timestamp, frames=frames, payload=b"")
            elif packet.flags != named.flags:
                return None
            found += packet.frames - into
        return named if found >= frames else None
