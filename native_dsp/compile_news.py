"""Who wants to know that a kernel is being compiled: the first start on a machine takes one to three minutes."""

from __future__ import annotations

from collections.abc import Callable

listeners: list[Callable[[str], None]] = []
"""Called with the name of each kernel that the cache does not hold, before it is compiled."""


class CacheWarning(RuntimeWarning):
    """Compiled kernels are not kept."""
