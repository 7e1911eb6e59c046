"""Lengths that sound files promise, held against what is there.

A recorder that was cut off leaves a WAV, AIFF or CAF that says it holds nothing; a WAV of more than 4 GiB cannot say
how long it is; an MP3 without a length is guessed at by its first frames, and one of two joined is taken for the
first. libsndfile believes such lengths, so it is shown the same file with the right ones.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

LEAST_UNKNOWN = 0x7FFFF000
"""SoX, espeak and arecord, into a pipe, tell lengths from here to 2 GiB, others those of just below 4 GiB."""
MOST_BEFORE_DATA = 1 << 16
"""Bytes of the chunks before the sound that a WAV of more than 4 GiB is shown with."""
MOST_SOUND_BYTES = 1 << 40
_RIFF = struct.Struct("<4sI")
MAX_CHUNKS = 10_000
_STEP_BYTES = 1 << 16
# kbps by [MPEG-1?][layer - 1][index], of ISO/IEC 11172-3 and 13818-3.
_BITRATES = {
    True: (
        (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
        (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
        (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    ),
    False: (
        (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
        (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
        (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    ),
}
_W64_RIFF = b"riff.\x91\xcf\x11\xa5\xd6(\xdb"
_AU_ORDERS = {b".snd": ">", b"dns.": "<"}
_AU_SAMPLE_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}
_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


@dataclass(frozen=True)
class Repair:
    """What to change so that the lengths are right."""

    prefix: bytes = b""
    """Goes in front of the file from ``start`` on."""
    start: int = 0
    end: int | None = None
    """Where the file ends for whom it is shown to; None where it does."""
    patches: tuple[tuple[int, bytes], ...] = ()
    """Offset in the file and the bytes to see there."""
    promised_s: float | None = None
    """Sound that the header promises and the file does not have."""


class RepairedFile:
    """A binary file, seen with its repairs; for reading alone."""

    def __init__(self, file: IO[bytes], repair: Repair) -> None:
        self._file = file
        self._repair = repair
        self._shift = len(repair.prefix) - repair.start
        end = file.seek(0, io.SEEK_END) if repair.end is None else repair.end
        self._size = end + self._shift
        self._position = 0

    def read(self, count: int = -1) -> bytes:
        """As of any file."""
        left = max(0, self._size - self._position)
        count = left if count < 0 else min(count, left)
        begin = self._position
        out = bytearray(self._repair.prefix[begin : begin + count])
        if len(out) < count:
            self._file.seek(begin + len(out) - self._shift)
            out += self._file.read(count - len(out))
        for offset, patch in self._repair.patches:
            first = max(offset, begin)
            last = min(offset + len(patch), begin + len(out))
            if first < last:
                out[first - begin : last - begin] = patch[first - offset : last - offset]
        self._position += len(out)
        return bytes(out)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As of any file."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """As of any file."""
        return self._position

    def close(self) -> None:
        """As of any file."""
        self._file.close()


def repair_of(file: IO[bytes]) -> Repair | None:
    """How to see this file so that its lengths are right; None where they are, or where they cannot be told."""
    file.seek(0, io.SEEK_END)
    size = file.tell()
    file.seek(0)
    head = file.read(12)
    try:
        if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
            return _wave(file, size)
        if head[:4] == b"RF64" and head[8:12] == b"WAVE":
            return _rf64(file, size)
        if head == _W64_RIFF[:12]:
            return _w64(file, size)
        if head[:4] in _AU_ORDERS:
            return _au(file, size)
        if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
            return _aiff(file, size)
        if head[:4] == b"caff":
            return _caf(file, size)
        tags_end = _tags_end(file, head)
        file.seek(tags_end)
        if tags_end and file.read(4) == b"fLaC":
            return Repair(start=tags_end)
        if head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0):
            return _mpeg(file)
    except (struct.error, IndexError, ZeroDivisionError):
        return None
    return None


def id3_bytes(head: bytes) -> int:
    """Length of the ID3 tag that begins with these ten bytes; 0 where none does."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])


