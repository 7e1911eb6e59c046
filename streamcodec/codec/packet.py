"""The packet: what travels over a datagram, a websocket message or a file record.

Layout, big-endian::

    byte 0      version (high nibble), tier (low nibble)
    byte 1      flags (high nibble), quality index (low nibble)
    bytes 2-3   sequence number: counts frames sent, wraps at 65,536
    bytes 4-5   timestamp: media time of the first frame in frame durations, wraps at 65,536
    varint      payload length, then the payload
    byte        frames in the packet less one (high nibble), number of redundant copies (low nibble); for each copy:
                age (1 byte, frame durations before the timestamp), flags and quality index (1 byte), varint length,
                payload
    2 bytes     CRC-16 (CCITT) of everything before

Ten bytes more than a payload of up to 127 bytes where no copies are carried. A copy holds as many frames as the
packet that carries it. An empty copy stands for nothing: it announces that copies of its age will come.
"""

from __future__ import annotations

import binascii
import enum
from dataclasses import dataclass, field, replace

from streamcodec.codec.varint import varint
from streamcodec.errors import PacketError

VERSION = 1
MIN_PACKET_BYTES = 10
MAX_PAYLOAD_BYTES = 60_000
MAX_REDUNDANT = 8
MAX_FRAMES = 6
MAX_QUALITY_INDEX = 15
SEQUENCE_MODULUS = 1 << 16
_CRC_SEED = 0xFFFF


class Tier(enum.IntEnum):
    """Which coder made the payload."""

    NEURAL = 0
    NEAR_LOSSLESS = 1
    LOSSLESS = 2


class PacketFlags(enum.IntFlag):
    """What a decoder must know before it reads the payload."""

    NONE = 0
    KEY = 1
    """Decodes without any earlier packet."""
    SILENCE = 2
    """Discontinuous transmission: nothing follows until sound returns; play comfort noise."""
    END = 4
    """Last packet of the stream."""


# Enumerations are slow: they look their values up.
_KEY = int(PacketFlags.KEY)
_TIERS = {int(tier): tier for tier in Tier}
_FLAGS = tuple(PacketFlags(nibble) for nibble in range(8))


