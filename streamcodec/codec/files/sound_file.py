"""Sound files, read as each tier needs them: integers for the lossless tier, floats for the others."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import soundfile

from streamcodec.codec.audio_format import clean, warn_of_not_finite
from streamcodec.codec.files import media_file, tags
from streamcodec.codec.files.channel_order import as_read
from streamcodec.codec.files.container import is_coded
from streamcodec.codec.files.ogg_parts import ogg_parts
from streamcodec.codec.files.output_file import (
    check_file,
    copy_stream,
    describe_error,
    readable_name,
)
from streamcodec.codec.files.sound_lengths import RepairedFile, repair_of
from streamcodec.codec.options import Samples
from streamcodec.codec.packet import Tier
from streamcodec.errors import AudioFormatError, FileFormatError, StreamcodecWarning
from streamcodec.extras import command_for
from streamcodec.wording import given

METADATA_FIELDS = ("title", "artist", "album", "date", "comment", "genre", "tracknumber", "copyright", "license")
INTEGER_BITS = {"PCM_U8": 8, "PCM_S8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
INTEGER_BITS |= {f"ALAC_{bits}": bits for bits in (16, 20, 24, 32)}
"""What the lossless tier takes, and its depth."""
WIDE_SUBTYPES = frozenset({"FLOAT", "DOUBLE"})
SOUND_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3"})
READABLE = "WAV, FLAC, Ogg and MP3 files work"
CLIPPED_PEAK = 1.12
"""Coding overshoots by less; beyond this the source itself was above full scale."""
MAX_BLOCK_VALUES = 1 << 22
"""Samples of all channels in a block, whatever rate and channels a header claims."""
PIECE_SAMPLES = 4_096
"""Read at once: of a damaged file so much may be lost before the damage."""
MISSING_S = 0.1
"""Sound that a header promises and the file lacks is worth a word from here on."""

SoundSource = str | Path | IO[bytes]


def sound_files(files: Iterable[Path]) -> list[Path]:
    """Those that are sound by their suffix, sorted; hidden files of archivers (``._name``) left out."""
    return sorted(f for f in files if f.suffix.lower() in SOUND_SUFFIXES and not f.name.startswith("."))


def open_source(source: SoundSource) -> IO[bytes]:
    """A binary file that can be read twice: pipes and devices are copied to disk first. Raises FileFormatError.

    A file object of the caller's is given back as it is if it can seek.
    """
    check_file(source, "seekable")
    if not isinstance(source, str | Path):
        return source if source.seekable() else spooled(source)
    try:
        file = open(source, "rb")  # noqa: SIM115 - the caller closes it
        kind = os.fstat(file.fileno()).st_mode
        if stat.S_ISREG(kind):
            return file
        with file:
            return spooled(file)
    except FileNotFoundError as error:
        raise FileFormatError(f"there is no file {readable_name(source)}") from error
    except OSError as error:
        raise FileFormatError(f"cannot open {readable_name(source)}: {describe_error(error)}") from error
    except ValueError as error:
        raise FileFormatError(f"{readable_name(source)} is not a name of a file: {error}") from error


def spooled(source: IO[bytes]) -> IO[bytes]:
    """Everything that a pipe gives, in a temporary file on disk; raises FileFormatError."""
    try:
        copy = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        copy_stream(source, copy)
        copy.seek(0)
    except OSError as error:
        raise FileFormatError(f"cannot take in the stream: {describe_error(error)}") from error
    return copy


class _GuardedSource:
    """What libsndfile reads through: an error of the system is kept, since none may pass through its callbacks."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.error: OSError | None = None
        self.seek, self.tell = file.seek, file.tell

    def read(self, count: int) -> bytes:
        try:
            data: bytes = self._file.read(count)
        except OSError as error:
            self.error = error
            return b""
        return data


def _sound_of(source: _GuardedSource) -> Any:
    """What libsndfile reads of it; raises LibsndfileError."""
    file: Any = soundfile.SoundFile(source)
    # Else soundfile seeks to where it is after every read, which a stream of unknown length cannot.
    file.seekable = lambda: False
    return file


