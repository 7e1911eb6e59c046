"""Symmetric filters of a long row of samples, written as vectors: several filters of the same sound at once.

Left to the compiler, sums would go to memory and back for every tap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

BLOCK = 128
"""Outputs are made in whole blocks of at most so many; there must be room for them."""
_FLOAT, _INT32 = ir.FloatType(), ir.IntType(32)
_CONTRACT = ("contract",)
_SUMS = {16: 16, 8: 10, 4: 10}
"""Registers for sums, by floats in a register."""


def whole_blocks(samples: int) -> int:
    """Samples that are written, and read beyond the last of so many."""
    return -(-samples // BLOCK) * BLOCK


def make_symmetric_filter(filters: int, most_together: int = BLOCK) -> Callable[..., Any]:
    """A function for kernels that filters a row of samples by so many symmetric filters of the same length.

    Outputs are made in blocks of ``most_together`` at most. Its arguments: ``(sound, middle, taps, half, out, first,
    stride, samples)``. The outputs of filter ``f`` begin at ``first + f * stride`` in ``out``, the samples that they
    belong to at ``middle`` in ``sound``.

    Shape: sound float32, readable from ``middle - half`` to ``middle + whole_blocks(samples) + half``; taps float32
    ``[filters, half + 1]``, contiguous, the middle first; out float32 with room for whole blocks.
    """

    @intrinsic  # type: ignore[misc, unused-ignore]
    def symmetric_filter(  # type: ignore[no-untyped-def]
        typing, sound, middle, taps, half, out, first, stride, samples
    ):
        signature = types.void(sound, middle, taps, half, out, first, stride, samples)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            sound, taps, out = (
                context.make_array(signature.args[k])(context, builder, args[k]).data for k in (0, 2, 4)
            )
            middle, half, first, stride, samples = (
                context.cast(builder, args[k], signature.args[k], types.intp) for k in (1, 3, 5, 6, 7)
            )
            _, _, features = context.codegen().magic_tuple()
            processor = features.split(",")
            lanes = 16 if "+avx512f" in processor else 8 if "+avx2" in processor else 4
            vectors = 1
            while 2 * vectors * filters <= _SUMS[lanes] and 2 * vectors * lanes <= most_together:
                vectors *= 2
            vector = ir.VectorType(_FLOAT, lanes)

            def number(value: int) -> Any:
                return ir.Constant(samples.type, value)

            def place(base: Any, at: Any) -> Any:
                return builder.bitcast(builder.gep(base, [at]), vector.as_pointer())

            def tap(f: int, k: Any) -> Any:
                at = builder.add(builder.mul(number(f), builder.add(half, number(1))), k)
                nothing = ir.Constant(vector, ir.Undefined)
                one = builder.insert_element(nothing, builder.load(builder.gep(taps, [at])), ir.Constant(_INT32, 0))
                return builder.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(_INT32, lanes), [0] * lanes))

            block = number(vectors * lanes)
            blocks = builder.sdiv(builder.add(samples, number(vectors * lanes - 1)), block)
            keys = [(f, v) for f in range(filters) for v in range(vectors)]
            total = {key: cgutils.alloca_once(builder, vector) for key in keys}  # type: ignore[no-untyped-call]
            with cgutils.for_range(builder, blocks, intp=samples.type) as outer:
                start = builder.mul(outer.index, block)
                here = builder.add(middle, start)
                for v in range(vectors):
                    now = builder.load(place(sound, builder.add(here, number(v * lanes))), align=4)
                    for f in range(filters):
                        builder.store(builder.fmul(tap(f, number(0)), now), total[f, v])
                with cgutils.for_range(builder, half, intp=samples.type) as inner:
                    away = builder.add(inner.index, number(1))
                    scale = [tap(f, away) for f in range(filters)]
                    for v in range(vectors):
                        at = builder.add(here, number(v * lanes))
                        before = builder.load(place(sound, builder.sub(at, away)), align=4)
                        after = builder.load(place(sound, builder.add(at, away)), align=4)
                        both = builder.fadd(before, after)
                        for f in range(filters):
                            product = builder.fmul(scale[f], both, flags=_CONTRACT)
                            added = builder.fadd(builder.load(total[f, v]), product, flags=_CONTRACT)
                            builder.store(added, total[f, v])
                for f, v in keys:
                    at = builder.add(builder.add(first, builder.mul(stride, number(f))), start)
                    builder.store(builder.load(total[f, v]), place(out, builder.add(at, number(v * lanes))), align=4)
            return context.get_dummy_value()

        return signature, generate

    made: Callable[..., Any] = symmetric_filter
    return made
