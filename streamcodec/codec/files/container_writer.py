"""Writing a ``.sc`` file: packets gathered into clusters, the index at the end."""

from __future__ import annotations

import binascii
import struct
from collections.abc import Sequence
from typing import Protocol

from streamcodec.codec.files.cluster_records import FRAMES_FOLLOW, MAX_CLUSTER_PACKETS
from streamcodec.codec.files.container import (
    CLUSTER_MARK,
    END_MAGIC,
    INDEX_MARK,
    MAGIC,
    MAX_HEADER_BYTES,
    PICTURES_MARK,
    FileHeader,
    TimedPacket,
    cluster_packets,
    marked_block,
)
from streamcodec.codec.files.container_pictures import pictures_body
from streamcodec.codec.files.tags import Picture
from streamcodec.codec.packet import Packet
from streamcodec.codec.varint import varint
from streamcodec.errors import FileFormatError


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
        text = header.to_json().encode()
        if len(text) > MAX_HEADER_BYTES:
            raise FileFormatError(f"header and metadata take {len(text)} bytes, at most {MAX_HEADER_BYTES} fit")
        self._offset = 0
        self._write(MAGIC + struct.pack(">I", len(text)) + text + struct.pack(">I", binascii.crc32(text)))
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
        body = bytearray(struct.pack(">Q", self._cluster[0].time))
        body += varint(len(self._cluster))
        due = self._cluster[0].time
        frames = 1
        for timed in self._cluster:
            packet = timed.packet
            body += varint(timed.time - due)
            changed = FRAMES_FOLLOW if packet.frames != frames else 0
            body.append(changed | int(packet.flags) << 4 | packet.quality_index)
            if changed:
                body.append(packet.frames)
            body += varint(len(packet.payload))
            body += packet.payload
            frames = packet.frames
            due = timed.time + frames
        self._write(marked_block(CLUSTER_MARK, bytes(body)))
        self._cluster = []

    def close(self, total_samples: int) -> None:
        """Write the last cluster and the index; the file object stays open."""
        self._flush_cluster()
        where = self._offset
        body = struct.pack(">QI", total_samples, len(self._index))
        body += b"".join(struct.pack(">QQ", *entry) for entry in self._index)
        self._write(marked_block(INDEX_MARK, body) + struct.pack(">Q", where) + END_MAGIC)
