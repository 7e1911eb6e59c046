"""State of kernels: named tuples of arrays (and of such tuples), copied as one."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

State = TypeVar("State")


def copy_state(state: State) -> State:
    """A copy that shares no memory with ``state``: arrays are copied, tuples walked, anything else kept."""
    if isinstance(state, np.ndarray):
        return state.copy()
    if isinstance(state, tuple) and hasattr(state, "_fields"):
        make: Any = type(state)
        return make(*(copy_state(part) for part in state))  # type: ignore[no-any-return]
    return state
