"""The cache of compiled kernels on disk, which may be missing, full, damaged or somebody else's, and must not matter.

Numba loads what it finds there with ``pickle`` and runs it, so a folder that others can write is not used.
"""

from __future__ import annotations

import contextlib
import os
import stat
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache

from native_dsp import compile_news

VARIABLE = "NUMBA_CACHE_DIR"
WHY_IT_MATTERS = f"kernels are compiled anew in every process, for up to three minutes: name a folder in {VARIABLE}"


class KernelCache(FunctionCache):  # type: ignore[misc,unused-ignore]
    """Numba's cache of a function; where it fails the function is compiled."""

    off = False
    """Neither read nor write, for compilation for another machine."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The machine code for these types, or None."""
        if self.off:
            return None
        try:
            found: Any = super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except Exception:
            # An empty or cut file, after a power cut or on a full disk: forget it and write it again.
            with contextlib.suppress(Exception):
                self._cache_file.flush()  # type: ignore[no-untyped-call]
            found = None
        if found is None:
            compile_news.tell(self._py_func.__name__)
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep machine code, if that can be done."""
        if self.off:
            return
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except OSError as error:
            _say(f"compiled kernels cannot be kept ({error.strerror}); {WHY_IT_MATTERS} that has room")
        except RuntimeError:
            # Numba has no object code to keep of what LLVM compiled in this process before. The kernel itself works.
            return


def use_cache(compiled: Any) -> None:
    """Let a compiled function keep its machine code on disk; without a folder it is compiled in every process."""
    _leave_unsafe_folder()
    try:
        compiled._cache = KernelCache(compiled.py_func)  # type: ignore[no-untyped-call]
    except RuntimeError:
        _say(f"compiled kernels cannot be kept: no folder can be written; {WHY_IT_MATTERS} of your own")


@cache
def _leave_unsafe_folder() -> None:
    config: Any = numba.config
    folder = os.environ.get(VARIABLE) or config.CACHE_DIR
    if folder and (risk := folder_risk(Path(folder))):
        config.CACHE_DIR = ""
        os.environ.pop(VARIABLE, None)
        _say(f"{VARIABLE}={folder} is not used: {risk}, and what lies there is run; make it yours alone (chmod go-w)")


def folder_risk(folder: Path) -> str | None:
    """Why others may change what lies in a folder; None where they cannot, or where the system does not tell."""
    if os.name != "posix":
        return None
    path = Path(os.path.realpath(folder))
    while not path.exists():
        path = path.parent
    inner = path
    while True:
        found = path.stat()
        writable = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        # In a sticky folder, such as /tmp, others cannot replace what is ours.
        if writable and not (found.st_mode & stat.S_ISVTX and path != inner):
            return f"others can write {path}"
        if found.st_uid not in (0, os.geteuid()):
            return f"{path} belongs to somebody else"
        if path == path.parent:
            return None
        path = path.parent


@cache
def _say(sentence: str) -> None:
    warnings.warn(sentence, compile_news.CacheWarning, stacklevel=4)
