"""The records of a cluster: packets as they stand in a ``.sc`` file, read without making packets of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from streamcodec.codec.packet import MAX_FRAMES, MAX_PAYLOAD_BYTES, MAX_QUALITY_INDEX, PacketFlags
from streamcodec.codec.varint import take_varint

MAX_CLUSTER_PACKETS = 1 << 14
MAX_VARINT_BYTES = 9
FRAMES_FOLLOW = 0x80


class PacketRecord(NamedTuple):
    """A packet as it stands in a cluster."""

    time: int
    frames: int
    mark: int
    body: bytes
    start: int
    end: int

    @property
    def is_key(self) -> bool:
        """Whether it decodes without any before it."""
        return bool(self.mark >> 4 & PacketFlags.KEY)

    def payload(self) -> bytes:
        """The coded sound."""
        return self.body[self.start : self.end]


SAME, FINER, COARSER, TOLD = range(4)
"""Kinds of a packet in a compact cluster: by its quality index beside that of the one before, or all is told."""


def parse_compact_cluster(body: bytes) -> Iterator[PacketRecord]:
    """Packets of one cluster of a compact file; what does not parse ends it."""
    due, position = _take_varint(body, 0)
    count, position = _take_varint(body, position)
    if count > MAX_CLUSTER_PACKETS or due >= 1 << 62:
        return
    frames, mark = 1, -1
    for _ in range(count):
        joined, position = _take_varint(body, position)
        length, kind = joined >> 2, joined & 3
        skipped = 0
        if kind == TOLD:
            skipped, position = _take_varint(body, position)
            if position >= len(body):
                break
            mark = body[position]
            position += 1
            if mark & FRAMES_FOLLOW and position < len(body):
                frames = body[position]
                position += 1
            mark &= ~FRAMES_FOLLOW
        elif kind != SAME:
            quality_index = (mark & MAX_QUALITY_INDEX) + (1 if kind == FINER else -1)
            if not 0 <= quality_index <= MAX_QUALITY_INDEX:
                break
            mark += 1 if kind == FINER else -1
        end = position + length
        if mark < 0 or length > MAX_PAYLOAD_BYTES or end > len(body):
            break
        if not 1 <= frames <= MAX_FRAMES or skipped > 1 << 31:
            break
        time = due + skipped
        yield PacketRecord(time, frames, mark, body, position, end)
        position = end
        due = time + frames


def parse_cluster(body: bytes) -> Iterator[PacketRecord]:
    """Packets of one cluster; what does not parse ends it."""
    if len(body) < 9:
        return
    due = int.from_bytes(body[:8], "big")
    frames = 1
    count, position = _take_varint(body, 8)
    if count > MAX_CLUSTER_PACKETS or due >= 1 << 62:
        return
    for _ in range(count):
        skipped, position = _take_varint(body, position)
        if position >= len(body):
            break
        mark = body[position]
        position += 1
        if mark & FRAMES_FOLLOW and position < len(body):
            frames = body[position]
            position += 1
        length, position = _take_varint(body, position)
        end = position + length
        if length > MAX_PAYLOAD_BYTES or end > len(body) or not 1 <= frames <= MAX_FRAMES or skipped > 1 << 31:
            break
        time = due + skipped
        yield PacketRecord(time, frames, mark, body, position, end)
        position = end
        due = time + frames


def _take_varint(data: bytes, position: int) -> tuple[int, int]:
    """Value and the position behind it; runs to the end of ``data`` where there is no end to the number."""
    return take_varint(data, position, MAX_VARINT_BYTES) or (0, len(data))
