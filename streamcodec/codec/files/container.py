"""The ``.sc`` file: a bounded header, clusters of packets with sync mark and checksum, an index at the end.

Layout, big-endian::

    "SCF1", u32 header length (at most 64 KiB), header (JSON), u32 CRC-32 of the header
    pictures, where there are any: pictures mark (4 bytes), u32 body length, body, u32 CRC-32 of the body
        body: u32 length of a list (JSON: type, kind, description and bytes of each), list, the pictures
    cluster, repeated: sync mark (4 bytes), u32 body length, body, u32 CRC-32 of the body
        body: u64 media time of the first packet, varint packets, then for each packet:
              varint frame durations skipped since the end of the one before, flags and quality index (1 byte; the
              highest bit set: a byte follows with the frames of this and later packets, 1 until then), varint
              length, payload
    index, once: index mark (4 bytes), u32 body length, body, u32 CRC-32 of the body
        body: u64 total samples, u32 clusters, for each: u64 offset, u64 media time of the first packet
    u64 offset of the index, "SCFE"

A cluster starts with a key packet, so it is a place to seek to; it holds about one second of sound, or one key period
where that is longer. A file whose writer was killed lacks the index and its last cluster; a damaged cluster is
skipped by its sync mark.
"""

from __future__ import annotations

import binascii
import io
import json
import math
import struct
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from streamcodec.codec.files.output_file import copy_stream
from streamcodec.codec.files.tags import MAX_PICTURES, Picture
from streamcodec.codec.options import tier_name, tier_of
from streamcodec.codec.packet import (
    MAX_FRAMES,
    MAX_PAYLOAD_BYTES,
    MAX_QUALITY_INDEX,
    SEQUENCE_MODULUS,
    Packet,
    PacketFlags,
    Tier,
)
from streamcodec.codec.varint import take_varint, varint, varint_bytes
from streamcodec.errors import FileFormatError, StreamcodecWarning

MAGIC = b"SCF1"
CLUSTER_MARK = b"\xc5SC\x0a"
PICTURES_MARK = b"\xc5SP\x0a"
INDEX_MARK = b"\xc5SX\x0a"
END_MAGIC = b"SCFE"
MAX_HEADER_BYTES = 1 << 16
MAX_BITSTREAM_CHARACTERS = 64
MAX_MODEL_CHARACTERS = 255
MOST_CHANNELS = {Tier.NEURAL: 2, Tier.NEAR_LOSSLESS: 2, Tier.LOSSLESS: 8}
MAX_BODY_BYTES = 1 << 24
CLUSTER_PACKETS = 50
LONG_PACKETS_PER_SECOND = 25.0
MAX_CLUSTER_PACKETS = 1 << 14
MAX_VARINT_BYTES = 9
FRAMES_FOLLOW = 0x80
OVERHEAD_BYTES_PER_PACKET = 4 + 38 / CLUSTER_PACKETS
"""About what a packet takes besides its payload: its place in a cluster, and a share of the cluster's."""
WINDOW_BYTES = 1 << 16
WASTED_READS = 3
"""Bytes read in vain, looking for the next whole cluster of a damaged file, in lengths of the file."""
SILENT_FRAMES = 25
"""Frame durations without a packet behind one: discontinuous transmission sends one each 0.4 s."""
MAX_SILENT_FRAMES = 1_500
"""Of those that no damage accounts for, at once."""
FRAMES_PER_DAMAGED_BYTE = 5
"""Frames that a byte of a neural stream in its pauses stands for."""
BYTES_PER_DAMAGED_FRAME = 5
"""What the waveform tiers need at least for a frame, of silence."""


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

    def samples_in(self, frames: int) -> int:
        """Samples of so many frame durations, rounded down."""
        return int(frames * self.sample_rate_hz / self.packets_per_second)

    def frames_in(self, samples: int) -> int:
        """Frame durations in so many samples, rounded down."""
        return int(samples * self.packets_per_second / self.sample_rate_hz)

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
                model=str(fields.get("model", ""))[:MAX_MODEL_CHARACTERS],
                metadata={str(k): str(v) for k, v in dict(fields.get("metadata", {})).items()},
                bits_per_sample=int(fields.get("bits_per_sample", 16)),
                bitstream=str(fields.get("bitstream", ""))[:MAX_BITSTREAM_CHARACTERS],
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise FileFormatError(f"the file's header cannot be read ({repr(error)[:80]})") from error
        plausible = (
            1_000 <= header.sample_rate_hz <= 1_000_000
            and 1.0 <= header.packets_per_second <= 1_000.0
            and 0 <= header.delay_samples <= header.sample_rate_hz
            and 8 <= header.bits_per_sample <= (32 if header.tier is Tier.LOSSLESS else 24)
            and 1 <= header.channels <= MOST_CHANNELS[header.tier]
        )
        if not plausible:
            raise FileFormatError("the file's header holds values out of range")
        return header


@dataclass(frozen=True, slots=True)
class TimedPacket:
    """A packet and its media time in frame durations since the start of the file (never wraps)."""

    time: int
    packet: Packet


