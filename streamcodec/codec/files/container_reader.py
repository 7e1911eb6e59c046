"""Reading a ``.sc`` file, whatever state it is in: in linear time, believing only what its bytes account for."""

from __future__ import annotations

import binascii
import io
import struct
import tempfile
from collections.abc import Iterator
from typing import IO

import numpy as np
from numpy.typing import NDArray

from streamcodec.codec.files.cluster_records import PacketRecord, parse_cluster, parse_compact_cluster
from streamcodec.codec.files.container import (
    CLUSTER_MARK,
    COMPACT_MAGIC,
    END_MAGIC,
    INDEX_MARK,
    MAGIC_BYTES,
    MAX_BODY_BYTES,
    MAX_HEADER_BYTES,
    PICTURES_MARK,
    FileHeader,
    TimedPacket,
    begins_as_coded,
)
from streamcodec.codec.files.container_pictures import parse_pictures
from streamcodec.codec.files.output_file import copy_stream
from streamcodec.codec.files.silence_budget import SilenceBudget
from streamcodec.codec.files.tags import Picture
from streamcodec.codec.packet import MAX_QUALITY_INDEX, SEQUENCE_MODULUS, Packet, PacketFlags
from streamcodec.codec.varint import take_varint
from streamcodec.errors import FileFormatError

WINDOW_BYTES = 1 << 16
MAX_LENGTH_BYTES = 3
"""Of the length of a compact header."""
WASTED_READS = 3
"""Bytes read in vain, looking for the next whole cluster of a damaged file, in lengths of the file."""
MAX_MOVED_INDEX_BYTES = 1 << 21
"""Searched for an index that is not where the file says: those of a day of sound are shorter."""
INDEX_TRIES = 4
"""Places at which an index may seem to begin that is not where the file says."""