def _tags_end(file: IO[bytes], head: bytes) -> int:
    """Where the ID3 tags end that a file begins with."""
    end = 0
    while length := id3_bytes(head):
        end += length
        file.seek(end)
        head = file.read(10)
    return end


def _chunks(
    file: IO[bytes], start: int, size: int, head: struct.Struct, pad: int
) -> Iterator[tuple[bytes, int, int]]:
    """Name, offset of the body and claimed length of each chunk."""
    offset = start
    for _ in range(MAX_CHUNKS):
        if offset + head.size > size:
            return
        file.seek(offset)
        name, length = head.unpack(file.read(head.size))
        yield name, offset + head.size, length
        offset += head.size + length + (length & pad)


def is_unknown(length: int) -> bool:
    """Whether a length of 32 bits stands for one that nobody knew when the file was begun."""
    return length == 0 or length & 0x7FFFFFFF >= LEAST_UNKNOWN


def _wave(file: IO[bytes], size: int) -> Repair | None:
    """A data chunk of length 0 with sound behind it, or of an unknown length, goes to the end of the file.

    Of one of more than 4 GiB, only the lower 32 bits of the length may be there.
    """
    byte_rate = 0
    for name, body, length in _chunks(file, 12, size, _RIFF, 1):
        if name == b"fmt ":
            byte_rate = _byte_rate(file, body)
        if name != b"data":
            continue
        there = size - body
        if _ends_with_chunks(file, body, length, size):
            return None
        for longer in range(length + (1 << 32), min(there, MOST_SOUND_BYTES) + 1, 1 << 32):
            if _ends_with_chunks(file, body, longer, size):
                return _seen_as_rf64(file, body, longer)
        if is_unknown(length) and there > 0:
            if there > 0xFFFFFFFF - body:
                return _seen_as_rf64(file, body, there)
            patches = ((4, struct.pack("<I", size - 8)), (body - 4, struct.pack("<I", there)))
            return Repair(patches=patches)
        if length > there and byte_rate:
            return Repair(promised_s=length / byte_rate)
        return None
    return None


def _byte_rate(file: IO[bytes], body: int) -> int:
    """Bytes of a second, as the ``fmt`` chunk of a WAV says."""
    file.seek(body)
    rate: int = struct.unpack("<HHII", file.read(12))[3]
    return rate


def _ends_with_chunks(file: IO[bytes], body: int, length: int, size: int) -> bool:
    """Whether sound of this length ends where the file does, or is followed by chunks to its end."""
    end = body + length + length % 2
    return (length > 0 and size in (end, body + length)) or (end < size and _is_chunk_list(file, end, size, _RIFF))


def _seen_as_rf64(file: IO[bytes], body: int, length: int) -> Repair:
    """A WAV whose sound is longer than its header can say, with a header that can."""
    file.seek(12)
    before = file.read(body - 8 - 12) if body <= MOST_BEFORE_DATA else b""
    if not before:
        for name, at, taken in _chunks(file, 12, body, _RIFF, 1):
            if name == b"fmt ":
                file.seek(at)
                before = _RIFF.pack(name, taken) + file.read(taken)
                break
    before += _RIFF.pack(b"data", 0xFFFFFFFF)
    ds64 = _RIFF.pack(b"ds64", 28) + struct.pack("<QQQI", 40 + len(before) + length, length, 0, 0)
    return Repair(b"RF64\xff\xff\xff\xffWAVE" + ds64 + before, body, body + length)


def _rf64(file: IO[bytes], size: int) -> Repair | None:
    """Lengths of 64 bits that were never filled in: the sound goes to the end of the file."""
    byte_rate = lengths_at = claimed = 0
    for name, body, length in _chunks(file, 12, size, _RIFF, 1):
        if name == b"ds64":
            file.seek(body)
            lengths_at, claimed = body, struct.unpack("<QQ", file.read(16))[1]
        if name == b"fmt ":
            byte_rate = _byte_rate(file, body)
        if name != b"data" or not lengths_at:
            continue
        there = size - body
        if length == 0xFFFFFFFF and there > 0 and (claimed == 0 or claimed >> 32 == 0xFFFFFFFF):
            return Repair(patches=((lengths_at, struct.pack("<QQQ", size - 8, there, 0)),))
        if length == 0xFFFFFFFF and claimed > there and byte_rate:
            return Repair(promised_s=claimed / byte_rate)
        return None
    return None


