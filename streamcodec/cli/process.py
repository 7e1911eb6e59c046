"""What surrounds every command: signals, standard streams, warnings, and errors in one line with an exit code."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ExtensionFileLoader
from types import FrameType
from typing import Any

from native_dsp import compile_news
from streamcodec.codec.files.output_file import FULL
from streamcodec.errors import StreamcodecError, StreamcodecWarning
from streamcodec.wording import Spelling, spelt

BAD_INPUT, INTERRUPTED, TERMINATED = 2, 130, 143
OPTIONS = {
    name: Spelling(f"--{name.replace('_', '-')}")
    for name in (
        "backend",
        "channels",
        "constrained",
        "dtx",
        "mode",
        "model",
        "optimise",
        "packet_ms",
        "ratio",
        "tier",
    )
} | {
    "bitrate_bps": Spelling("--kbps", 0.001),
    "wire_bps": Spelling("--wire-kbps", 0.001),
    "key_period_s": Spelling("--key-period"),
    "snr_db": Spelling("--snr"),
    "max_duration_s": Spelling("--max-duration"),
    "source_model": Spelling("--source-model"),
    "floats": Spelling("--float"),
    "buffer_ms": Spelling("--buffer"),
    "mean_burst_packets": Spelling("--burst"),
    "sample_rate_hz": Spelling("the sample rate"),
    "url": Spelling("--server"),
    "alternates": Spelling("--alternate"),
}
"""What the arguments of the API are called at a prompt."""
RETRY_S = 0.005
_CONTROLS = {code: ascii(chr(code))[1:-1] for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)}
"""Characters that end a line or move the cursor, as escapes."""
COMPILING = "compiling for this machine, once, one to three minutes ..."
# An exception in a callback of a C library is printed and forgotten, by some without asking ``sys.unraisablehook``.
_CALLBACK_FILES = ("executionengine.py", "soundfile.py", "sounddevice.py")
_CALLBACK_NAMES = ("_raw_object_cache", "vio_", "callback")
# Where an extension module is loaded: many make of an exception an ImportError that does not say why.
_EXTENSION_LOADER = ExtensionFileLoader.create_module.__code__, ExtensionFileLoader.exec_module.__code__


def run_command(run: Callable[[], None]) -> int:
    """Run to the end; returns the exit code, 2 for what the user can mend, after one line about it."""
    try:
        with _signals(), _plain_warnings(), _compile_news(), spelt(OPTIONS):
            run()
            _flush()
    except StreamcodecError as error:
        return _failed(str(error))
    except BrokenPipeError:
        _discard_output()
        return 0
    except OSError as error:
        where = _printable(error.filename) if error.filename else "cannot write" if _is_full(error) else "cannot read"
        return _failed(f"{where}: {error.strerror or error}")
    except KeyboardInterrupt:
        _discard_output()
        return INTERRUPTED
    return 0


def _is_full(error: OSError) -> bool:
    return error.errno in FULL


def occupy_standard_streams() -> None:
    """Keep descriptors 0 to 2 from being taken by the files of a command where the caller has closed them."""
    for number in range(3):
        if not _is_open(number):
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_RDWR)


def take_names_of_any_bytes() -> None:
    """Print what the terminal's encoding lacks, such as the name of a file, as an escape and not as an error."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _failed(sentence: str) -> int:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(f"streamcodec: {_printable(sentence)}", file=sys.stderr, flush=True)
    _discard_output()
    return BAD_INPUT


def _printable(text: object) -> str:
    """One line that any terminal takes, however the name of a file came into it."""
    plain = os.fsdecode(text) if isinstance(text, bytes) else str(text)
    plain = plain.translate(_CONTROLS)
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    return plain.encode(encoding, "backslashreplace").decode(encoding, "replace")


def _flush() -> None:
    """What was printed, handed over while errors can still be told."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StreamcodecError(f"cannot write to standard output: {error.strerror or error}") from error
    except ValueError as error:
        raise StreamcodecError("standard output is closed") from error


def _discard_output() -> None:
    """Nothing more is to be written at the exit to an output that failed."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """This package's warnings as lines like the errors, each once."""
    usual = warnings.showwarning
    said: set[str] = set()

    def show(message: Any, category: type[Warning], *rest: Any, **more: Any) -> None:
        if not issubclass(category, (StreamcodecWarning, compile_news.CacheWarning)):
            usual(message, category, *rest, **more)
        elif str(message) not in said:
            said.add(str(message))
            print(f"streamcodec: {_printable(message)}", file=sys.stderr, flush=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always", StreamcodecWarning)
        warnings.simplefilter("always", compile_news.CacheWarning)
        warnings.showwarning = show
        yield


@contextmanager
def _compile_news() -> Iterator[None]:
    """A word where kernels are compiled, which takes minutes the first time on a machine and is silent else."""
    first_s = 0.0
    count, said = 0, False

    def heard(_: str) -> None:
        nonlocal first_s, count, said
        count += 1
        now_s = time.monotonic()
        first_s = first_s or now_s
        if not said and now_s - first_s > compile_news.SAY_AFTER_S:
            said = True
            print(f"streamcodec: {COMPILING}", file=sys.stderr, flush=True)
        elif said and sys.stderr is not None and sys.stderr.isatty():
            print(f"\r{count} kernels ", end="", file=sys.stderr, flush=True)

    compile_news.listeners.append(heard)
    try:
        yield
    finally:
        compile_news.listeners.remove(heard)
        if said and sys.stderr is not None and sys.stderr.isatty():
            print(file=sys.stderr)


@contextmanager
def _signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM end a command at any moment, and clean up on the way."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    hook = sys.unraisablehook

    def unraisable(lost: sys.UnraisableHookArgs) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):
            _again(signal.SIGINT)
        elif issubclass(lost.exc_type, SystemExit):
            _again(signal.SIGTERM)
        else:
            hook(lost)

    for number in before:
        signal.signal(number, _end)
    sys.unraisablehook = unraisable
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    if _in_callback(frame):
        _again(number)
        return
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(TERMINATED)


def _again(number: int) -> None:
    """The signal once more, when whatever could not be interrupted is over."""
    timer = threading.Timer(RETRY_S, signal.raise_signal, (number,))
    timer.daemon = True
    timer.start()


def _in_callback(frame: FrameType | None) -> bool:
    """Whether a C library is among the callers, which would swallow or change an exception."""
    while frame is not None:
        code = frame.f_code
        if code in _EXTENSION_LOADER:
            return True
        if code.co_filename.endswith(_CALLBACK_FILES) and code.co_name.startswith(_CALLBACK_NAMES):
            return True
        frame = frame.f_back
    return False