@dataclass(frozen=True, slots=True)
class RedundantCopy:
    """A coarser copy of an earlier packet's payload."""

    age: int
    """How many frame durations before the carrying packet's timestamp, 1 to 255."""
    quality_index: int
    flags: PacketFlags
    payload: bytes


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet of coded sound.

    ``sequence`` counts frames sent and ``timestamp`` counts frame durations of media time; both wrap at 65,536 and
    are extended by the receiver. A packet of several ``frames`` is taken apart by :meth:`each_frame` before it is
    played; ``part`` then says which frame is meant. Errors: constructing or parsing out-of-range fields raises
    PacketError.
    """

    tier: Tier
    sequence: int
    timestamp: int
    quality_index: int
    flags: PacketFlags
    payload: bytes
    redundant: tuple[RedundantCopy, ...] = field(default=())
    frames: int = 1
    part: int | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.sequence < SEQUENCE_MODULUS and 0 <= self.timestamp < SEQUENCE_MODULUS):
            raise PacketError(f"sequence and timestamp must be 0 to 65535, got {self.sequence} and {self.timestamp}")
        if not 0 <= self.quality_index <= MAX_QUALITY_INDEX:
            raise PacketError(f"quality_index must be 0 to {MAX_QUALITY_INDEX}, got {self.quality_index}")
        if len(self.payload) > MAX_PAYLOAD_BYTES:
            raise PacketError(f"payload must be at most {MAX_PAYLOAD_BYTES} bytes, got {len(self.payload)}")
        if len(self.redundant) > MAX_REDUNDANT:
            raise PacketError(f"at most {MAX_REDUNDANT} redundant copies fit, got {len(self.redundant)}")
        if not 1 <= self.frames <= MAX_FRAMES:
            raise PacketError(f"a packet holds 1 to {MAX_FRAMES} frames, got {self.frames}")
        if self.part is not None and not 0 <= self.part < self.frames:
            raise PacketError(f"part must be below {self.frames}, the number of frames, got {self.part}")

    @property
    def is_key(self) -> bool:
        """Whether this packet decodes without any earlier one."""
        return bool(int(self.flags) & _KEY)

    def each_frame(self) -> tuple[Packet, ...]:
        """The same packet once for each of its frames, with that frame's sequence number and timestamp.

        The entries share payload and copies: whichever of them are played, in order, can be decoded.
        """
        if self.frames == 1 or self.part is not None:
            return (self,)
        return tuple(
            replace(
                self,
                sequence=(self.sequence + k) % SEQUENCE_MODULUS,
                timestamp=(self.timestamp + k) % SEQUENCE_MODULUS,
                part=k,
            )
            for k in range(self.frames)
        )

    def to_bytes(self) -> bytes:
        """Serialise; the inverse of :meth:`from_bytes`. Only whole packets travel: PacketError for a part."""
        if self.part is not None:
            raise PacketError("one frame of a packet cannot be sent without the others: send the packet")
        out = bytearray()
        out.append(VERSION << 4 | self.tier)
        out.append(int(self.flags) << 4 | self.quality_index)
        out += self.sequence.to_bytes(2, "big")
        out += self.timestamp.to_bytes(2, "big")
        _append_chunk(out, self.payload)
        out.append((self.frames - 1) << 4 | len(self.redundant))
        for copy in self.redundant:
            out.append(copy.age)
            out.append(int(copy.flags) << 4 | copy.quality_index)
            _append_chunk(out, copy.payload)
        out += binascii.crc_hqx(bytes(out), _CRC_SEED).to_bytes(2, "big")
        return bytes(out)

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Packet:
        """Parse and check every length and the CRC before anything is used; raises PacketError."""
        data = bytes(data)
        if len(data) < MIN_PACKET_BYTES:
            raise PacketError(f"a packet has at least {MIN_PACKET_BYTES} bytes, got {len(data)}")
        if data[0] >> 4 != VERSION:
            raise PacketError(f"packet version {data[0] >> 4} is not the {VERSION} this build reads")
        if binascii.crc_hqx(data[:-2], _CRC_SEED) != int.from_bytes(data[-2:], "big"):
            raise PacketError("packet checksum does not match: the packet is damaged or cut short")
        tier = _TIERS.get(data[0] & 15)
        if tier is None:
            raise PacketError(f"packet tier {data[0] & 15} is unknown to this build")
        body = data[:-2]
        payload, position = _take_chunk(body, 6)
        if position >= len(body):
            raise PacketError("packet ends before its redundancy count")
        count, frames = body[position] & 15, 1 + (body[position] >> 4)
        position += 1
        if frames > MAX_FRAMES:
            raise PacketError(f"packet claims {frames} frames, at most {MAX_FRAMES} are allowed")
        if count > MAX_REDUNDANT:
            raise PacketError(f"packet claims {count} redundant copies, at most {MAX_REDUNDANT} are allowed")
        redundancy = []
        for _ in range(count):
            if position + 2 > len(body):
                raise PacketError("packet ends inside a redundant copy")
            age, mark = body[position], body[position + 1]
            chunk, position = _take_chunk(body, position + 2)
            redundancy.append(RedundantCopy(age, mark & 15, _flags(mark >> 4), chunk))
        if position != len(body):
            raise PacketError(f"packet has {len(body) - position} bytes more than its lengths account for")
        return cls(
            tier=tier,
            sequence=int.from_bytes(data[2:4], "big"),
            timestamp=int.from_bytes(data[4:6], "big"),
            quality_index=data[1] & 15,
            flags=_flags(data[1] >> 4),
            payload=payload,
            redundant=tuple(redundancy),
            frames=frames,
        )


def _flags(nibble: int) -> PacketFlags:
    if nibble & ~7:
        raise PacketError(f"packet flags {nibble:#x} use a bit this build does not know")
    return _FLAGS[nibble]


def _append_chunk(out: bytearray, chunk: bytes) -> None:
    out += varint(len(chunk))
    out += chunk


def _take_chunk(data: bytes, position: int) -> tuple[bytes, int]:
    length = 0
    for shift in (0, 7, 14):
        if position >= len(data):
            raise PacketError("packet ends inside a length")
        byte = data[position]
        position += 1
        length |= (byte & 127) << shift
        if byte < 128:
            break
    else:
        raise PacketError("packet has a length of more than three bytes")
    if length > MAX_PAYLOAD_BYTES or position + length > len(data):
        raise PacketError(f"packet claims a chunk of {length} bytes where {len(data) - position} remain")
    return data[position : position + length], position + length
