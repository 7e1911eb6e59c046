"""The ``.sc`` file: a bounded header, clusters of packets with sync mark and checksum, an index at the end.

Layout, big-endian::

    "SCF1", u32 header length (at most 64 KiB), header (JSON), u32 CRC-32 of the header
    cluster, repeated: sync mark (4 bytes), u32 body length, body, u32 CRC-32 of the body
        body: u64 media time of the first packet, varint packets, then for each packet:
              varint frame durations skipped since the end of the one before, flags and level (1 byte; the highest
              bit set: a byte follows with the frames of this and later packets, 1 until then), varint length,
              payload
    index, once: index mark (4 bytes), u32 body length, body, u32 CRC-32 of the body
        body: u64 total samples, u32 clusters, for each: u64 offset, u64 media time of the first packet
    u64 offset of the index, "SCFE"

A cluster starts with a key packet, so it is a place to seek to; it holds one second of sound, or one key period where
that is longer. A file whose writer was killed lacks the index and at most its last cluster; a damaged cluster is
skipped by its sync mark.
"""

from __future__ import annotations

import binascii
import io
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from streamcodec.codec.packet import (
    MAX_FRAMES,
    MAX_PAYLOAD_BYTES,
    MAX_QUALITY_INDEX,
    SEQUENCE_MODULUS,
    Packet,
    PacketFlags,
    Tier,
)
from streamcodec.codec.tiers import tier_name, tier_of
from streamcodec.errors import FileFormatError

MAGIC = b"SCF1"
CLUSTER_MARK = b"\xc5SC\x0a"
INDEX_MARK = b"\xc5SX\x0a"
END_MAGIC = b"SCFE"
MAX_HEADER_BYTES = 1 << 16
MAX_BITSTREAM_CHARACTERS = 64
MAX_BODY_BYTES = 1 << 24
CLUSTER_PACKETS = 50
FRAMES_FOLLOW = 0x80