def cluster_packets(header: FileHeader) -> int:
    """How many packets (of one frame) a cluster has at least: a second of them where each takes 40 ms or more."""
    long = header.packets_per_second <= LONG_PACKETS_PER_SECOND
    return math.ceil(header.packets_per_second) if long else CLUSTER_PACKETS


def overhead_bytes(header: FileHeader, packets: int, key_period_packets: int) -> int:
    """What a file takes besides :func:`record_bytes` of its packets, of one frame each, none left out.

    Every ``key_period_packets``-th packet is a key packet.
    """
    in_cluster = key_period_packets * -(-cluster_packets(header) // key_period_packets)
    whole, rest = divmod(packets, in_cluster)
    counts = [in_cluster] * whole + [rest] * bool(rest)
    clusters = sum(12 + 8 + varint_bytes(count) + 16 for count in counts)
    return 12 + len(header.to_json().encode()) + clusters + 36


def record_bytes(payload_bytes: int) -> int:
    """What a packet of one frame takes in a cluster, where none before it is left out."""
    return 2 + varint_bytes(payload_bytes) + payload_bytes


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
            self._write(_block(PICTURES_MARK, _pictures_body(pictures)))

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
    """Reads packets back, whatever state the file is in; raises FileFormatError only for an unusable header.

    Nothing is believed that the bytes cannot account for: silence between and behind packets is bounded by what the
    packets and the damaged bytes there may have stood for, and the work by the length of the file. Memory is
    constant; a file that cannot seek is copied to disk first.
    """

    def __init__(self, file: IO[bytes]) -> None:
        if not file.seekable():
            source, file = file, tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the reader
            copy_stream(source, file)
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
        self._pictures_at = self._first_cluster = self._file.tell()
        pictures = self._read_block(self._pictures_at, PICTURES_MARK)
        if pictures is not None:
            self._first_cluster += 12 + len(pictures)
        self._window = b""
        self._window_at = 0
        self.total_samples: int | None = None
        """Samples of each channel, as the index says; what :meth:`trusted_samples` makes of it is what counts."""
        self._index: NDArray[np.uint64] = np.zeros((0, 2), np.uint64)
        self._end = self.file_bytes
        self._silence = _SilenceBudget(self.header.tier)
        self._end_time = 0
        self.cut_frames = 0
        """Frame durations of silence that the file claims and its bytes do not account for, left out."""
        self.packets_seen = 0
        self.damaged_frames = 0
        """Frame durations that are missing where bytes are damaged."""
        self._read_index()

    def pictures(self) -> tuple[Picture, ...]:
        """Pictures of the file, none where they are damaged."""
        body = self._read_block(self._pictures_at, PICTURES_MARK)
        return () if body is None else _parse_pictures(body)

    @property
    def index(self) -> list[tuple[int, int]]:
        """Offset and media time of each cluster, as the file says."""
        return [(int(where), int(time)) for where, time in self._index]

    @property
    def end_time(self) -> int:
        """Media time behind the last packet read so far, in frame durations."""
        return self._end_time

    def trusted_samples(self, delay_samples: int) -> int | None:
        """``total_samples`` as far as the packets read so far account for them; None where there is no index.

        ``delay_samples`` is how much more sound than its packets a stream may hold.
        """
        if self.total_samples is None:
            return None
        frames = self._end_time + self._silence.left
        accounted = self.header.samples_in(frames)
        if self._end_time:
            accounted += delay_samples
        return min(self.total_samples, accounted)

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
            self._end = where
            self._index = np.frombuffer(body, ">u8", offset=12).reshape(count, 2)

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

        Damaged clusters are skipped. Times always rise; a gap in them is silence not sent, or damage, and no longer
        than the file can account for.
        """
        tier = self.header.tier
        for record in self.records(from_time):
            wrapped = record.time % SEQUENCE_MODULUS
            quality_index, flags = record.mark & MAX_QUALITY_INDEX, PacketFlags((record.mark & ~FRAMES_FOLLOW) >> 4)
            yield TimedPacket(
                record.time,
                Packet(tier, wrapped, wrapped, quality_index, flags, record.payload(), frames=record.frames),
            )

    def records(self, from_time: int = 0) -> Iterator[PacketRecord]:
        """The same without making packets of them, for those who only count."""
        offset = self._first_cluster
        if from_time > 0 and len(self._index):
            usable = (self._index[:, 1] <= from_time) & (self._index[:, 0] >= self._first_cluster)
            usable &= self._index[:, 0] < self.file_bytes
            if usable.any():
                offset = int(self._index[usable, 0][-1])
        silence = self._silence = _SilenceBudget(self.header.tier)
        self.cut_frames = self.packets_seen = self.damaged_frames = 0
        # Fake marks may claim large bodies, one inside the other: what turns out to be none is read only so often.
        left_bytes = WASTED_READS * self.file_bytes + MAX_BODY_BYTES
        last_time, moved = -1, 0
        due = 0 if offset == self._first_cluster else None
        damaged = False
        while offset < self._end:
            body = self._read_block(offset, CLUSTER_MARK)
            if body is None:
                left_bytes -= self._claimed_bytes(offset)
                following = self._find_mark(offset + 1) if left_bytes > 0 else None
                silence.earn_damage((following or self._end) - offset)
                damaged = True
                if following is None:
                    break
                offset = following
                continue
            for record in _parse_cluster(body):
                if record.time <= last_time:
                    continue
                last_time = record.time
                time = record.time - moved
                if due is not None and time > due:
                    cut = time - due - silence.spend(time - due)
                    moved += cut
                    self.cut_frames += cut
                    time -= cut
                    self.damaged_frames += (time - due) * damaged
                damaged = False
                due = self._end_time = time + record.frames
                silence.earn_packet()
                self.packets_seen += 1
                yield record._replace(time=time)
            offset += 12 + len(body)
        if damaged:
            self.damaged_frames += self._frames_missing_behind()

    def _frames_missing_behind(self) -> int:
        """Frames between the last packet read and the end of the sound, as far as damaged bytes account for them."""
        if self.total_samples is None:
            return 0
        sound_samples = max(0, self.total_samples + self.header.delay_samples)
        return min(max(self.header.frames_in(sound_samples) - self._end_time, 0), self._silence.left)

    def _claimed_bytes(self, offset: int) -> int:
        """How many bytes it took to see that there is no cluster here."""
        self._file.seek(offset)
        head = self._file.read(8)
        if head[:4] != CLUSTER_MARK:
            return 8
        length = int.from_bytes(head[4:].ljust(4, b"\0"), "big")
        return 8 if length > min(MAX_BODY_BYTES, self.file_bytes - offset - 12) else 8 + length

    def _find_mark(self, offset: int) -> int | None:
        """Where the next cluster mark begins at or after ``offset``."""
        overlap = len(CLUSTER_MARK) - 1
        while offset < self._end:
            if not self._window_at <= offset < self._window_at + max(len(self._window) - overlap, 0):
                self._file.seek(offset)
                self._window, self._window_at = self._file.read(WINDOW_BYTES + overlap), offset
            found = self._window.find(CLUSTER_MARK, offset - self._window_at)
            if found >= 0:
                return self._window_at + found
            offset = self._window_at + WINDOW_BYTES
        return None


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


class _SilenceBudget:
    """Frame durations that may pass without a packet, earned by packets and by bytes that are damaged."""

    def __init__(self, tier: Tier) -> None:
        neural = tier is Tier.NEURAL
        self._per_packet = SILENT_FRAMES if neural else 1
        self._frames_per_byte = FRAMES_PER_DAMAGED_BYTE if neural else 1 / BYTES_PER_DAMAGED_FRAME
        self.left = 0

    def earn_packet(self) -> None:
        self.left = min(self.left + self._per_packet, MAX_SILENT_FRAMES)

    def earn_damage(self, count_bytes: int) -> None:
        self.left += int(self._frames_per_byte * count_bytes)

    def spend(self, frames: int) -> int:
        """So many frames, or as many as there are."""
        spent = min(frames, self.left)
        self.left -= spent
        return spent


def _parse_cluster(body: bytes) -> Iterator[PacketRecord]:
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


def fitting_pictures(pictures: Sequence[Picture]) -> tuple[Picture, ...]:
    """The first pictures that fit into a file; the others are left out with a warning."""
    kept: list[Picture] = []
    for picture in pictures[:MAX_PICTURES]:
        if len(_pictures_body([*kept, picture])) <= MAX_BODY_BYTES:
            kept.append(picture)
    if len(kept) < len(pictures):
        warnings.warn(
            f"{len(pictures) - len(kept)} picture(s) do not fit into a .sc file: left out",
            StreamcodecWarning,
            stacklevel=3,
        )
    return tuple(kept)


def _pictures_body(pictures: Sequence[Picture]) -> bytes:
    told = [
        {"type": p.mime[:256], "kind": p.kind, "description": p.description[:1_024], "bytes": len(p.data)}
        for p in pictures
    ]
    text = json.dumps(told).encode()
    return struct.pack(">I", len(text)) + text + b"".join(p.data for p in pictures)


def _parse_pictures(body: bytes) -> tuple[Picture, ...]:
    start = 4 + int.from_bytes(body[:4], "big")
    found = []
    try:
        for told in json.loads(body[4:start])[:MAX_PICTURES]:
            end = start + int(told["bytes"])
            if not start <= end <= len(body):
                break
            found.append(Picture(body[start:end], str(told["type"]), int(told["kind"]), str(told["description"])))
            start = end
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return ()
    return tuple(found)


def _block(mark: bytes, body: bytes) -> bytes:
    return mark + struct.pack(">I", len(body)) + body + struct.pack(">I", binascii.crc32(body))


def _take_varint(data: bytes, position: int) -> tuple[int, int]:
    """Value and the position behind it; runs to the end of ``data`` where there is no end to the number."""
    return take_varint(data, position, MAX_VARINT_BYTES) or (0, len(data))
