"""How every kernel is compiled: once, cached on disk, in plain IEEE arithmetic with fused multiply-add allowed.

Compiled code goes to ``__pycache__`` beside the source, to the user's cache folder where that is read-only, or to
``NUMBA_CACHE_DIR``. Numba notices a change of the file that a kernel stands in, not of files whose kernels it calls:
after editing a kernel here, delete the caches (``find . -name '*.nb[ic]' -delete``) or point ``NUMBA_CACHE_DIR``
elsewhere.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

OPTIONS: Any = {"fastmath": {"contract"}, "error_model": "numpy", "nogil": True}
# Between compiled functions every array of every struct costs two atomic counts of references, about 10 ns, unless
# the callee becomes part of its caller.
INLINED_OPTIONS: Any = {**OPTIONS, "forceinline": True}


def kernel(function: Function) -> Function:
    """Compile on first call for the types it is called with, and keep the machine code on disk.

    Called from another compiled function it becomes part of that.
    """
    return _cached(function, INLINED_OPTIONS)


def outlined_kernel(function: Function) -> Function:
    """A :func:`kernel` that stays a function of its own, for what is long and called in many places.

    It counts no references, so that a call costs nothing, and does not compile where it would allocate an array.
    """
    return _cached(function, {**OPTIONS, "_nrt": False})


def integer_kernel(function: Function) -> Function:
    """A :func:`kernel` that joins its callers before typing, which spares more counts: symbols code twice as fast.

    For integers only, because it takes over its caller's rules for floating point.
    """
    return _cached(function, {**INLINED_OPTIONS, "inline": "always"})


def unordered_kernel(function: Function) -> Function:
    """A :func:`kernel` whose sums may be added up in any order, several at a time.

    For sound that is only listened to, never for what two ends must agree on.
    """
    return _cached(function, {**INLINED_OPTIONS, "fastmath": {"contract", "reassoc", "nsz"}})


def inlined(function: Function) -> Function:
    """Compile as a part of its callers, so that constants passed to it are constants inside it."""
    compiled: Function = numba.njit(**INLINED_OPTIONS)(function)
    return compiled


def _cached(function: Function, options: Any) -> Function:
    """Where no cache folder can be written, the kernel still works but compiles anew in every process."""
    try:
        compiled: Function = numba.njit(cache=True, **options)(function)
    except RuntimeError as error:
        warnings.warn(f"compiled kernels cannot be cached: {error}", RuntimeWarning, stacklevel=3)
        compiled = numba.njit(**options)(function)
    return compiled
