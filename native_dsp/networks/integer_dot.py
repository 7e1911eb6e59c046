"""Dot products of integers that fit in 16 bits, exact whatever computes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from native_dsp.jit import inlined
from native_dsp.networks.simd_product import wasm_dot, x86_pairs

_SHORT, _INT, _LONG = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_TOGETHER = 8
_DOTS_IN_32_BITS = 4
"""A lane adds up two products at a time, each at most 2^15 times 2^12."""


def _sum_of_eights_typed(typing_context: Any, weights: Any, values: Any, eights: Any) -> Any:
    """The dot product of the first ``8 * eights`` entries; none where :func:`_eights_of` says so."""
    wide = {types.int16: _SHORT, types.int32: _INT, types.int64: _LONG}[values.dtype]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pairs = _pairs_of(context)
        if pairs is None:
            return ir.Constant(_LONG, 0)
        data = [context.make_array(signature.args[k])(context, builder, arguments[k]).data for k in (0, 1)]
        eights = context.cast(builder, arguments[2], signature.args[2], types.intp)
        nothing = ir.Constant(ir.VectorType(_INT, 4), [0] * 4)
        recent = cgutils.alloca_once_value(builder, nothing)  # type: ignore[no-untyped-call]
        wide_lanes = ir.VectorType(_LONG, 4)
        total = cgutils.alloca_once_value(builder, ir.Constant(wide_lanes, [0] * 4))  # type: ignore[no-untyped-call]

        def settle() -> None:
            lanes = builder.sext(builder.load(recent), wide_lanes)
            builder.store(builder.add(builder.load(total), lanes), total)
            builder.store(nothing, recent)

        with cgutils.for_range(builder, eights, intp=eights.type) as loop:
            start = builder.mul(loop.index, ir.Constant(eights.type, _TOGETHER))
            vectors = []
            for base, kind in zip(data, (_SHORT, wide), strict=True):
                vector = ir.VectorType(kind, _TOGETHER)
                place = builder.bitcast(builder.gep(base, [start]), vector.as_pointer())
                vectors.append(builder.load(place, align=kind.width // 8))
            narrow = vectors[1] if wide is _SHORT else builder.trunc(vectors[1], ir.VectorType(_SHORT, _TOGETHER))
            builder.store(builder.add(builder.load(recent), pairs(builder, vectors[0], narrow)), recent)
            last = ir.Constant(eights.type, _DOTS_IN_32_BITS - 1)
            with builder.if_then(builder.icmp_unsigned("==", builder.and_(loop.index, last), last)):
                settle()
        settle()
        lanes = builder.load(total)
        first, *others = (builder.extract_element(lanes, ir.Constant(_INT, k)) for k in range(4))
        for other in others:
            first = builder.add(first, other)
        return first

    return types.int64(weights, values, eights), generate


def _eights_of_typed(typing_context: Any, length: Any) -> Any:
    """How many eights of a length are added up so: all on x86 and on WebAssembly with SIMD, elsewhere none."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        length = context.cast(builder, arguments[0], signature.args[0], types.intp)
        if _pairs_of(context) is None:
            return ir.Constant(length.type, 0)
        return builder.ashr(length, ir.Constant(length.type, 3))

    return types.intp(length), generate


def _pairs_of(context: Any) -> Callable[[Any, Any, Any], Any] | None:
    """What multiplies eight 16-bit integers and adds them up two by two, where that is one instruction."""
    triple, _, features = context.codegen().magic_tuple()
    processor = features.split(",")
    if str(triple).startswith("wasm") and "+simd128" in processor:
        return wasm_dot
    if str(triple).startswith("x86_64") and "+avx2" in processor:
        return partial(x86_pairs, name="llvm.x86.sse2.pmadd.wd")
    return None


_eights_of: Any = intrinsic(_eights_of_typed)
_sum_of_eights: Any = intrinsic(_sum_of_eights_typed)


@inlined
def dot_of_shorts(weights: NDArray[np.int16], values: NDArray[np.signedinteger[Any]]) -> Any:
    """Sum of products; ``values`` must lie within 2^12 either way (other weights than 16 bits do not type).

    Left to the compiler, products would be of 64 bits: one by one on WebAssembly, four at a time on x86.

    Shape: weights int16, values int16, int32 or int64, both ``[n]`` and contiguous.
    """
    eights = _eights_of(len(weights))
    total = _sum_of_eights(weights, values, eights)
    for i in range(8 * eights, len(weights)):
        total += np.int64(weights[i]) * np.int64(values[i])
    return total
