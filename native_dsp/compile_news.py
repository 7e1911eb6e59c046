"""Who wants to know that a kernel is being compiled: the first start on a machine takes one to three minutes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

listeners: list[Callable[[str], None]] = []
"""Called with the name of each kernel that the cache does not hold, before it is compiled."""
WORDS = "compiling for this machine, once: one to three minutes ('streamcodec warmup' does it beforehand)"
SAY_AFTER_S = 1.0
_logger = logging.getLogger(__name__)
_first_s = _told_s = 0.0


def tell(kernel: str) -> None:
    """Tell those who listen; where nobody does, the log, once, as soon as it takes more than a moment."""
    global _first_s, _told_s
    for listener in listeners:
        listener(kernel)
    now_s = time.monotonic()
    _first_s = _first_s or now_s
    if not listeners and not _told_s and now_s - _first_s > SAY_AFTER_S:
        _told_s = now_s
        _logger.warning(WORDS)


class CacheWarning(RuntimeWarning):
    """Compiled kernels are not kept."""
