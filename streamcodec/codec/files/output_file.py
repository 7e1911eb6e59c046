"""Output files: written beside their name and put there when whole, never over what is being read."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import shutil
import stat
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from streamcodec.errors import FileFormatError

if sys.platform != "win32":
    import fcntl

FileSource = str | Path | IO[bytes]

PART_SUFFIX = ".part"
UNFINISHED = ".unfinished-"
COPY_BYTES = 1 << 20
LONGEST_PART_NAME = 200
FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
"""Errors of a disk that takes no more."""
_STREAM_FOLDERS = ("/dev/fd/", "/dev/std", "/proc/")


def describe_error(error: OSError) -> str:
    """What the system says, such as ``No space left on device``."""
    return error.strerror or str(error) or type(error).__name__


def readable_name(file: FileSource) -> str:
    """What to call a file in a message, whatever bytes its name is made of."""
    if not isinstance(file, str | Path):
        file = getattr(file, "name", "")
        if not isinstance(file, str | bytes) or not file:
            return "the stream"
    return os.fsencode(file).decode("utf-8", "backslashreplace")


def free_name(names: Sequence[str], taken: Counter[str]) -> str:
    """The first of ``names`` that is not taken, else the last with a number behind it; from now on it is taken."""
    for name in names:
        if name not in taken:
            break
    else:
        while name in taken:
            taken[names[-1]] += 1
            name = f"{names[-1]}-{taken[names[-1]]}"
    taken[name] = 1
    return name


def check_file(file: object, method: str) -> None:
    """Raise FileFormatError for what is neither the name of a file nor a file object with this method."""
    if not isinstance(file, str | Path) and not hasattr(file, method):
        raise FileFormatError(
            f"a file is given by its name (str or Path) or as a binary file object, got {type(file).__name__}"
        )


def check_not_read(target: FileSource, *sources: FileSource | None) -> None:
    """Raise FileFormatError where ``target`` is one of ``sources``: by identity, through links of any kind."""
    written = _identity(target)
    for source in sources:
        if source is not None and written is not None and _identity(source) == written:
            raise FileFormatError(
                f"{readable_name(target)} is the file that is read: writing it would destroy it; give another name"
            )


def check_folder(target: str | Path) -> None:
    """Raise FileFormatError where nothing can be written by this name, before any work is done for it."""
    path = Path(os.path.realpath(target))
    _refuse_folder(target, path)
    if not path.parent.is_dir():
        raise FileFormatError(
            f"cannot write {readable_name(target)}: there is no folder {readable_name(path.parent)}"
        )


def _refuse_folder(target: str | Path, path: Path) -> None:
    if os.path.isdir(path):
        raise FileFormatError(f"cannot write {readable_name(target)}: it is a folder; name a file in it")


def check_folder_to_fill(folder: str | Path) -> None:
    """Raise FileFormatError where no files can be written into a folder of this name, which may be made for it."""
    path = Path(os.path.realpath(folder))
    there = next(above for above in (path, *path.parents) if os.path.lexists(above) or above == above.parent)
    if not os.path.isdir(there):
        raise FileFormatError(
            f"cannot write into {readable_name(folder)}: {readable_name(there)} is a file; name a folder"
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise FileFormatError(
            f"cannot write into {readable_name(folder)}: {readable_name(there)} may not be written; name another "
            "folder"
        )


def _identity(file: FileSource) -> tuple[int, int] | None:
    """Device and inode of a regular file; None of a pipe, a device, a buffer or what does not exist."""
    try:
        found = os.stat(file) if isinstance(file, str | Path) else os.fstat(file.fileno())
    except (OSError, ValueError, AttributeError):
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


class OutputStream:
    """A binary file being written; what the system refuses becomes FileFormatError, which names the file."""

    def __init__(self, file: io.FileIO, name: str) -> None:
        self._file = file
        self._name = name

    def read(self, count: int = -1) -> bytes:
        """What was written, from the position on."""
        with self._named():
            return self._file.read(count) or b""

    def truncate(self, size: int | None = None) -> int:
        """Cut what lies behind."""
        with self._named():
            return self._file.truncate(size)

    def readable(self) -> bool:
        """Whether what was written can be read again."""
        return self._file.readable()

    def write(self, data: bytes | memoryview) -> int:
        """Append or overwrite at the position."""
        left = memoryview(data)
        with self._named():
            while left:
                left = left[self._file.write(left) or 0 :]
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position."""
        with self._named():
            return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The position."""
        return self._file.tell()

    def flush(self) -> None:
        """Hand everything written to the system."""
        with self._named():
            self._file.flush()

    def close(self) -> None:
        """Give the file back, whatever became of it."""
        with contextlib.suppress(OSError):
            self._file.close()

    def seekable(self) -> bool:
        """Whether the position can be moved: not in pipes and devices."""
        return self._file.seekable()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            raise FileFormatError(f"cannot write {self._name}: {describe_error(error)}") from error


@contextmanager
def whole_file(target: str | Path, *sources: FileSource | None, recording: bool = False) -> Iterator[OutputStream]:
    """A file that appears under its name when the block has ended without an error, and not before.

    Until then an older file of that name stays; after an error, or Ctrl-C, nothing new is left. Where the name is a
    link, what it points at is replaced and the link stays. Pipes and devices are written directly.
    A process that is killed leaves a hidden file beside it, or one to be seen and played for a ``recording``, which
    nobody can make again: see :func:`unfinished_recordings`.
    Raises FileFormatError where the target is one of ``sources``, or the system refuses.
    """
    name = readable_name(target)
    check_not_read(target, *sources)
    path = Path(os.path.realpath(target))
    if _is_stream(target, path):
        stream = OutputStream(_opened(target, name), name)
        try:
            yield stream
            stream.flush()
        finally:
            stream.close()
        return
    _refuse_folder(target, path)
    part = path.with_name(_unfinished_name(path) if recording else _part_name(path.name))
    try:
        file = open(part, "x+b", buffering=0)  # noqa: SIM115 - closed below, where errors of closing are told apart
    except (OSError, ValueError) as error:
        raise FileFormatError(f"cannot write {name}: {_why(error)}") from error
    try:
        _hold(file)
        stream = OutputStream(file, name)
        yield stream
        stream.flush()
        try:
            _keep_mode(path, part)
            os.fsync(file.fileno())
            file.close()
            os.replace(part, path)
        except OSError as error:
            raise FileFormatError(f"cannot write {name}: {describe_error(error)}") from error
    except BaseException:
        with contextlib.suppress(OSError):
            file.close()
        with contextlib.suppress(OSError):
            part.unlink()
        raise


@contextmanager
def whole_folder(target: str | Path, last: str) -> Iterator[Path]:
    """A folder of the target's name whose files come into ``target`` when the block has ended without an error.

    Those of the same names are replaced, ``last`` at the end: the file that says what the others are. Other files in
    ``target`` stay; after an error, or Ctrl-C, nothing has changed. Raises FileFormatError where the system refuses.
    """
    path = Path(os.path.realpath(target))
    apart = path.with_name(_part_name(path.name))
    made = apart / path.name
    try:
        with _refused(target):
            made.mkdir(parents=True)
        try:
            yield made
        except OSError as error:
            # What is read in the block is no business of the target's.
            if not str(error.filename or "").startswith(str(made)) and error.errno not in FULL:
                raise
            raise FileFormatError(f"cannot write {readable_name(target)}: {describe_error(error)}") from error
        with _refused(target):
            path.mkdir(exist_ok=True)
            for file in sorted(made.iterdir(), key=lambda file: (file.name == last, file.name)):
                os.replace(file, path / file.name)
    finally:
        shutil.rmtree(apart, ignore_errors=True)


@contextmanager
def _refused(target: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileFormatError(f"cannot write {readable_name(target)}: {describe_error(error)}") from error


def unfinished_recordings(target: str | Path) -> list[Path]:
    """What recordings to this name have left whose process was killed; none that is still being written."""
    path = Path(os.path.realpath(target))
    try:
        beside = [path.with_name(name) for name in sorted(os.listdir(path.parent))]
    except OSError:
        return []
    start = _start_of_name(path.name) + UNFINISHED
    return [part for part in beside if part.name.startswith(start) and not _is_held(part)]


def _hold(file: io.FileIO) -> None:
    """Until it is closed, or its process has ended, others know that it is being written."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_held(part: Path) -> bool:
    if sys.platform == "win32":
        return False
    try:
        with open(part, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def write_whole(target: str | Path, data: bytes | memoryview | str) -> None:
    """A small file in one piece, as :func:`whole_file` writes it; text as UTF-8. Raises FileFormatError."""
    with whole_file(target) as out:
        out.write(data.encode() if isinstance(data, str) else data)


def check_figure(target: str | Path) -> None:
    """Raise FileFormatError where :func:`save_figure` could not write by this name; needs matplotlib."""
    from matplotlib.backend_bases import FigureCanvasBase

    check_folder(target)
    kinds = FigureCanvasBase.get_supported_filetypes()
    if _figure_kind(target) not in kinds:
        raise FileFormatError(
            f"cannot write {readable_name(target)}: no kind of picture is called {Path(target).suffix}; use a .png "
            "name"
        )


def _figure_kind(target: str | Path) -> str:
    return Path(target).suffix[1:].lower() or "png"


def save_figure(figure: Any, target: str | Path, **options: Any) -> None:
    """A picture of matplotlib's, the suffix saying of what kind (PNG where there is none), as :func:`write_whole`."""
    picture = io.BytesIO()
    figure.savefig(picture, format=_figure_kind(target), **options)
    write_whole(target, picture.getvalue())


def copy_stream(source: IO[bytes], target: Any) -> None:
    """Everything from the source's position on, in pieces."""
    while piece := source.read(COPY_BYTES):
        target.write(piece)


def _is_stream(target: str | Path, path: Path) -> bool:
    """Whether a name stands for a pipe, a device or an open descriptor, where there is nothing to rename to."""
    if str(target).startswith(_STREAM_FOLDERS):
        return True
    try:
        return not stat.S_ISREG(path.stat().st_mode) and not path.is_dir()
    except (OSError, ValueError):
        return False


def _opened(target: str | Path, name: str) -> io.FileIO:
    try:
        return open(target, "wb", buffering=0)
    except (OSError, ValueError) as error:
        raise FileFormatError(f"cannot write {name}: {_why(error)}") from error


def _start_of_name(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:LONGEST_PART_NAME])


def _part_name(name: str) -> str:
    return f".{_start_of_name(name)}.{secrets.token_hex(4)}{PART_SUFFIX}"


def _unfinished_name(path: Path) -> str:
    """Players go by the suffix."""
    return f"{_start_of_name(path.name)}{UNFINISHED}{secrets.token_hex(4)}{path.suffix}"


def _keep_mode(path: Path, part: Path) -> None:
    """Permissions of the file that is replaced."""
    with contextlib.suppress(OSError):
        os.chmod(part, stat.S_IMODE(path.stat().st_mode))


def _why(error: OSError | ValueError) -> str:
    return describe_error(error) if isinstance(error, OSError) else str(error)
