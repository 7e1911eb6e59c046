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

import enum
import operator
from dataclasses import dataclass, field, replace

from streamcodec.codec.checksum import fits_checksum, with_checksum
from streamcodec.codec.varint import varint
from streamcodec.errors import PacketError

VERSION = 1
MIN_PACKET_BYTES = 10
MAX_PAYLOAD_BYTES = 60_000
MAX_REDUNDANT = 8
MAX_FRAMES = 6
MAX_QUALITY_INDEX = 15
MAX_AGE = 255
SEQUENCE_MODULUS = 1 << 16


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
    """A coarser copy of an earlier packet's payload.

    Errors: fields that are out of range or of another type raise PacketError.
    """

    age: int
    """How many frame durations before the carrying packet's timestamp, 1 to 255; 0 is read, and brings nothing."""
    quality_index: int
    flags: PacketFlags
    payload: bytes

    def __post_init__(self) -> None:
        if not (
            type(self.age) is type(self.quality_index) is int
            and type(self.flags) is PacketFlags
            and 0 <= self.flags < len(_FLAGS)
            and type(self.payload) is bytes
        ):
            _set_types(self, ("age", "quality_index"))
        if not 0 <= self.age <= MAX_AGE:
            raise PacketError(f"the age of a redundant copy must be 1 to {MAX_AGE}, got {self.age}")
        _check_coded(self)


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet of coded sound.

    ``sequence`` counts frames sent and ``timestamp`` counts frame durations of media time; both wrap at 65,536 and
    are extended by the receiver. A packet of several ``frames`` is taken apart by :meth:`each_frame` before it is
    played; ``part`` then says which frame is meant. Errors: constructing or parsing fields that are out of range or
    of another type raises PacketError.
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
        if not (
            type(self.sequence) is type(self.timestamp) is type(self.quality_index) is type(self.frames) is int
            and type(self.tier) is Tier
            and type(self.flags) is PacketFlags
            and 0 <= self.flags < len(_FLAGS)
            and type(self.payload) is bytes
            and type(self.redundant) is tuple
        ):
            self._set_types()
        if not (0 <= self.sequence < SEQUENCE_MODULUS and 0 <= self.timestamp < SEQUENCE_MODULUS):
            raise PacketError(f"sequence and timestamp must be 0 to 65535, got {self.sequence} and {self.timestamp}")
        _check_coded(self)
        if len(self.redundant) > MAX_REDUNDANT:
            raise PacketError(f"at most {MAX_REDUNDANT} redundant copies fit, got {len(self.redundant)}")
        for copy in self.redundant:
            if type(copy) is not RedundantCopy:
                raise PacketError(f"redundant must hold RedundantCopy objects, got {type(copy).__name__}")
        if not 1 <= self.frames <= MAX_FRAMES:
            raise PacketError(f"a packet holds 1 to {MAX_FRAMES} frames, got {self.frames}")
        if self.part is not None:
            if type(self.part) is not int:
                _set_whole(self, "part")
            if not 0 <= self.part < self.frames:
                raise PacketError(f"part must be below {self.frames}, the number of frames, got {self.part}")

    def _set_types(self) -> None:
        _set_types(self, ("sequence", "timestamp", "quality_index", "frames"))
        if not isinstance(self.tier, int) or self.tier not in _TIERS:
            raise PacketError(f"tier must be Tier.NEURAL, Tier.NEAR_LOSSLESS or Tier.LOSSLESS, got {self.tier!r}")
        object.__setattr__(self, "tier", _TIERS[self.tier])
        if not isinstance(self.redundant, tuple | list):
            raise PacketError(f"redundant must be a tuple of RedundantCopy, got {type(self.redundant).__name__}")
        object.__setattr__(self, "redundant", tuple(self.redundant))

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
        return with_checksum(out)

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Packet:
        """Parse and check every length and the CRC before anything is used; raises PacketError."""
        data = _as_bytes("a packet to parse", data)
        if len(data) < MIN_PACKET_BYTES:
            raise PacketError(f"a packet has at least {MIN_PACKET_BYTES} bytes, got {len(data)}")
        if data[0] >> 4 != VERSION:
            raise PacketError(f"packet version {data[0] >> 4} is not the {VERSION} this build reads")
        if not fits_checksum(data):
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


def _set_types(coded: Packet | RedundantCopy, whole: tuple[str, ...]) -> None:
    """Make what both have in common of the types that it should be of; PacketError where it cannot be."""
    for name in whole:
        _set_whole(coded, name)
    if not isinstance(coded.flags, int) or not 0 <= coded.flags < len(_FLAGS):
        raise PacketError(f"flags must be PacketFlags (KEY, SILENCE, END, or NONE), got {coded.flags!r}")
    object.__setattr__(coded, "flags", _FLAGS[coded.flags])
    object.__setattr__(coded, "payload", _as_bytes("payload", coded.payload))


def _set_whole(coded: Packet | RedundantCopy, name: str) -> None:
    value = getattr(coded, name)
    try:
        if isinstance(value, bool):
            raise TypeError
        object.__setattr__(coded, name, operator.index(value))
    except TypeError:
        raise PacketError(f"{name} must be an int, got {value!r}") from None


def _as_bytes(what: str, data: object) -> bytes:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise PacketError(f"{what} must be bytes, got {type(data).__name__}")
    return bytes(data)


def _check_coded(coded: Packet | RedundantCopy) -> None:
    if not 0 <= coded.quality_index <= MAX_QUALITY_INDEX:
        raise PacketError(f"quality_index must be 0 to {MAX_QUALITY_INDEX}, got {coded.quality_index}")
    if len(coded.payload) > MAX_PAYLOAD_BYTES:
        raise PacketError(f"payload must be at most {MAX_PAYLOAD_BYTES} bytes, got {len(coded.payload)}")


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