@dataclass(frozen=True)
class FileHeader:
    """What a decoder must know before the first packet."""

    tier: Tier
    sample_rate_hz: int
    channels: int
    packets_per_second: float
    delay_samples: int
    """Lag of the coded stream behind the source on the encoder's side, at ``sample_rate_hz``."""
    model: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    bits_per_sample: int = 16
    """Depth of the source; what a lossless decoder gives, and how a decoded file is written."""
    bitstream: str = ""
    """See :mod:`streamcodec.codec.bitstream`."""

    def to_json(self) -> str:
        """Serialise to JSON text."""
        return json.dumps({**self.__dict__, "tier": tier_name(self.tier)})

    @classmethod
    def from_json(cls, text: str) -> FileHeader:
        """Read and check what :meth:`to_json` wrote; raises FileFormatError."""
        try:
            fields = json.loads(text)
            header = cls(
                tier=tier_of(str(fields["tier"])),
                sample_rate_hz=int(fields["sample_rate_hz"]),
                channels=int(fields["channels"]),
                packets_per_second=float(fields["packets_per_second"]),
                delay_samples=int(fields["delay_samples"]),
                model=str(fields.get("model", "")),
                metadata={str(k): str(v) for k, v in dict(fields.get("metadata", {})).items()},
                bits_per_sample=int(fields.get("bits_per_sample", 16)),
                bitstream=str(fields.get("bitstream", ""))[:MAX_BITSTREAM_CHARACTERS],
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise FileFormatError(f"the file's header cannot be read ({error!r})") from error
        plausible = (
            1_000 <= header.sample_rate_hz <= 1_000_000
            and 1 <= header.channels <= 64
            and 1.0 <= header.packets_per_second <= 1_000.0
            and 0 <= header.delay_samples <= header.sample_rate_hz
            and 8 <= header.bits_per_sample <= 24
            and (header.channels <= 2 or header.tier is Tier.NEURAL)
        )
        if not plausible:
            raise FileFormatError("the file's header holds values out of range")
        return header


@dataclass(frozen=True, slots=True)
class TimedPacket:
    """A packet and its media time in frame durations since the start of the file (never wraps)."""

    time: int
    packet: Packet


def overhead_bytes(header: FileHeader, packets: int) -> int:
    """The most that a file of so many packets takes besides their payloads of up to 16 KiB."""
    clusters = packets // CLUSTER_PACKETS + 1
    return 12 + len(header.to_json().encode()) + 4 * packets + 38 * clusters + 36


class FileWriter:
    """Writes packets as they come; everything but the current cluster is on disk at any moment."""

    def __init__(self, file: IO[bytes], header: FileHeader) -> None:
        self._file = file
        self._cluster: list[TimedPacket] = []
        self._index: list[tuple[int, int]] = []
        text = header.to_json().encode()
        if len(text) > MAX_HEADER_BYTES:
            raise FileFormatError(f"header and metadata take {len(text)} bytes, at most {MAX_HEADER_BYTES} fit")
        self._offset = 0
        self._write(MAGIC + struct.pack(">I", len(text)) + text + struct.pack(">I", binascii.crc32(text)))

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()
        self._offset += len(data)

    def write(self, time: int, packet: Packet) -> None:
        """Append a packet; times must rise."""
        starts_cluster = packet.is_key and (
            len(self._cluster) >= CLUSTER_PACKETS
            or (bool(self._cluster) and time - self._cluster[0].time >= CLUSTER_PACKETS)
        )
        if starts_cluster:
            self._flush_cluster()
        self._cluster.append(TimedPacket(time, packet))

    def _flush_cluster(self) -> None:
        if not self._cluster:
            return
        self._index.append((self._offset, self._cluster[0].time))
        body = bytearray(struct.pack(">Q", self._cluster[0].time))
        _append_varint(body, len(self._cluster))
        due = self._cluster[0].time
        frames = 1
        for timed in self._cluster:
            packet = timed.packet
            _append_varint(body, timed.time - due)
            changed = FRAMES_FOLLOW if packet.frames != frames else 0
            body.append(changed | int(packet.flags) << 4 | packet.quality_index)
            if changed:
                body.append(packet.frames)
            _append_varint(body, len(packet.payload))
            body += packet.payload
            frames = packet.frames
            due = timed.time + frames
        self._write(_block(CLUSTER_MARK, bytes(body)))
        self._cluster = []

    def close(self, total_samples: int) -> None:
        """Write the last cluster and the index; the file object stays open."""
        self._flush_cluster()
        where = self._offset
        body = struct.pack(">QI", total_samples, len(self._index))
        body += b"".join(struct.pack(">QQ", *entry) for entry in self._index)
        self._write(_block(INDEX_MARK, body) + struct.pack(">Q", where) + END_MAGIC)


class FileReader:
    """Reads packets back, whatever state the file is in; raises FileFormatError only for an unusable header."""

    def __init__(self, file: IO[bytes]) -> None:
        if not file.seekable():
            file = io.BytesIO(file.read())
        self._file = file
        self._file.seek(0, io.SEEK_END)
        self.file_bytes = self._file.tell()
        self._file.seek(0)
        start = self._file.read(8)
        if len(start) < 8 or start[:4] != MAGIC:
            raise FileFormatError("this is not a .sc file: it does not begin with 'SCF1'")
        length = int.from_bytes(start[4:], "big")
        if length > min(MAX_HEADER_BYTES, self.file_bytes):
            raise FileFormatError(f"the file claims a header of {length} bytes, more than it can hold")
        text = self._file.read(length)
        if self._file.read(4) != struct.pack(">I", binascii.crc32(text)):
            raise FileFormatError("the file's header is damaged or cut short: its checksum does not match")
        self.header = FileHeader.from_json(text.decode("utf-8", "replace"))
        self._first_cluster = self._file.tell()
        self.total_samples: int | None = None
        self.index: list[tuple[int, int]] = []
        self._read_index()

    def _read_index(self) -> None:
        if self.file_bytes < self._first_cluster + 12:
            return
        self._file.seek(self.file_bytes - 12)
        tail = self._file.read(12)
        where = int.from_bytes(tail[:8], "big")
        if tail[8:] != END_MAGIC or not self._first_cluster <= where < self.file_bytes:
            return
        body = self._read_block(where, INDEX_MARK)
        if body is None or len(body) < 12:
            return
        total, count = struct.unpack_from(">QI", body)
        if len(body) == 12 + 16 * count:
            self.total_samples = total
            self.index = [struct.unpack_from(">QQ", body, 12 + 16 * k) for k in range(count)]

    def _read_block(self, offset: int, mark: bytes) -> bytes | None:
        self._file.seek(offset)
        head = self._file.read(8)
        if len(head) < 8 or head[:4] != mark:
            return None
        length = int.from_bytes(head[4:], "big")
        if length > min(MAX_BODY_BYTES, self.file_bytes - offset - 12):
            return None
        body = self._file.read(length)
        return body if self._file.read(4) == struct.pack(">I", binascii.crc32(body)) else None

    def packets(self, from_time: int = 0) -> Iterator[TimedPacket]:
        """Packets in order, beginning with the cluster that holds media time ``from_time``.

        Damaged clusters are skipped. Times always rise; a gap in them is silence not sent, or damage.
        """
        offset = self._first_cluster
        for where, time in self.index:
            if time <= from_time and self._first_cluster <= where < self.file_bytes:
                offset = where
        last_time = -1
        while offset < self.file_bytes:
            body = self._read_block(offset, CLUSTER_MARK)
            if body is None:
                following = self._find_mark(offset + 1)
                if following is None:
                    return
                offset = following
                continue
            for timed in _parse_cluster(body, self.header.tier):
                if timed.time > last_time:
                    last_time = timed.time
                    yield timed
            offset += 12 + len(body)

    def _find_mark(self, offset: int) -> int | None:
        """Where the next cluster mark begins at or after ``offset``."""
        chunk_bytes = 1 << 16
        while offset < self.file_bytes:
            self._file.seek(offset)
            chunk = self._file.read(chunk_bytes + len(CLUSTER_MARK) - 1)
            found = chunk.find(CLUSTER_MARK)
            if found >= 0:
                return offset + found
            offset += chunk_bytes
        return None


def _parse_cluster(body: bytes, tier: Tier) -> list[TimedPacket]:
    """Packets of one cluster; what does not parse ends it."""
    packets: list[TimedPacket] = []
    if len(body) < 9:
        return packets
    due = int.from_bytes(body[:8], "big")
    frames = 1
    count, position = _take_varint(body, 8)
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
        wrapped = time % SEQUENCE_MODULUS
        quality_index, flags = mark & MAX_QUALITY_INDEX, PacketFlags((mark & ~FRAMES_FOLLOW) >> 4)
        packet = Packet(tier, wrapped, wrapped, quality_index, flags, body[position:end], frames=frames)
        packets.append(TimedPacket(time, packet))
        position = end
        due = time + frames
    return packets


def _block(mark: bytes, body: bytes) -> bytes:
    return mark + struct.pack(">I", len(body)) + body + struct.pack(">I", binascii.crc32(body))


def _append_varint(out: bytearray, value: int) -> None:
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def _take_varint(data: bytes, position: int) -> tuple[int, int]:
    """Value and the position behind it; runs to the end of ``data`` where there is no end to the number."""
    value = 0
    for shift in range(0, 63, 7):
        if position >= len(data):
            return 0, len(data)
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    return 0, len(data)
