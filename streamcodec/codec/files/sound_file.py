"""Sound files, read and written as each tier needs them: integers for the lossless tier, floats for the others."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import soundfile

from streamcodec.codec.files import media_file, tags
from streamcodec.codec.files.ogg_parts import ogg_parts
from streamcodec.codec.files.output_file import (
    copy_stream,
    describe_error,
    readable_name,
    unfinished_recordings,
    whole_file,
)
from streamcodec.codec.files.sound_lengths import RepairedFile, repair_of
from streamcodec.codec.files.tags import Picture
from streamcodec.codec.options import Samples
from streamcodec.codec.packet import Tier
from streamcodec.errors import AudioFormatError, FileFormatError, StreamcodecError, StreamcodecWarning

METADATA_FIELDS = ("title", "artist", "album", "date", "comment", "genre", "tracknumber", "copyright", "license")
FORMATS_WITH_LENGTHS = frozenset({"WAV", "AIFF", "CAF", "W64", "AU"})
_UPDATE_HEADER_AUTO = 0x1061
INTEGER_BITS = {"PCM_U8": 8, "PCM_S8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
INTEGER_BITS |= {f"ALAC_{bits}": bits for bits in (16, 20, 24, 32)}
"""What the lossless tier takes, and its depth."""
WIDE_SUBTYPES = frozenset({"FLOAT", "DOUBLE"})
WRITTEN_BITS = (8, 16, 24, 32)
SUBTYPES_OF_BITS = {8: ("PCM_U8", "PCM_S8", "PCM_16"), 16: ("PCM_16",), 24: ("PCM_24",), 32: ("PCM_32",)}
SOUND_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3"})
READABLE = "WAV, FLAC, Ogg and MP3 files work"
READABLE_WITH_MEDIA = f'{READABLE}; m4a, WebM, Matroska and video too with: pip install "streamcodec[media]"'
CLIPPED_PEAK = 1.12
"""Coding overshoots by less; beyond this the source itself was above full scale."""
MISSING_S = 0.1
"""Sound that a header promises and the file lacks is worth a word from here on."""

SoundSource = str | Path | IO[bytes]


def name_of(file: SoundSource) -> str:
    """What to call a file in a message."""
    return readable_name(file)


def sound_files(files: Iterable[Path]) -> list[Path]:
    """Those that are sound by their suffix, sorted; hidden files of archivers (``._name``) left out."""
    return sorted(f for f in files if f.suffix.lower() in SOUND_SUFFIXES and not f.name.startswith("."))


def open_source(source: SoundSource) -> IO[bytes]:
    """A binary file that can be read twice: pipes and devices are copied to disk first. Raises FileFormatError.

    A file object of the caller's is given back as it is if it can seek.
    """
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
        raise FileFormatError(f"there is no file {name_of(source)}") from error
    except OSError as error:
        raise FileFormatError(f"cannot open {name_of(source)}: {describe_error(error)}") from error
    except ValueError as error:
        raise FileFormatError(f"{name_of(source)} is not a name of a file: {error}") from error


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


class _GuardedTarget:
    """What libsndfile writes through: see :class:`_GuardedSource`."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.error: Exception | None = None
        self.tell = file.tell

    def write(self, data: bytes) -> int:
        if self.error is not None:
            return 0
        try:
            self._file.write(data)
        except (StreamcodecError, OSError) as error:
            self.error = error
            return 0
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            position: int = self._file.seek(offset, whence)
        except (StreamcodecError, OSError) as error:
            self.error = self.error or error
            return 0
        return position


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
        self.name = name_of(source)
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
            repair = repair_of(file)
            self._promised_s = None if repair is None else repair.promised_s
            parts = ogg_parts(file)
            self._later_parts = [RepairedFile(file, part) for part in parts[1:]]
            seen = parts[0] if self._later_parts else repair
            self._source = _GuardedSource(file if seen is None else RepairedFile(file, seen))
            self._source.seek(0)
            self._tags: dict[str, str] = {}
            self._media_bits: int | None = None
            try:
                self._file = _sound_of(self._source)
            except soundfile.LibsndfileError:
                if repair is not None or self._source.error is not None or not media_file.can_read():
                    raise
                self._open_media(file)
        except (soundfile.LibsndfileError, TypeError, OSError) as error:
            why = str(error).partition("': ")[2] or str(error).replace(repr(self._source), "it") or "unknown format"
            readable = READABLE if media_file.can_read() else READABLE_WITH_MEDIA
            raise AudioFormatError(f"cannot read {self.name} as sound: {why.rstrip('.')}; {readable}") from error

    def _open_media(self, file: IO[bytes]) -> None:
        """What libsndfile does not read, through PyAV; raises AudioFormatError where that does not either."""
        media = media_file.decoded(file, self.name)
        self._tags, self._media_bits = media.tags, media.bits_per_sample
        self._source = _GuardedSource(media.wav)
        self._file = _sound_of(self._source)

    def _check(self, tier: Tier | None) -> None:
        self.tier = tier
        subtype = self._file.subtype
        self._integers = tier is Tier.LOSSLESS or (tier is None and subtype in INTEGER_BITS)
        if self._integers and subtype not in INTEGER_BITS:
            raise AudioFormatError(
                f"{self.name} holds {subtype} samples; the lossless tier takes 8-, 16-, 24- and 32-bit PCM: convert "
                "it first, or use the near-lossless tier"
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
        self.metadata = {**self._kept.fields, **found}
        self.pictures = self._kept.pictures

    def __enter__(self) -> SoundReader:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def blocks(self) -> Iterator[Samples]:
        """All samples, a second at a time, to the real end of the file.

        Shape: ``[n, channels]``, float32, or for the lossless tier (and for none) int32 of the file's depth.
        Errors: AudioFormatError where the file is damaged.
        """
        kind: Any = np.int32 if self._integers else np.float32
        total, peak = 0, 0.0
        while True:
            block = np.empty((self.sample_rate_hz, self.channels), kind)
            try:
                count = self._file.buffer_read_into(block, np.dtype(kind).name)
            except soundfile.LibsndfileError as error:
                raise AudioFormatError(
                    f"{self.name} is damaged after {total / self.sample_rate_hz:.2f} s of sound: it was cut short, "
                    "or its bytes were changed; mend or cut it with another program"
                ) from error
            if self._source.error is not None:
                raise FileFormatError(f"cannot read {self.name}: {describe_error(self._source.error)}")
            if count == 0:
                if self._next_part():
                    continue
                break
            total += count
            block = block[:count]
            if not self._integers:
                peak = max(peak, float(np.nanmax(np.abs(block), initial=0.0)))
            yield block >> (32 - self.bits_per_sample) if self._integers else block
        self._say_what_is_missing(total / self.sample_rate_hz)
        if peak > CLIPPED_PEAK:
            warnings.warn(
                f"{self.name} reaches {peak:.3g} times full scale: the near-lossless tier keeps up to 8 times, for "
                "'decode --float'; everything else clips it, so lower the sound first",
                StreamcodecWarning,
                stacklevel=2,
            )

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

    def _say_what_is_missing(self, found_s: float) -> None:
        promised_s = max(self._promised_s or 0.0, self.samples / self.sample_rate_hz)
        if found_s == 0.0:
            warnings.warn(f"{self.name} holds no sound", StreamcodecWarning, stacklevel=3)
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


def _keep_header_true(file: Any) -> None:
    """Lengths in the header with every write and not only at the end, where libsndfile can: for all players."""
    if file.format in FORMATS_WITH_LENGTHS:
        soundfile._snd.sf_command(file._file, _UPDATE_HEADER_AUTO, soundfile._ffi.NULL, 1)


def warn_of_unfinished(target: str | Path) -> None:
    """Tell (StreamcodecWarning) of recordings to this name whose process was killed."""
    for part in unfinished_recordings(target):
        warnings.warn(
            f"an earlier recording to {readable_name(target)} was cut off; {readable_name(part)} holds it: rename it "
            "to keep it, or delete it",
            StreamcodecWarning,
            stacklevel=3,
        )


class SoundWriter:
    """A sound file being written; the suffix says the format, WAV where there is none.

    ``bits_per_sample`` of 8, 16, 24 or 32 (others take the next wider), or with ``floats`` 32-bit floating point.
    A file of that name is replaced when all is written, and not before; ``sources`` are files that must not be
    written over; ``like`` is a name whose suffix says the format of a file object. What cannot be kept (tags that the
    format has no place for, floats above full scale) is told in a warning (StreamcodecWarning). Of a ``recording``
    what is there can be seen and played if the process is killed.
    Errors: FileFormatError for what libsndfile or the system cannot write.
    """

    def __init__(
        self,
        target: SoundSource,
        sample_rate_hz: int,
        channels: int,
        bits_per_sample: int,
        metadata: dict[str, str],
        *,
        pictures: tuple[Picture, ...] = (),
        sources: tuple[SoundSource, ...] = (),
        floats: bool = False,
        like: str | Path = "",
        recording: bool = False,
    ) -> None:
        self.name = name_of(target)
        self._bits_per_sample = bits_per_sample
        self._peak = 0.0
        self._floats = floats
        with contextlib.ExitStack() as opened:
            if isinstance(target, str | Path):
                out: Any = opened.enter_context(whole_file(target, *sources, recording=recording))
            else:
                out = target
            if not out.seekable():
                out = self._through_disk(opened, out)
            self._out = out
            self._target = _GuardedTarget(out)
            self._file = self._created(like or target, sample_rate_hz, channels)
            if recording:
                _keep_header_true(self._file)
            self._fields: dict[str, str] = {}
            self._pictures = pictures
            self._write_tags(metadata)
            self._opened = opened.pop_all()

    @staticmethod
    def _through_disk(opened: contextlib.ExitStack, out: Any) -> Any:
        """A temporary file that is copied to a pipe at the end: headers are completed last."""
        spool = opened.enter_context(tempfile.TemporaryFile())  # noqa: SIM115

        def pass_on(kind: object, *_: object) -> None:
            if kind is None:
                spool.seek(0)
                copy_stream(spool, out)
                out.flush()

        opened.push(pass_on)
        return spool

    def _created(self, target: SoundSource, sample_rate_hz: int, channels: int) -> Any:
        suffix = Path(os.fsdecode(target)).suffix[1:].upper() if isinstance(target, str | Path) else ""
        form = {"AIF": "AIFF", "OGA": "OGG", "OPUS": "OGG", "WAVE": "WAV"}.get(suffix, suffix) or "WAV"
        bits = next(wide for wide in WRITTEN_BITS if wide >= self._bits_per_sample)
        choices = ("FLOAT", "DOUBLE") if self._floats else SUBTYPES_OF_BITS[bits]
        try:
            possible = soundfile.available_subtypes(form)
            subtype = "OPUS" if suffix == "OPUS" else next((c for c in choices if c in possible), None)
            if self._floats and subtype is None:
                raise ValueError(f"{form} holds no floating-point samples")
            # Formats without PCM (Ogg, MP3) have one usual coding.
            if subtype is None and any(name.startswith("PCM_") for name in possible):
                raise ValueError(f"{form} holds no {bits}-bit samples")
            return soundfile.SoundFile(self._target, "w", sample_rate_hz, channels, subtype=subtype, format=form)
        except (soundfile.LibsndfileError, TypeError, ValueError) as error:
            self._raise_system_error()
            why = str(error).rpartition(">: ")[2].rstrip(".")
            raise FileFormatError(f"cannot write {self.name}: {why}; use a .wav or .flac name") from error

    def _write_tags(self, metadata: dict[str, str]) -> None:
        """Those that libsndfile writes; others are kept for :meth:`_write_rest`."""
        left = {k: v for k, v in metadata.items() if k not in METADATA_FIELDS or not self._tagged(k, v)}
        if self._file.format in tags.TAGGED and tags.can_read():
            self._fields = left
        else:
            self._say_left_out(list(left), 5)

    def _write_rest(self) -> None:
        """What libsndfile has no place for, once the sound is whole."""
        if not self._fields and not self._pictures:
            return
        readable = getattr(self._out, "readable", None)
        if readable is None or not readable():
            left = [*self._fields, *(["pictures"] if self._pictures else [])]
        else:
            left = tags.write_tags(self._out, self._file.format, self._file.subtype, self._fields, self._pictures)
        self._say_left_out(left, 5)

    def _say_left_out(self, names: list[str], level: int) -> None:
        if not names:
            return
        how = "" if tags.can_read() else f"; more is kept with: {tags.HINT}"
        warnings.warn(
            f"{self.name} has no place for {', '.join(names)}: left out{how}", StreamcodecWarning, stacklevel=level
        )

    def _tagged(self, key: str, value: str) -> bool:
        try:
            setattr(self._file, key, value)
        except (soundfile.LibsndfileError, RuntimeError, ValueError):
            return False
        return True

    def __enter__(self) -> SoundWriter:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is not None:
            self.discard(error)
        else:
            self.finish()

    def finish(self, *, as_far_as_it_goes: bool = False) -> None:
        """Complete the file and give it its name; ``as_far_as_it_goes`` keeps what a full disk has let through."""
        try:
            self._file.close()
            if not as_far_as_it_goes:
                self._raise_system_error()
                self._write_rest()
        except (soundfile.LibsndfileError, FileFormatError) as failure:
            if not as_far_as_it_goes:
                self.discard(failure)
                self._raise_system_error()
                raise FileFormatError(f"cannot write {self.name}: {failure}") from failure
        self._opened.__exit__(None, None, None)
        if self._peak > CLIPPED_PEAK and not self._floats:
            warnings.warn(
                f"{self.name} was clipped: the sound reaches {self._peak:.3g} times full scale; 32-bit floating "
                "point keeps it (--float)",
                StreamcodecWarning,
                stacklevel=3,
            )

    def discard(self, error: BaseException | None = None) -> None:
        """Give up; nothing is left, and an older file of the name stays."""
        error = error or FileFormatError(f"{self.name} is given up")
        with contextlib.suppress(soundfile.LibsndfileError):
            self._file.close()
        with contextlib.suppress(type(error)):
            self._opened.__exit__(type(error), error, error.__traceback__)

    def _raise_system_error(self) -> None:
        error = self._target.error
        if isinstance(error, StreamcodecError):
            raise error
        if isinstance(error, OSError):
            raise FileFormatError(f"cannot write {self.name}: {describe_error(error)}") from error

    def write(self, block: Samples) -> None:
        """Append samples: floats of full scale 1, or integers of the depth given.

        Shape: ``[n]`` or ``[n, channels]``.
        """
        if np.issubdtype(block.dtype, np.integer):
            # libsndfile takes the upper bits of its own integer types.
            block = block.astype(np.int32) << (32 - self._bits_per_sample)
            if self._floats:
                block = (block / np.float64(1 << 31)).astype(np.float32)
        elif len(block):
            self._peak = max(self._peak, float(np.abs(block).max()))
        try:
            self._file.write(block)
        except (soundfile.LibsndfileError, AssertionError) as error:
            self._raise_system_error()
            raise FileFormatError(f"cannot write {self.name}: {error}") from error


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
