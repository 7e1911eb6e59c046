"""Compact media framing: what a packet, a report or a piece of a packet looks like between two peers of a call.

A datagram of ours stands on its own (``Packet.to_bytes``: 10 bytes around a payload). On a line whose two ends keep
state most of that is known already, and the transport authenticates what it carries. A packet then takes one byte,
or two where the transport has no time stamps; ``docs/wire-format.md`` holds the layout byte by byte.

:class:`Framer` turns datagrams into frames, :class:`Deframer` frames into the same datagrams. Sequence number and
time stamp in full come often enough for whoever starts to listen late.
"""

from __future__ import annotations

from dataclasses import dataclass

from streamcodec.codec.checksum import with_checksum
from streamcodec.codec.packet import (
    MAX_FRAMES,
    MAX_REDUNDANT,
    SEQUENCE_MODULUS,
    Packet,
    PacketFlags,
    RedundantCopy,
    Tier,
)
from streamcodec.errors import PacketError
from streamcodec.net.report import FIRST_BYTE, REPORT_BYTES, is_report
from streamcodec.net.wrapped_numbers import extend

WIRE_VERSION = 1
SYNC_FRAMES = 8
"""Sequence number and time stamp are repeated in full after this many frames: three times in half a second."""
REPEATED_SYNCS = 3
"""How many packets in a row carry them at the beginning, and after a pause of the sender."""
LONGEST_GAP_MS = 1_500.0
"""After a longer silence eight bits no longer tell where a packet belongs."""
MOST_FRAMING_BYTES = 1
"""A frame is never longer than what it carries by more than this (a report that rides with it aside)."""
HEARTBEAT = b"\xf0"

_DETAILED = 12
_SYNC = 13
_REPORT = 14
_RAW = 0xF1
_COPIES_FROM = 6
_POSITIONS = 256
_SYNC_BYTES = 5
_LONGEST_CHUNK_BYTES = 1 << 14
_FLAGS = 7
_HAS_COPIES = 8
_COPY_AGE, _COPY_LAST, _COPY_SILENCE, _COPY_KEY = 0x80, 0x40, 0x20, 0x10
_COPY_FLAGS = PacketFlags.KEY | PacketFlags.SILENCE


class Framer:
    """The sender's side of one path, or of several that carry the same frames.

    ``numbered`` says that the transport has time stamps of its own (RTP): :attr:`unit` is what to put there.
    """

    def __init__(self, *, numbered: bool = False) -> None:
        self._numbered = numbered
        self.unit = 0
        """Time stamp of the last packet, extended over wraps, in frames."""
        self._started = False
        self._last_sync_unit = 0
        self._offset = 0
        self._tier = Tier.NEURAL
        self._syncs_due = 0

    def frame(self, datagram: bytes, report: bytes | None = None) -> bytes:
        """One datagram as it travels, with a ``report`` of ours before it if there is one to send.

        What cannot be said compactly travels whole behind one byte, so anything may be given.
        """
        head = b"" if report is None else _report_block(report)
        if is_report(datagram):
            return head + _report_block(datagram)
        try:
            packet = Packet.from_bytes(datagram)
        except PacketError:
            return head + bytes((_RAW,)) + datagram
        longest = max((len(copy.payload) for copy in packet.redundant), default=0)
        odd = any(copy.flags & ~_COPY_FLAGS or not copy.age for copy in packet.redundant)
        if odd or max(longest, len(packet.payload)) >= _LONGEST_CHUNK_BYTES:
            return head + bytes((_RAW,)) + datagram
        return self._sync(packet) + head + self._media(packet)

    def _sync(self, packet: Packet) -> bytes:
        """Sequence number and time stamp in full, where they are due."""
        offset = (packet.timestamp - packet.sequence) % SEQUENCE_MODULUS
        if not self._started or packet.tier is not self._tier:
            self.unit = packet.timestamp if not self._started else extend(packet.timestamp, self.unit)
            self._started, self._tier = True, packet.tier
            self._syncs_due = REPEATED_SYNCS
        else:
            before = self.unit
            self.unit = extend(packet.timestamp, before)
            if offset != self._offset or abs(self.unit - before) >= _POSITIONS // 4:
                self._syncs_due = REPEATED_SYNCS
        self._offset = offset
        overdue = self.unit + packet.frames - self._last_sync_unit > SYNC_FRAMES
        if not self._syncs_due and not overdue:
            return b""
        self._syncs_due = max(0, self._syncs_due - 1)
        self._last_sync_unit = self.unit
        return (
            bytes((_SYNC << 4 | WIRE_VERSION << 2 | packet.tier,))
            + packet.sequence.to_bytes(2, "big")
            + packet.timestamp.to_bytes(2, "big")
        )

    def _media(self, packet: Packet) -> bytes:
        out = bytearray()
        plain = packet.flags == PacketFlags.KEY
        kind = packet.frames - 1 + (_COPIES_FROM if packet.redundant else 0) if plain else _DETAILED
        out.append(kind << 4 | packet.quality_index)
        if not self._numbered:
            out.append(packet.timestamp % _POSITIONS)
        if not plain:
            out.append((packet.frames - 1) << 4 | (_HAS_COPIES if packet.redundant else 0) | int(packet.flags))
        if packet.redundant:
            _append_length(out, len(packet.payload))
        out += packet.payload
        usual_age = 0
        for index, copy in enumerate(packet.redundant):
            usual_age += packet.frames
            last = index == len(packet.redundant) - 1
            out.append(
                (_COPY_AGE if copy.age != usual_age else 0)
                | (_COPY_LAST if last else 0)
                | (_COPY_SILENCE if copy.flags & PacketFlags.SILENCE else 0)
                | (_COPY_KEY if copy.flags & PacketFlags.KEY else 0)
                | copy.quality_index
            )
            if copy.age != usual_age:
                out.append(copy.age)
            usual_age = copy.age
            if not last:
                _append_length(out, len(copy.payload))
            out += copy.payload
        return bytes(out)


