"""What a coded file has lost: told once, in one sentence, when it has been read to its end."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from streamcodec.codec.files.container import TimedPacket
from streamcodec.codec.files.container_reader import FileReader
from streamcodec.codec.stream import StreamDecoder
from streamcodec.errors import FileFormatError, StreamcodecWarning


class DamageCount:
    """Counts the frames of a file that a decoder makes up for, while its packets pass by."""

    def __init__(self, reader: FileReader, decoder: StreamDecoder, name: str) -> None:
        self._reader, self._decoder, self._name = reader, decoder, name
        self._concealed_before = decoder.concealed
        self._gap_frames = 0

    def packets(self) -> Iterator[TimedPacket]:
        """The packets of the file, in order; raises FileFormatError where none can be read and it is not empty."""
        due = 0
        for timed in self._reader.packets():
            self._gap_frames += timed.time - due
            due = timed.time + timed.packet.frames
            yield timed
        if holds_nothing_readable(self._reader):
            raise FileFormatError(_nothing_readable(self._name))

    @property
    def frames(self) -> int:
        """Frames that are missing, or cannot be decoded for want of those; silence not sent is none of them."""
        undecodable = self._decoder.concealed - self._concealed_before - self._gap_frames
        return self._reader.damaged_frames + max(undecodable, 0)


def holds_nothing_readable(reader: FileReader) -> bool:
    """Whether a file that has been read to its end had no packet, and does not say that it is empty."""
    return not reader.packets_seen and reader.total_samples != 0


def _nothing_readable(name: str) -> str:
    return f"{name} holds no packet that can be read: it was cut off or damaged; take another copy"


def tell_of_damage(name: str, reader: FileReader, damaged_frames: int, *, decoded: bool = True) -> None:
    """Warn (StreamcodecWarning) of a file that was cut off, is damaged, or is empty; ``name`` is its."""
    sentence = describe_damage(name, reader, damaged_frames, decoded=decoded)
    if sentence is not None:
        warnings.warn(sentence, StreamcodecWarning, stacklevel=3)


def describe_damage(name: str, reader: FileReader, damaged_frames: int, *, decoded: bool = True) -> str | None:
    """What is wrong with a file that has been read to its end; None where nothing is."""
    per_second = reader.header.packets_per_second
    damaged_s = damaged_frames / per_second
    found_s = reader.end_time / per_second
    if holds_nothing_readable(reader):
        return _nothing_readable(name)
    if not reader.packets_seen:
        return f"{name} holds no sound"
    parts = []
    lacking = reader.lacking_frames / per_second
    if reader.total_samples is None:
        parts.append(f"ends after {found_s:.2f} s without its index: it was cut off, or is still being written")
    if damaged_frames:
        concealed = " and were concealed" if decoded else ""
        parts.append(f"is damaged: {damaged_s:.2f} s of sound are missing{concealed}")
    if lacking:
        parts.append(
            f"lacks {'another ' if damaged_frames else ''}{lacking:.2f} s of sound{', which are left out' * decoded}"
        )
    if reader.cut_frames:
        parts.append(
            f"claims {reader.cut_frames / per_second:.1f} s of silence that its bytes do not account for, left out"
        )
    if reader.bytes_behind:
        what = "another .sc file: split them to have both" if reader.coded_behind else "something else"
        parts.append(f"is followed by {reader.bytes_behind} bytes, left out, of {what}")
    return f"{name} {', and '.join(parts)}" if parts else None
