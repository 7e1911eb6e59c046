"""Nested tuples of arrays as compiled code finds them through a table of addresses and lengths.

Where shapes are known only when a stream begins; :mod:`~streamcodec.web.memory_image` is for those that never change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.core.typing.typeof import typeof
from numba.extending import intrinsic
from numpy.typing import NDArray

WORD_BYTES = 4


def arrays_of(value: Any, name: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    """(dotted name, array) in the order of a table: each has a word for its address and one for each dimension."""
    if isinstance(value, np.ndarray):
        yield name, value
    elif isinstance(value, tuple):
        names = getattr(value, "_fields", [str(k) for k in range(len(value))])
        for part_name, part in zip(names, value, strict=True):
            yield from arrays_of(part, f"{name}.{part_name}" if name else part_name)


def make_table_view(value: Any) -> Any:
    """A function for kernels, of a table's address, that gives back what is like ``value`` in all but its shapes."""
    kind: Any = typeof(value)  # type: ignore[no-untyped-call]

    def build(context: Any, builder: Any, table: Any, kind: Any, value: Any, words: Iterator[int]) -> Any:
        if isinstance(kind, types.Array):
            if kind.layout != "C":
                raise ValueError(f"only arrays in C order have a place in a table, got {kind}")
            integer, number = ir.IntType(32), context.get_value_type(types.intp)

            def word() -> Any:
                place = builder.gep(table, [ir.Constant(integer, WORD_BYTES * next(words))])
                return builder.load(builder.bitcast(place, integer.as_pointer()))

            array = context.make_array(kind)(context, builder)
            array.data = builder.inttoptr(word(), array.data.type)
            shape = [builder.zext(word(), number) for _ in range(kind.ndim)]
            strides: list[Any] = []
            step = number(value.itemsize)
            for length in reversed(shape):
                strides.insert(0, step)
                step = builder.mul(step, length)
            array.shape = cgutils.pack_array(builder, shape)  # type: ignore[no-untyped-call]
            array.strides = cgutils.pack_array(builder, strides)  # type: ignore[no-untyped-call]
            array.itemsize = number(value.itemsize)
            array.nitems = builder.sdiv(step, number(value.itemsize))
            array.meminfo = cgutils.get_null_value(array.meminfo.type)  # type: ignore[no-untyped-call]
            array.parent = cgutils.get_null_value(array.parent.type)  # type: ignore[no-untyped-call]
            return array._getvalue()
        if isinstance(kind, types.BaseTuple):
            kinds: Any = kind
            parts = [build(context, builder, table, *each, words) for each in zip(kinds, value, strict=True)]
            return context.make_tuple(builder, kind, parts)
        return context.get_constant(kind, value)

    def view(typing_context: Any, table: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return build(context, builder, arguments[0], kind, value, iter(range(1 << 20)))

        return kind(types.voidptr), generate

    made: Any = intrinsic(view)
    return made