@dataclass(slots=True)
class DeframerStats:
    """Counts since the start."""

    damaged: int = 0
    """Frames that are none, or of another version of this framing."""
    unplaced: int = 0
    """Packets that came before it was known where they belong."""


class Deframer:
    """The receiver's side, for one sender on one path. Never raises: what is damaged is counted and left out."""

    def __init__(self) -> None:
        self.stats = DeframerStats()
        self._tier: Tier | None = None
        self._offset = 0
        self._unit = 0
        """Of the last packet: its time stamp, extended."""
        self._base = 0
        """What to add to the transport's own time stamps."""
        self._heard_ms = float("-inf")

    def take(self, frame: bytes, now_ms: float, unit: int | None = None) -> list[bytes]:
        """The datagrams in a frame: up to one report and one packet.

        ``unit`` is the transport's own time stamp in frames, from any origin, extended over wraps; None where it has
        none.
        """
        found: list[bytes] = []
        try:
            self._parse(frame, now_ms, unit, found)
        except (PacketError, IndexError):
            self.stats.damaged += 1
        return found

    def _parse(self, frame: bytes, now_ms: float, unit: int | None, found: list[bytes]) -> None:
        at = 0
        if unit is None and now_ms - self._heard_ms > LONGEST_GAP_MS:
            self._tier = None
        while at < len(frame):
            first = frame[at]
            if first == HEARTBEAT[0]:
                at += 1
            elif first == _RAW:
                found.append(frame[at + 1 :])
                return
            elif first >> 4 == _SYNC:
                at = self._take_sync(frame, at, unit)
            elif first >> 4 == _REPORT:
                at = _take_report(frame, at, found)
            elif first >> 4 <= _DETAILED:
                self._take_media(frame, at, unit, found)
                self._heard_ms = now_ms
                return
            else:
                raise PacketError(f"byte {first:#x} begins no frame that this build knows")

    def _take_sync(self, frame: bytes, at: int, unit: int | None) -> int:
        if at + _SYNC_BYTES > len(frame):
            raise PacketError("a frame ends inside its sequence number")
        version = frame[at] >> 2 & 3
        if version != WIRE_VERSION:
            raise PacketError(f"framing version {version} is not the {WIRE_VERSION} this build reads")
        try:
            tier = Tier(frame[at] & 3)
        except ValueError as error:
            raise PacketError(f"packet tier {frame[at] & 3} is unknown to this build") from error
        sequence = int.from_bytes(frame[at + 1 : at + 3], "big")
        timestamp = int.from_bytes(frame[at + 3 : at + 5], "big")
        self._offset = (timestamp - sequence) % SEQUENCE_MODULUS
        self._unit = timestamp if self._tier is None else extend(timestamp, self._unit)
        self._base = self._unit - (unit or 0)
        self._tier = tier
        return at + _SYNC_BYTES

    def _take_media(self, frame: bytes, at: int, unit: int | None, found: list[bytes]) -> None:
        kind, quality_index = frame[at] >> 4, frame[at] & 15
        at += 1
        position = None
        if unit is None:
            position = frame[at]
            at += 1
        flags, frames, has_copies = PacketFlags.KEY, kind % _COPIES_FROM + 1, kind >= _COPIES_FROM
        if kind == _DETAILED:
            frames, has_copies = (frame[at] >> 4) + 1, bool(frame[at] & _HAS_COPIES)
            flags = PacketFlags(frame[at] & _FLAGS)
            at += 1
            if frames > MAX_FRAMES:
                raise PacketError(f"a frame claims {frames} frames of sound, at most {MAX_FRAMES} are allowed")
        if self._tier is None:
            self.stats.unplaced += 1
            return
        payload = frame[at:]
        redundancy: tuple[RedundantCopy, ...] = ()
        if has_copies:
            payload, at = _take_chunk(frame, at)
            redundancy = _take_copies(frame, at, frames)
        if position is not None:
            self._unit = extend(position, self._unit, _POSITIONS)
        else:
            self._unit = (unit or 0) + self._base
        timestamp = self._unit % SEQUENCE_MODULUS
        sequence = (self._unit - self._offset) % SEQUENCE_MODULUS
        packet = Packet(self._tier, sequence, timestamp, quality_index, flags, payload, redundancy, frames)
        found.append(packet.to_bytes())


