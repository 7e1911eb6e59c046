"""Packets that are longer than a datagram may be: cut into pieces by the sender, put together by the receiver.

Each piece is a datagram of its own, sealed and sent like any other; nothing is sent again, so a lost piece loses its
packet and no other. Layout, big-endian::

    byte 0      version (high nibble), 0xB (low nibble)
    byte 1      number of this piece, from 0
    byte 2      how many pieces there are, 2 to 64
    bytes 3-4   number of the packet among those cut, modulo 65,536
    then        the piece

Damage within a piece is found by the checksum of the packet it belongs to.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from streamcodec.errors import PacketError

VERSION = 1
MAX_WHOLE_BYTES = 1_070
"""Longer packets are cut. Leaves room to seal a datagram end to end and stay within its 1,100 bytes."""
MAX_PIECES = 64
_MARK = 0xB
_HEADER_BYTES = 5
MAX_PIECE_BYTES = MAX_WHOLE_BYTES - _HEADER_BYTES
_MODULUS = 1 << 16


@dataclass(frozen=True, slots=True)
class Fragment:
    """One piece of one packet. Errors: PacketError on fields out of range."""

    index: int
    count: int
    number: int
    """Of the packet among those that were cut."""
    piece: bytes

    def __post_init__(self) -> None:
        if not 2 <= self.count <= MAX_PIECES or not 0 <= self.index < self.count:
            raise PacketError(
                f"a packet is cut into 2 to {MAX_PIECES} pieces, got piece {self.index} of {self.count}"
            )
        if not 1 <= len(self.piece) <= MAX_PIECE_BYTES:
            raise PacketError(f"a piece has 1 to {MAX_PIECE_BYTES} bytes, got {len(self.piece)}")

    def to_bytes(self) -> bytes:
        """Serialise; the inverse of :meth:`from_bytes`."""
        return bytes((VERSION << 4 | _MARK, self.index, self.count)) + self.number.to_bytes(2, "big") + self.piece

    @classmethod
    def from_bytes(cls, data: bytes) -> Fragment:
        """Parse; raises PacketError."""
        if len(data) <= _HEADER_BYTES or not is_fragment(data):
            raise PacketError("not a piece of a packet")
        return cls(data[1], data[2], int.from_bytes(data[3:5], "big"), data[_HEADER_BYTES:])


def is_fragment(datagram: bytes) -> bool:
    """Whether a datagram begins as pieces do."""
    return bool(datagram) and datagram[0] == VERSION << 4 | _MARK


def pieces_of(size_bytes: int) -> int:
    """How many datagrams a packet of this size takes."""
    return 1 if size_bytes <= MAX_WHOLE_BYTES else -(-size_bytes // MAX_PIECE_BYTES)


class Fragmenter:
    """The sender's side; numbers the packets that it cuts."""

    def __init__(self) -> None:
        self._number = 0

    def split(self, packet: bytes) -> list[bytes]:
        """The datagrams of a packet: itself where it is short, pieces of nearly equal length where not.

        Errors: PacketError for more than 64 pieces.
        """
        count = pieces_of(len(packet))
        if count == 1:
            return [packet]
        size = -(-len(packet) // count)
        number, self._number = self._number, (self._number + 1) % _MODULUS
        return [
            Fragment(index, count, number, packet[index * size : (index + 1) * size]).to_bytes()
            for index in range(count)
        ]


@dataclass(slots=True)
class _Whole:
    count: int
    first_ms: float
    pieces: dict[int, bytes] = field(default_factory=dict)
    done: bool = False


class Reassembler:
    """The receiver's side, for one sender. Memory is bounded: 16 packets at a time, each for a second at most."""

    CAPACITY_PACKETS = 16
    LONGEST_MS = 1_000.0

    def __init__(self) -> None:
        self._wholes: OrderedDict[int, _Whole] = OrderedDict()
        self.incomplete = 0
        """Packets given up because a piece never came."""

    @property
    def held_bytes(self) -> int:
        """Memory in use, pieces only."""
        return sum(len(piece) for whole in self._wholes.values() for piece in whole.pieces.values())

    def add(self, datagram: bytes, now_ms: float) -> bytes | None:
        """Take a piece; the packet if it was the last one missing. Errors: PacketError."""
        fragment = Fragment.from_bytes(datagram)
        self._forget_old(now_ms)
        whole = self._wholes.get(fragment.number)
        if whole is None:
            whole = self._wholes[fragment.number] = _Whole(fragment.count, now_ms)
            if len(self._wholes) > self.CAPACITY_PACKETS:
                self._drop_oldest()
        if fragment.count != whole.count:
            raise PacketError(f"a piece of {fragment.count} where the others are of {whole.count}")
        if whole.done:
            return None
        whole.pieces.setdefault(fragment.index, fragment.piece)
        if len(whole.pieces) < whole.count:
            return None
        packet = b"".join(whole.pieces[index] for index in range(whole.count))
        # Remembered for a while without its pieces, so that a duplicate does not begin it anew.
        whole.done = True
        whole.pieces.clear()
        return packet

    def _forget_old(self, now_ms: float) -> None:
        while self._wholes and now_ms - next(iter(self._wholes.values())).first_ms > self.LONGEST_MS:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, whole = self._wholes.popitem(last=False)
        self.incomplete += not whole.done
