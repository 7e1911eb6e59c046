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


def kernel(function: Function) -> Function:
    """Compile on first call for the types it is called with, and keep the machine code on disk.

    Where no cache folder can be written, the kernel still works but compiles anew in every process; a
    ``RuntimeWarning`` says so.
    """
    try:
        compiled: Function = numba.njit(cache=True, **OPTIONS)(function)
    except RuntimeError as error:
        warnings.warn(f"compiled kernels cannot be cached: {error}", RuntimeWarning, stacklevel=2)
        compiled = numba.njit(**OPTIONS)(function)
    return compiled


def inlined(function: Function) -> Function:
    """Compile as a part of its callers, so that constants passed to it are constants inside it."""
    compiled: Function = numba.njit(forceinline=True, **OPTIONS)(function)
    return compiled
