"""Small integer functions that compiled kernels share."""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from native_dsp.jit import inlined


def _leading_zeros_typed(typing_context: Any, value: Any) -> Any:
    """Leading zeros of a 64-bit integer, 64 for zero: one machine instruction."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), generate


_leading_zeros: Any = intrinsic(_leading_zeros_typed)


@inlined
def bit_length(value: int) -> int:
    """Bits needed to write ``value``: 0 for 0, ``floor(log2(value)) + 1`` for 1 to 2^63 - 1."""
    bits: int = 64 - _leading_zeros(value)
    return bits
