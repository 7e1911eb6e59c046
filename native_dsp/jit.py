"""How every kernel is compiled: once, cached on disk, in plain IEEE arithmetic with fused multiply-add allowed.

Compiled code goes to ``__pycache__`` beside the source, to the user's cache folder where that is read-only, or to
``NUMBA_CACHE_DIR``; see ``kernel_cache``. Numba notices a change of the file that a kernel stands in, not of files
whose kernels it calls: after editing a kernel here, delete the caches (``find . -name '*.nb[ic]' -delete``) or point
``NUMBA_CACHE_DIR`` elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba.extending import register_jitable

from native_dsp.kernel_cache import use_cache

Function = TypeVar("Function", bound=Callable[..., Any])

OPTIONS: Any = {"fastmath": {"contract"}, "error_model": "numpy", "nogil": True}
# Between compiled functions every array of every struct costs two atomic counts of references, about 10 ns, unless
# the callee becomes part of its caller.
INLINED_OPTIONS: Any = {**OPTIONS, "forceinline": True}
UNORDERED = {"contract", "reassoc", "nsz"}


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


def outlined_unordered_kernel(function: Function) -> Function:
    """An :func:`outlined_kernel` with the sums of an :func:`unordered_kernel`.

    For a stage of a long chain: as parts of one huge function, loops lose the registers that they would have alone.
    """
    return _cached(function, {**OPTIONS, "_nrt": False, "fastmath": UNORDERED})


def integer_kernel(function: Function) -> Function:
    """A :func:`kernel` that joins its callers before typing, which spares more counts: symbols code twice as fast.

    For integers only, because it takes over its caller's rules for floating point.
    """
    return _cached(function, {**INLINED_OPTIONS, "inline": "always"})


def unordered_kernel(function: Function) -> Function:
    """A :func:`kernel` whose sums may be added up in any order, several at a time.

    For sound that is only listened to, never for what two ends must agree on.
    """
    return _cached(function, {**INLINED_OPTIONS, "fastmath": UNORDERED})


def inlined(function: Function) -> Function:
    """Compile as a part of its callers, so that constants passed to it are constants inside it."""
    compiled: Function = numba.njit(**INLINED_OPTIONS)(function)
    return compiled


def shared(function: Function) -> Function:
    """Leave a function as it is, for Python, and let kernels call it too, as a part of them.

    For decisions made once a packet, where a call of compiled code costs more than it saves.
    """
    marked: Function = register_jitable(function)
    return marked


def _cached(function: Function, options: Any) -> Function:
    compiled: Function = numba.njit(**options)(function)
    use_cache(compiled)
    return compiled