class FileReader:
    """Reads packets back, whatever state the file is in; raises FileFormatError only for an unusable header.

    Nothing is believed that the bytes cannot account for: silence between and behind packets is bounded by what the
    packets and the damaged bytes there may have stood for, and the work by the length of the file. Memory is
    constant; a file that cannot seek is copied to disk first.
    """

    def __init__(self, file: IO[bytes], name: str = "this") -> None:
        if not file.seekable():
            source, file = file, tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the reader
            copy_stream(source, file)
        self._file = file
        self._file.seek(0, io.SEEK_END)
        self.file_bytes = self._file.tell()
        self._file.seek(0)
        start = self._file.read(8)
        if len(start) < 8 or not begins_as_coded(start):
            raise FileFormatError(
                f"{name} is not a .sc file: it does not begin with 'SCF1' or 'SCF2'; encode a sound file first"
            )
        compact = start[:MAGIC_BYTES] == COMPACT_MAGIC
        length, text_at = int.from_bytes(start[MAGIC_BYTES:], "big"), len(start)
        if compact:
            taken = take_varint(start, MAGIC_BYTES, MAX_LENGTH_BYTES)
            if taken is None:
                raise FileFormatError("the length of the file's header cannot be read")
            length, text_at = taken
            self._file.seek(text_at)
        if length > min(MAX_HEADER_BYTES, self.file_bytes):
            raise FileFormatError(f"the file claims a header of {length} bytes, more than it can hold")
        text = self._file.read(length)
        if self._file.read(4) != struct.pack(">I", binascii.crc32(text)):
            raise FileFormatError("the file's header is damaged or cut short: its checksum does not match")
        self.header = FileHeader.from_json(text.decode("utf-8", "replace"), compact)
        self._parse_cluster = parse_compact_cluster if compact else parse_cluster
        self._pictures_at = self._first_cluster = self._file.tell()
        pictures = self._read_block(self._pictures_at, PICTURES_MARK)
        if pictures is not None:
            self._first_cluster += 12 + len(pictures)
        self._window = b""
        self._window_at = 0
        self.total_samples: int | None = None
        """Samples of each channel, as the index says; what :meth:`trusted_samples` makes of it is what counts."""
        self._index: NDArray[np.uint64] = np.zeros((0, 2), np.uint64)
        self._last_indexed = -1
        self._end = self.file_bytes
        self._silence = SilenceBudget(self.header.tier)
        self._end_time = 0
        self.cut_frames = 0
        """Frame durations of silence that the file claims and its bytes do not account for, left out."""
        self.lacking_frames = 0
        """Frame durations of clusters that are missing, left out since bytes do not account for them either."""
        self.packets_seen = 0
        self.damaged_frames = 0
        """Frame durations that are missing, of damaged clusters and of those cut out, and are concealed."""
        self.bytes_behind = 0
        """Bytes behind the file's own end, left out."""
        self.coded_behind = False
        """Whether they begin as another ``.sc`` file does."""
        self._read_index()

    def pictures(self) -> tuple[Picture, ...]:
        """Pictures of the file, none where they are damaged."""
        body = self._read_block(self._pictures_at, PICTURES_MARK)
        return () if body is None else parse_pictures(body)

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
        left_out = self.header.samples_in(self._left_out_frames)
        return min(max(self.total_samples - left_out, 0), accounted)

    @property
    def _left_out_frames(self) -> int:
        """By how much times of packets are earlier than the file says."""
        return self.cut_frames + self.lacking_frames

    def _read_index(self) -> None:
        if self.file_bytes < self._first_cluster + 12:
            return
        where, is_end = self._read_tail(self.file_bytes - 12)
        if (
            is_end
            and self._first_cluster <= where < self.file_bytes
            and self._take_index(where, self.file_bytes - 12)
        ):
            return
        found = self._walk_to_index()
        if found is not None and self._take_index(*found):
            self._look_behind(found[1])
            return
        for offset in self._moved_indexes() if is_end else ():
            if self._take_index(offset, self.file_bytes - 12):
                # Its offsets have moved as well.
                self._index = self._index[:0]
                return

    def _read_tail(self, offset: int) -> tuple[int, bool]:
        """Where the index is, as the last bytes of a file say, and whether these are such bytes."""
        self._file.seek(offset)
        tail = self._file.read(12)
        return int.from_bytes(tail[:8], "big"), tail[8:] == END_MAGIC

    def _walk_to_index(self) -> tuple[int, int] | None:
        """Where the index begins and ends to which one cluster after the other leads; None where they do not."""
        offset = self._first_cluster
        while True:
            self._file.seek(offset)
            head = self._file.read(8)
            behind = offset + 12 + int.from_bytes(head[4:], "big")
            if behind > self.file_bytes or head[:4] not in (CLUSTER_MARK, INDEX_MARK):
                return None
            if head[:4] == INDEX_MARK:
                return offset, behind
            offset = behind

    def _look_behind(self, index_end: int) -> None:
        """What follows on the end of a file whose index was found where its clusters lead to."""
        where, is_end = self._read_tail(index_end)
        if where != self._end:
            # Clusters before it are missing: its offsets have moved as well.
            self._index = self._index[:0]
        if is_end:
            self.bytes_behind = self.file_bytes - index_end - 12
            self.coded_behind = begins_as_coded(self._file.read(MAGIC_BYTES))

    def _take_index(self, where: int, end: int) -> bool:
        """Whether there is an index from one place to the other, which is taken."""
        body = self._read_block(where, INDEX_MARK)
        if body is None or len(body) < 12:
            return False
        total, count = struct.unpack_from(">QI", body)
        if len(body) != 12 + 16 * count or where + 12 + len(body) != end:
            return False
        self.total_samples = total
        self._end = where
        self._index = np.frombuffer(body, ">u8", offset=12).reshape(count, 2)
        if count:
            self._last_indexed = int(self._index[-1, 1])
        return True

    def _moved_indexes(self) -> list[int]:
        """Where an index may begin that ends where the file does, though the file says another place."""
        longest = min(self.file_bytes - 12 - self._first_cluster, MAX_MOVED_INDEX_BYTES)
        self._file.seek(self.file_bytes - 12 - longest)
        data = self._file.read(longest)
        found: list[int] = []
        at = len(data)
        while len(found) < INDEX_TRIES and (at := data.rfind(INDEX_MARK, 0, at)) >= 0:
            if int.from_bytes(data[at + 4 : at + 8], "big") == len(data) - at - 12:
                found.append(self.file_bytes - 12 - longest + at)
        return found

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
            quality_index, flags = record.mark & MAX_QUALITY_INDEX, PacketFlags(record.mark >> 4)
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
        silence = self._silence = SilenceBudget(self.header.tier)
        self.cut_frames = self.lacking_frames = self.packets_seen = self.damaged_frames = 0
        # Fake marks may claim large bodies, one inside the other: what turns out to be none is read only so often.
        left_bytes = WASTED_READS * self.file_bytes + MAX_BODY_BYTES
        last_time = -1
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
            begins = True
            for record in self._parse_cluster(body):
                if record.time <= last_time:
                    continue
                last_time = record.time
                time = record.time - self._left_out_frames
                if due is not None and time > due:
                    cut = time - due - silence.spend(time - due)
                    # Writers begin a cluster where the one before ends, or after a pause.
                    missing = damaged or (begins and time - due > silence.longest_pause)
                    time -= cut
                    if missing:
                        self.lacking_frames += cut
                        self.damaged_frames += time - due
                    else:
                        self.cut_frames += cut
                damaged = begins = False
                due = self._end_time = time + record.frames
                silence.earn_packet(record.frames, record.size)
                self.packets_seen += 1
                yield record._replace(time=time)
            offset += 12 + len(body)
        self._count_missing_behind(damaged)

    def _count_missing_behind(self, damaged: bool) -> None:
        """Frames between the last packet read and the end of the sound."""
        if self.total_samples is None:
            return
        end_time = self._end_time + self._left_out_frames
        frames = self.header.frames_in(self.total_samples + self.header.delay_samples) - end_time
        missing = damaged or self._last_indexed >= end_time
        if frames > (0 if missing else self._silence.longest_pause):
            concealed = min(frames, self._silence.left)
            self.damaged_frames += concealed
            self.lacking_frames += frames - concealed

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