def _w64(file: IO[bytes], size: int) -> Repair | None:
    """What Wave64 promises; libsndfile goes to the end where nothing is promised."""
    offset, byte_rate = 40, 0
    for _ in range(MAX_CHUNKS):
        file.seek(offset)
        head = file.read(24)
        if len(head) < 24:
            return None
        length = int.from_bytes(head[16:], "little") - 24
        if head[:4] == b"fmt ":
            byte_rate = _byte_rate(file, offset + 24)
        if head[:4] == b"data":
            missing = length > size - offset - 24 and length < 1 << 62 and byte_rate
            return Repair(promised_s=length / byte_rate) if missing else None
        offset += 24 + max(length, 0) + -length % 8
    return None


def _au(file: IO[bytes], size: int) -> Repair | None:
    """What the header of Sun and NeXT promises, if anything."""
    file.seek(0)
    order = _AU_ORDERS[file.read(4)]
    start, length, coding, rate_hz, channels = struct.unpack(f"{order}5I", file.read(20))
    byte_rate = rate_hz * channels * _AU_SAMPLE_BYTES.get(coding, 0)
    missing = not is_unknown(length) and length > size - start
    return Repair(promised_s=length / byte_rate) if missing and byte_rate else None


def _aiff(file: IO[bytes], size: int) -> Repair | None:
    """A sound chunk of nothing but its own head with sound behind it, or of an unknown length, goes to the end."""
    head = struct.Struct(">4sI")
    counted_at = bytes_per_frame = 0
    rate_hz = 0.0
    for name, body, length in _chunks(file, 12, size, head, 1):
        if name == b"COMM":
            file.seek(body)
            channels, _, bits, exponent, mantissa = struct.unpack(">HIHHQ", file.read(18))
            rate_hz = mantissa * 2.0 ** (min(exponent & 0x7FFF, 0x4100) - 0x3FFF - 63)
            counted_at, bytes_per_frame = body + 2, channels * ((bits + 7) // 8)
        if name != b"SSND":
            continue
        there = size - body
        cut_off = length == 8 and there > 8 and not _is_chunk_list(file, body + 8, size, head)
        if length > there and not is_unknown(length) and bytes_per_frame and rate_hz > 0:
            return Repair(promised_s=(length - 8) / bytes_per_frame / rate_hz)
        if not bytes_per_frame or not (cut_off or is_unknown(length)) or not 8 < there < 0xFFFFFFFF - body:
            return None
        frames = (there - 8) // bytes_per_frame
        lengths = (4, size - 8), (counted_at, frames), (body - 4, there)
        return Repair(patches=tuple((offset, struct.pack(">I", value)) for offset, value in lengths))
    return None


def _is_chunk_list(file: IO[bytes], start: int, size: int, head: struct.Struct, pad: int = 1) -> bool:
    """Whether what stands here is chunks to the very end of the file, and not sound."""
    end = start
    for name, body, length in _chunks(file, start, size, head, pad):
        if length < 0 or not all(32 <= c < 127 for c in name):
            return False
        end = body + length
    return end > start and end in (size, size - 1, size + 1)


def _caf(file: IO[bytes], size: int) -> Repair | None:
    """A data chunk of length -1, or of nothing but its own head with sound behind it, goes to the end of the file."""
    head = struct.Struct(">4sq")
    bytes_per_s = 0.0
    for name, body, length in _chunks(file, 8, size, head, 0):
        if name == b"desc":
            file.seek(body)
            rate_hz, _, _, packet_bytes, packet_frames = struct.unpack(">d4sIII", file.read(24))
            # A rate that is no number, or a packet of changing length, tells nothing.
            known = 0 < rate_hz < 1e9 and packet_bytes and packet_frames
            bytes_per_s = packet_bytes * rate_hz / packet_frames if known else 0.0
        if name == b"data":
            if length > size - body and bytes_per_s:
                # libsndfile refuses to open what is longer than the file.
                there = struct.pack(">q", size - body)
                return Repair(patches=((body - 8, there),), promised_s=(length - 4) / bytes_per_s)
            cut_off = length in (0, 4) and size > body + 4 and not _is_chunk_list(file, body + length, size, head, 0)
            if length < 0 or cut_off:
                return Repair(patches=((body - 8, struct.pack(">q", size - body)),))
        if length < 0:
            return None
    return None


@dataclass(frozen=True)
class _MpegFrame:
    offset: int
    length: int
    samples: int
    rate_hz: int
    header: bytes
    count_at: int
    """Where a frame that only tells the length has its ``Xing`` or ``Info``, from the frame's start."""


def _mpeg(file: IO[bytes]) -> Repair | None:
    """MPEG audio: all frames counted, and told in a frame of their own where the file tells another number."""
    frames, seconds, first, claimed = 0, 0.0, None, None
    for frame in _mpeg_frames(file):
        if first is None:
            first = frame
            claimed = _claimed_frames(file, frame)
            if claimed is not None:
                continue
        frames += 1
        seconds += frame.samples / frame.rate_hz
    if first is None or frames == 0:
        return None
    if claimed is not None and claimed > frames + 1:
        return Repair(promised_s=claimed * first.samples / first.rate_hz)
    if claimed is not None and claimed >= frames - 1:
        return None
    start = first.offset if claimed is None else first.offset + first.length
    header = bytes([first.header[0], first.header[1] | 1, *first.header[2:4]])
    tag = bytearray(first.length)
    tag[:4] = header
    if first.count_at + 12 > first.length:
        return None
    tag[first.count_at : first.count_at + 12] = b"Xing" + struct.pack(">II", 1, frames)
    return Repair(bytes(tag), start)


def _claimed_frames(file: IO[bytes], frame: _MpegFrame) -> int | None:
    """What a ``Xing`` or ``Info`` frame says; None of a frame of sound."""
    file.seek(frame.offset + frame.count_at)
    tag = file.read(12)
    if tag[:4] not in (b"Xing", b"Info"):
        return None
    flags, count = struct.unpack(">II", tag[4:])
    return count if flags & 1 else 0


def _mpeg_frames(file: IO[bytes]) -> Iterator[_MpegFrame]:
    """Every frame of the stream's kind, whatever lies between them."""
    file.seek(0, io.SEEK_END)
    size = file.tell()
    offset, kind = 0, None
    window, at = b"", 0
    while offset + 4 <= size:
        if not at <= offset <= at + len(window) - 10:
            file.seek(offset)
            window, at = file.read(_STEP_BYTES), offset
        head = window[offset - at : offset - at + 10]
        if tag_bytes := id3_bytes(head):
            offset += tag_bytes
            continue
        frame = _mpeg_frame(head, offset)
        if frame is not None and (kind is None or kind == (frame.samples, frame.rate_hz)):
            if offset + frame.length > size:
                return
            kind = (frame.samples, frame.rate_hz)
            yield frame
            offset += frame.length
            continue
        found = window.find(b"\xff", offset - at + 1)
        offset = at + found if found >= 0 else max(offset + 1, at + len(window))


def _mpeg_frame(head: bytes, offset: int) -> _MpegFrame | None:
    """The frame that begins with these bytes, if one does."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    index, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or index in (0, 15) or rate == 3:
        return None
    first = version == 3
    rate_hz = _RATES_HZ[version][rate]
    bits = 1_000 * _BITRATES[first][layer - 1][index]
    padding = head[2] >> 1 & 1
    samples = 384 if layer == 1 else 1152 if layer == 2 or first else 576
    length = (12 * bits // rate_hz + padding) * 4 if layer == 1 else samples // 8 * bits // rate_hz + padding
    mono = head[3] >> 6 == 3
    side = (17 if mono else 32) if first else (9 if mono else 17)
    return _MpegFrame(offset, length, samples, rate_hz, head[:4], 4 + side)