def _report_block(report: bytes) -> bytes:
    """A report without its checksum: what carries it is authenticated."""
    body = report[1:-2]
    return bytes((_REPORT << 4, len(body))) + body


def _take_report(frame: bytes, at: int, found: list[bytes]) -> int:
    length = frame[at + 1]
    end = at + 2 + length
    if end > len(frame):
        raise PacketError("a frame ends inside a report")
    if frame[at] == _REPORT << 4 and length == REPORT_BYTES - 3:
        found.append(with_checksum(bytes((FIRST_BYTE,)) + frame[at + 2 : end]))
    # Of another version, and its length is known: what comes after it may still be of use.
    return end


def _take_copies(frame: bytes, at: int, frames: int) -> tuple[RedundantCopy, ...]:
    redundancy: list[RedundantCopy] = []
    age = 0
    last = False
    while not last:
        if len(redundancy) == MAX_REDUNDANT:
            raise PacketError(f"a frame has more than {MAX_REDUNDANT} redundant copies")
        mark = frame[at]
        at += 1
        age += frames
        if mark & _COPY_AGE:
            age = frame[at]
            at += 1
        last = bool(mark & _COPY_LAST)
        flags = PacketFlags((mark & _COPY_KEY and 1) | (mark & _COPY_SILENCE and 2))
        if last:
            payload = frame[at:]
        else:
            payload, at = _take_chunk(frame, at)
        redundancy.append(RedundantCopy(min(max(age, 1), 255), mark & 15, flags, payload))
    return tuple(redundancy)


def _append_length(out: bytearray, length: int) -> None:
    if length >= 128:
        out.append(length >> 7 | 128)
    out.append(length & 127)


def _take_chunk(frame: bytes, at: int) -> tuple[bytes, int]:
    length = frame[at]
    at += 1
    if length >= 128:
        length = (length & 127) << 7 | frame[at]
        at += 1
    if at + length > len(frame):
        raise PacketError(f"a frame claims a chunk of {length} bytes where {len(frame) - at} remain")
    return frame[at : at + length], at + length
