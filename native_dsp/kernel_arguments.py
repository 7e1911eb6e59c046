"""Many arrays handed to compiled code once and for all, where every call would take 0.2 us for each of them."""

from __future__ import annotations

from typing import Any

from numba.core import types
from numba.experimental import structref

from native_dsp.jit import kernel


@structref.register
class _KernelArgumentsType(types.StructRef):
    """What the compiler knows of :class:`KernelArguments`."""


class KernelArguments(structref.StructRefProxy):
    """A (named) tuple that kernels find in ``parts``; the arrays in it stay the caller's."""

    parts: Any


structref.define_proxy(KernelArguments, _KernelArgumentsType, ["parts"])  # type: ignore[no-untyped-call]


@kernel
def bundle_arguments(parts: Any) -> Any:
    """Take over a tuple of arrays, to be passed to kernels as one argument."""
    return KernelArguments(parts)  # type: ignore[no-untyped-call]
