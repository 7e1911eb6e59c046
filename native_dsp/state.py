"""State of kernels: named tuples of arrays (and of such tuples), copied as one."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

State = TypeVar("State")


def copy_state(state: State) -> State:
    """A copy that shares no memory with ``state``: arrays are copied, tuples walked, anything else kept."""
    copied: Any = state
    if isinstance(state, np.ndarray):
        copied = state.copy()
    elif isinstance(state, tuple) and hasattr(state, "_fields"):
        copied = type(state)(*(copy_state(part) for part in state))
    result: State = copied
    return result
