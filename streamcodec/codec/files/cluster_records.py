"""The records of a cluster: packets as they stand in a ``.sc`` file, read without making packets of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from streamcodec.codec.packet import MAX_FRAMES, MAX_PAYLOAD_BYTES, MAX_QUALITY_INDEX, PacketFlags
from streamcodec.codec.varint import take_varint

MAX_CLUSTER_PACKETS = 1 << 14
MAX_VARINT_BYTES = 9
MAX_TIME = (1 << 62) - 1
MAX_SKIPPED = 1 << 31
CUT_OFF = 1 << 63
"""A number whose end is not there: more than any may be."""
FRAMES_FOLLOW = 0x80


class PacketRecord(NamedTuple):
    """A packet as it stands in a cluster."""

    time: int
    frames: int
    mark: int
    """Flags (high nibble) and quality index."""
    body: bytes
    start: int
    end: int
    size: int
    """Bytes that it takes in the cluster, payload and all."""

    @property
    def is_key(self) -> bool:
        """Whether it decodes without any before it."""
        return bool(self.mark >> 4 & PacketFlags.KEY)

    def payload(self) -> bytes:
        """The coded sound."""
        return self.body[self.start : self.end]


SAME, FINER, COARSER, TOLD = range(4)
"""Kinds of a packet in a compact cluster: by its quality index beside that of the one before, or all is told."""
STEPS = {SAME: 0, FINER: 1, COARSER: -1}


def parse_compact_cluster(body: bytes) -> Iterator[PacketRecord]:
    """Packets of one cluster of a compact file; what does not parse ends it."""
    due, position = _take_varint(body, 0)
    count, position = _take_varint(body, position)
    if count > MAX_CLUSTER_PACKETS or due > MAX_TIME:
        return
    frames, mark = 1, -1
    for _ in range(count):
        begins = position
        joined, position = _take_varint(body, position)
        length, kind = joined >> 2, joined & 3
        skipped = 0
        if kind == TOLD:
            skipped, position = _take_varint(body, position)
            mark, frames, position = _take_mark(body, position, frames)
        elif mark < 0 or not 0 <= (mark & MAX_QUALITY_INDEX) + STEPS[kind] <= MAX_QUALITY_INDEX:
            return
        else:
            mark += STEPS[kind]
        record = _record(body, begins, position, length, due, skipped, frames, mark)
        if record is None:
            return
        yield record
        position, due = record.end, record.time + record.frames


def parse_cluster(body: bytes) -> Iterator[PacketRecord]:
    """Packets of one cluster; what does not parse ends it."""
    if len(body) < 9:
        return
    due = int.from_bytes(body[:8], "big")
    frames = 1
    count, position = _take_varint(body, 8)
    if count > MAX_CLUSTER_PACKETS or due > MAX_TIME:
        return
    for _ in range(count):
        begins = position
        skipped, position = _take_varint(body, position)
        mark, frames, position = _take_mark(body, position, frames)
        length, position = _take_varint(body, position)
        record = _record(body, begins, position, length, due, skipped, frames, mark)
        if record is None:
            return
        yield record
        position, due = record.end, record.time + record.frames


def _record(
    body: bytes, begins: int, position: int, length: int, due: int, skipped: int, frames: int, mark: int
) -> PacketRecord | None:
    """The packet that begins at ``begins``, its payload at ``position``.

    None where a part of it is cut off or is beyond what a writer makes.
    """
    end = position + length
    possible = skipped <= MAX_SKIPPED and 1 <= frames <= MAX_FRAMES and length <= MAX_PAYLOAD_BYTES
    if not possible or end > len(body):
        return None
    return PacketRecord(due + skipped, frames, mark, body, position, end, end - begins)


def _take_varint(data: bytes, position: int) -> tuple[int, int]:
    """Value and the position behind it; ``CUT_OFF`` and the end of ``data`` where there is no end to the number."""
    return take_varint(data, position, MAX_VARINT_BYTES) or (CUT_OFF, len(data))


def _take_mark(data: bytes, position: int, frames: int) -> tuple[int, int, int]:
    """Flags and quality index, frames of this and later packets (0 where they are cut off), the position behind.

    ``frames`` are those of the packet before.
    """
    if position >= len(data):
        return 0, 0, position
    mark = data[position]
    if not mark & FRAMES_FOLLOW:
        return mark, frames, position + 1
    told = data[position + 1] if position + 1 < len(data) else 0
    return mark & ~FRAMES_FOLLOW, told, position + 2
