"""Writing a ``.sc`` file: packets gathered into clusters, the index at the end."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Protocol

from streamcodec.codec.files.cluster_records import (
    COARSER,
    FINER,
    FRAMES_FOLLOW,
    MAX_CLUSTER_PACKETS,
    SAME,
    TOLD,
)
from streamcodec.codec.files.container import (
    CLUSTER_MARK,
    END_MAGIC,
    INDEX_MARK,
    PICTURES_MARK,
    FileHeader,
    TimedPacket,
    cluster_packets,
    marked_block,
    start_of_file,
)
from streamcodec.codec.files.container_pictures import pictures_body
from streamcodec.codec.files.tags import Picture
from streamcodec.codec.packet import Packet
from streamcodec.codec.varint import varint

KINDS = {0: SAME, 1: FINER, -1: COARSER}
"""By how much finer a packet's quality index is than that of the one before."""


class BinaryTarget(Protocol):
    """What a file is written to."""

    def write(self, data: bytes, /) -> object: ...

    def flush(self) -> object: ...


class FileWriter:
    """Writes packets as they come; everything but the current cluster is on disk at any moment."""

    def __init__(self, file: BinaryTarget, header: FileHeader, pictures: Sequence[Picture] = ()) -> None:
        self._file = file
        self._cluster: list[TimedPacket] = []
        self._cluster_packets = cluster_packets(header)
        self._index: list[tuple[int, int]] = []
        self._body = compact_cluster_body if header.compact else cluster_body
        self._offset = 0
        self._write(start_of_file(header))
        if pictures:
            self._write(marked_block(PICTURES_MARK, pictures_body(pictures)))

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()
        self._offset += len(data)

    def write(self, time: int, packet: Packet) -> None:
        """Append a packet; times must rise."""
        least = self._cluster_packets
        starts_cluster = len(self._cluster) >= MAX_CLUSTER_PACKETS or (
            packet.is_key
            and (len(self._cluster) >= least or (bool(self._cluster) and time - self._cluster[0].time >= least))
        )
        if starts_cluster:
            self._flush_cluster()
        self._cluster.append(TimedPacket(time, packet))

    def _flush_cluster(self) -> None:
        if not self._cluster:
            return
        self._index.append((self._offset, self._cluster[0].time))
        self._write(marked_block(CLUSTER_MARK, self._body(self._cluster)))
        self._cluster = []

    def close(self, total_samples: int) -> None:
        """Write the last cluster and the index; the file object stays open."""
        self._flush_cluster()
        where = self._offset
        body = struct.pack(">QI", total_samples, len(self._index))
        body += b"".join(struct.pack(">QQ", *entry) for entry in self._index)
        self._write(marked_block(INDEX_MARK, body) + struct.pack(">Q", where) + END_MAGIC)


def cluster_body(packets: Sequence[TimedPacket]) -> bytes:
    """Packets as a cluster of the usual form holds them."""
    due = packets[0].time
    body = bytearray(struct.pack(">Q", due) + varint(len(packets)))
    frames = 1
    for timed in packets:
        packet = timed.packet
        body += varint(timed.time - due)
        body += _mark(packet, frames)
        body += varint(len(packet.payload))
        body += packet.payload
        frames = packet.frames
        due = timed.time + frames
    return bytes(body)


def compact_cluster_body(packets: Sequence[TimedPacket]) -> bytes:
    """Packets as a cluster of the compact form holds them."""
    due = packets[0].time
    body = bytearray(varint(due) + varint(len(packets)))
    frames = 1
    before: Packet | None = None
    for timed in packets:
        packet, kind = timed.packet, TOLD
        if before is not None and timed.time == due and (packet.frames, packet.flags) == (frames, before.flags):
            kind = KINDS.get(packet.quality_index - before.quality_index, TOLD)
        body += varint(4 * len(packet.payload) + kind)
        if kind == TOLD:
            body += varint(timed.time - due)
            body += _mark(packet, frames)
        body += packet.payload
        before, frames = packet, packet.frames
        due = timed.time + frames
    return bytes(body)


def _mark(packet: Packet, frames: int) -> bytes:
    """Flags and quality index, and the packet's frames where the one before had others."""
    mark = int(packet.flags) << 4 | packet.quality_index
    return bytes([mark]) if packet.frames == frames else bytes([FRAMES_FOLLOW | mark, packet.frames])
