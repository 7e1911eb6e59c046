"""Sound files, written from what a tier decodes to."""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from streamcodec.codec.files import tags
from streamcodec.codec.files.channel_order import as_written
from streamcodec.codec.files.output_file import (
    check_file,
    check_folder,
    copy_stream,
    describe_error,
    readable_name,
    unfinished_recordings,
    whole_file,
)
from streamcodec.codec.files.sound_file import CLIPPED_PEAK, METADATA_FIELDS, SoundSource
from streamcodec.codec.files.tags import Picture
from streamcodec.codec.options import Samples
from streamcodec.errors import FileFormatError, StreamcodecError, StreamcodecWarning
from streamcodec.extras import command_for
from streamcodec.wording import given

FORMATS_WITH_LENGTHS = frozenset({"WAV", "AIFF", "CAF", "W64", "AU"})
_UPDATE_HEADER_AUTO = 0x1061
LONG_FORMATS = frozenset({"FLAC", "OGG", "MP3", "CAF", "W64", "RF64", "AU", "RAW"})
"""Formats whose files may be longer than 32 bits say, or that say no length."""
MAX_SHORT_BYTES = 0xFFFF0000
"""Sound in a file of another format, whose header tells 32 bits of its length."""
UNFIT_FORMATS = frozenset({"HTK", "MPC2K", "SD2", "SDS", "SVX", "WVE", "XI"})
"""Of samplers and telephones: libsndfile writes them with another rate than it is told, or in two files."""
MAX_VORBIS_RATE_HZ = 200_000
"""Beyond which libvorbis takes the process down."""
PIECE_SAMPLES = 1 << 16
"""Written at once: libvorbis keeps what it is given on the stack."""
WRITTEN_BITS = (8, 16, 24, 32)
SUBTYPES_OF_BITS = {8: ("PCM_U8", "PCM_S8", "PCM_16"), 16: ("PCM_16",), 24: ("PCM_24",), 32: ("PCM_32",)}


def check_target(target: str | Path) -> None:
    """Raise FileFormatError where no sound can be written by this name, before any is made."""
    check_folder(target)
    _format_of(target)


def _format_of(target: str | Path) -> str:
    """libsndfile's name of the format that a suffix says."""
    suffix = Path(os.fsdecode(target)).suffix[1:].upper()
    form = {"AIF": "AIFF", "OGA": "OGG", "OPUS": "OGG", "WAVE": "WAV"}.get(suffix, suffix) or "WAV"
    if form not in soundfile.available_formats() or form in UNFIT_FORMATS:
        why = "sound of any rate does not fit into" if form in UNFIT_FORMATS else "no format of sound is called"
        raise FileFormatError(
            f"cannot write {readable_name(target)}: {why} .{suffix.lower()}; use a .wav, .flac, .ogg or .mp3 name"
        )
    return form


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
        check_file(target, "write")
        self.name = readable_name(target)
        self._bits_per_sample = bits_per_sample
        self._peak = 0.0
        self._samples = 0
        self._bytes_per_sample = channels * (4 if floats else -(-bits_per_sample // 8))
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
        form = _format_of(target) if isinstance(target, str | Path) else "WAV"
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
            if form == "OGG" and subtype is None and sample_rate_hz > MAX_VORBIS_RATE_HZ:
                raise ValueError(f"Ogg Vorbis holds at most {MAX_VORBIS_RATE_HZ} samples per second")
            return soundfile.SoundFile(self._target, "w", sample_rate_hz, channels, subtype=subtype, format=form)
        except (soundfile.LibsndfileError, TypeError, ValueError) as error:
            self._raise_system_error()
            why = str(error).rpartition(">: ")[2].rstrip(".")
            mend = "use a .wav name" if form == "FLAC" or self._floats else "use a .wav or .flac name"
            if self._floats:
                mend += f", or leave {given('floats', True)} out"
            raise FileFormatError(f"cannot write {self.name}: {why}; {mend}") from error

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
        how = "" if tags.can_read() else f"; more is kept with: {command_for('tags')}"
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
                self._check_not_empty()
                self._write_rest()
        except (soundfile.LibsndfileError, FileFormatError) as failure:
            if not as_far_as_it_goes:
                self.discard(failure)
                self._raise_system_error()
                if isinstance(failure, FileFormatError):
                    raise
                raise FileFormatError(f"cannot write {self.name}: {failure}") from failure
        self._opened.__exit__(None, None, None)
        if self._is_too_long():
            warnings.warn(
                f"{self.name} holds more than 4 GiB of sound, which WAV cannot tell: many programs will read a part "
                "of it; use a .flac, .w64 or .rf64 name",
                StreamcodecWarning,
                stacklevel=3,
            )
        if self._peak > CLIPPED_PEAK and not self._floats:
            warnings.warn(
                f"{self.name} was clipped: the sound reaches {self._peak:.3g} times full scale; 32-bit floating "
                f"point keeps it ({given('floats', True)})",
                StreamcodecWarning,
                stacklevel=3,
            )

    def _check_not_empty(self) -> None:
        """Raise FileFormatError where libsndfile has written nothing at all, which no player opens."""
        if not self._samples and self._out.seek(0, os.SEEK_END) == 0:
            raise FileFormatError(
                f"cannot write {self.name}: there is no sound to write, and no {self._file.format} without any; "
                "use a .wav name"
            )

    def _check_length(self) -> None:
        """Raise FileFormatError where the header could no longer tell the length; of WAV, which is often read to its
        end for that reason, it is told at the end."""
        form = self._file.format
        if self._is_too_long() and form not in ("WAV", "WAVEX"):
            raise FileFormatError(
                f"cannot write {self.name}: {form} holds no more than 4 GiB of sound; use a .flac, .w64 or .rf64 name"
            )

    def _is_too_long(self) -> bool:
        return self._file.format not in LONG_FORMATS and self._samples * self._bytes_per_sample > MAX_SHORT_BYTES

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
        if block.ndim == 2:
            block = as_written(block, self._file.subtype)
        self._samples += len(block)
        self._check_length()
        try:
            for start in range(0, len(block), PIECE_SAMPLES):
                self._file.write(block[start : start + PIECE_SAMPLES])
        except (soundfile.LibsndfileError, AssertionError) as error:
            self._raise_system_error()
            raise FileFormatError(f"cannot write {self.name}: {error}") from error