class SoundReader:
    """A sound file open for one tier: its rate, depth and samples, block by block.

    Where no tier is named, samples are integers where the file holds such, else floats.

    What its header says about its length is checked against what is there: a recording that was cut off is read to
    its end, and sound that is missing is told in a warning (StreamcodecWarning).
    Errors: FileFormatError for a file that cannot be opened, AudioFormatError for what libsndfile cannot read, or the
    lossless tier cannot represent.
    """

    def __init__(self, source: SoundSource, tier: Tier | None = None) -> None:
        self.name = readable_name(source)
        with contextlib.ExitStack() as opened:
            file = open_source(source)
            if file is not source:
                opened.callback(file.close)
            self._open(file)
            opened.callback(lambda: self._file.close())
            self._check(tier)
            self._opened = opened.pop_all()

    def _open(self, file: IO[bytes]) -> None:
        try:
            self._kept = tags.read_tags(file)
            if file.seek(0, io.SEEK_END) == 0:
                raise AudioFormatError(f"{self.name} is empty: there is no sound in it")
            if is_coded(file):
                raise AudioFormatError(
                    f"cannot read {self.name} as sound: it is coded already; decode it first, or transcode it "
                    "to code it anew"
                )
            bare_aac = media_file.is_bare_aac(file)
            repair = None if bare_aac else repair_of(file)
            self._promised_s = None if repair is None else repair.promised_s
            parts, self._ends_early = ogg_parts(file)
            self._later_parts = [RepairedFile(file, part) for part in parts[1:]]
            seen = parts[0] if self._later_parts else repair
            self._source = _GuardedSource(file if seen is None else RepairedFile(file, seen))
            self._source.seek(0)
            self._tags: dict[str, str] = {}
            self._media_bits: int | None = None
            self._media_format = ""
            try:
                if bare_aac:
                    raise soundfile.LibsndfileError(1)  # libsndfile would take it for MP3
                self._file = _sound_of(self._source)
            except soundfile.LibsndfileError:
                if repair is not None or self._source.error is not None or not media_file.can_read():
                    raise
                self._open_media(file)
        except (soundfile.LibsndfileError, TypeError, OSError) as error:
            why = str(error).partition("': ")[2] or str(error).replace(repr(self._source), "it") or "unknown format"
            readable = READABLE
            if not media_file.can_read():
                readable += f"; m4a, AAC, WebM, Matroska and video too with: {command_for('media')}"
            raise AudioFormatError(f"cannot read {self.name} as sound: {why.rstrip('.')}; {readable}") from error

    def _open_media(self, file: IO[bytes]) -> None:
        """What libsndfile does not read, through PyAV; raises AudioFormatError where that does not either."""
        media = media_file.decoded(file, self.name)
        self._tags, self._media_bits, self._media_format = media.tags, media.bits_per_sample, media.codec
        self._source = _GuardedSource(media.wav)
        self._file = _sound_of(self._source)

    def _check(self, tier: Tier | None) -> None:
        self.tier = tier
        subtype = self._file.subtype
        self._integers = tier is Tier.LOSSLESS or (tier is None and subtype in INTEGER_BITS)
        if self._integers and subtype not in INTEGER_BITS:
            kind = (
                "floating-point samples"
                if subtype in WIDE_SUBTYPES
                else f"sound that was coded with loss ({subtype})"
            )
            if self._media_format:
                kind = f"{self._media_format} sound, which decodes to floating-point samples"
            raise AudioFormatError(
                f"{self.name} holds {kind}; the lossless tier takes 8-, 16-, 24- and 32-bit PCM: convert it first, "
                "or use the near-lossless tier"
            )
        usual_bits = 24 if subtype in WIDE_SUBTYPES else 16
        self.bits_per_sample = self._media_bits or INTEGER_BITS.get(subtype, usual_bits)
        if not self._integers:
            self.bits_per_sample = min(max(self.bits_per_sample, 16), 24)
        self.sample_rate_hz = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        frames = int(self._file.frames)
        self.samples = frames if frames < 1 << 48 and not self._later_parts else 0
        """What the header says; 0 where it says nothing."""
        found = {k: v for k, v in self._tags.items() if k in METADATA_FIELDS} or {
            k: str(getattr(self._file, k)) for k in METADATA_FIELDS if getattr(self._file, k, "")
        }
        self.metadata = {**found, **self._kept.fields}  # of several values libsndfile knows the first
        self.pictures = self._kept.pictures

    def __enter__(self) -> SoundReader:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def blocks(self, *, to_code: bool = True) -> Iterator[Samples]:
        """All samples, at most a second at a time, to the real end of the file.

        A file that is damaged, or was cut off, ends where it can be read no further, which is told (see the class).
        So is sound that is louder than full scale, where it is ``to_code``.

        Shape: ``[n, channels]``, float32 and finite, or for the lossless tier (and for none) int32 of its depth.
        Errors: AudioFormatError where the file is damaged from the start, FileFormatError where the system fails.
        """
        kind: Any = np.int32 if self._integers else np.float32
        most = max(1, MAX_BLOCK_VALUES // self.channels)
        total, peak, not_finite, damaged = 0, 0.0, 0, False
        while not damaged:
            block = np.empty((min(self.sample_rate_hz, most), self.channels), kind)
            count, damaged = self._read_into(block)
            if self._source.error is not None:
                raise FileFormatError(f"cannot read {self.name}: {describe_error(self._source.error)}")
            if count == 0:
                if not damaged and self._next_part():
                    continue
                break
            total += count
            block = as_read(block[:count], self._file.subtype)
            if not self._integers:
                loudest = float(np.abs(block).max())
                if not np.isfinite(loudest):
                    loudest = float(np.abs(block[np.isfinite(block)]).max(initial=0.0))
                    not_finite += clean(block.reshape(-1))
                peak = max(peak, loudest)
            yield block >> (32 - self.bits_per_sample) if self._integers else block
        self._say_what_is_missing(total / self.sample_rate_hz, damaged)
        warn_of_not_finite(self.name, not_finite)
        if peak > CLIPPED_PEAK and to_code:
            warnings.warn(
                f"{self.name} reaches {peak:.3g} times full scale: the near-lossless tier keeps up to 8 times, for "
                f"decoding with {given('floats', True)}; everything else clips it, so lower the sound first",
                StreamcodecWarning,
                stacklevel=2,
            )

    def _read_into(self, block: Samples) -> tuple[int, bool]:
        """Fill a block as far as there is sound; how far, and whether the file is damaged behind it."""
        filled = 0
        while filled < len(block):
            piece = block[filled : filled + PIECE_SAMPLES]
            try:
                count: int = self._file.buffer_read_into(piece, block.dtype.name)
            except soundfile.LibsndfileError:
                return filled, True
            if count == 0:
                break
            filled += count
        return filled, False

    def _next_part(self) -> bool:
        """Go on with the next recording of a chained file, where there is one of the same rate and channels."""
        if not self._later_parts:
            return False
        source = _GuardedSource(self._later_parts.pop(0))
        try:
            part = _sound_of(source)
            what = f"of {part.samplerate} Hz and {part.channels} channels"
        except soundfile.LibsndfileError:
            part, what = None, "that is damaged"
        here = f"of {self.sample_rate_hz} Hz and {self.channels} channels"
        if part is None or what != here:
            self._later_parts = []
            warnings.warn(
                f"{self.name} goes on, after a recording {here}, with one {what}: what follows is left out; cut the "
                "file there",
                StreamcodecWarning,
                stacklevel=3,
            )
            return False
        self._file.close()
        self._source, self._file = source, part
        return True

    def _say_what_is_missing(self, found_s: float, damaged: bool) -> None:
        promised_s = max(self._promised_s or 0.0, self.samples / self.sample_rate_hz)
        if found_s == 0.0 and damaged:
            raise AudioFormatError(f"{self.name} is damaged: no sound in it can be read; take another copy")
        if found_s == 0.0:
            warnings.warn(f"{self.name} holds no sound", StreamcodecWarning, stacklevel=3)
        elif damaged:
            promised = f" of the {promised_s:.2f} s that its header promises" if promised_s else ""
            warnings.warn(
                f"{self.name} can be read for {found_s:.2f} s{promised}: it was cut off or damaged there, and what "
                "follows is left out",
                StreamcodecWarning,
                stacklevel=3,
            )
        elif self._ends_early:
            warnings.warn(
                f"{self.name} ends after {found_s:.2f} s without its last page: it was cut off, or is of a stream",
                StreamcodecWarning,
                stacklevel=3,
            )
        elif promised_s > found_s + MISSING_S:
            warnings.warn(
                f"{self.name} ends after {found_s:.2f} s of the {promised_s:.2f} s that its header promises",
                StreamcodecWarning,
                stacklevel=3,
            )

    def read(self) -> Samples:
        """All samples at once; shape and type as of :meth:`blocks`."""
        nothing = np.zeros((0, self.channels), np.int32 if self._integers else np.float32)
        return np.concatenate([nothing, *self.blocks()])


class _Borrowed:
    """A file object that the caller closes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __enter__(self) -> IO[bytes]:
        return self._file

    def __exit__(self, *error: object) -> None:
        return None


def open_binary(file: SoundSource) -> Any:
    """A context that gives a file open for reading, from its start if it has a name; raises FileFormatError.

    The caller's own file objects stay open. Pipes are copied to disk, so that what is given can seek.
    """
    opened = open_source(file)
    return _Borrowed(opened) if opened is file else opened
