"""Nested tuples of arrays as compiled code finds them in a browser's memory: at fixed offsets from a base.

Shapes and strides are constants of the code, so only addresses are worked out when it runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.core.typing.typeof import typeof
from numba.extending import intrinsic
from numpy.typing import NDArray

ALIGNMENT = 64


class Region:
    """Memory that is addressed from one base; arrays that share memory here share it there."""

    def __init__(self) -> None:
        self.size = 0
        self._owners: dict[int, tuple[int, NDArray[Any]]] = {}

    def place(self, value: Any) -> None:
        """Give every array in a nested tuple its place, if it has none."""
        if isinstance(value, tuple):
            for part in value:
                self.place(part)
        elif isinstance(value, np.ndarray):
            owner = _owner(value)
            if id(owner) not in self._owners:
                self._owners[id(owner)] = (self.size, owner)
                self.size += -(-owner.nbytes // ALIGNMENT) * ALIGNMENT

    def place_others(self, region: Region, value: Any) -> None:
        """:meth:`place` those that have no place in the other region."""
        if isinstance(value, tuple):
            for part in value:
                self.place_others(region, part)
        elif isinstance(value, np.ndarray) and not region.holds(value):
            self.place(value)

    def holds(self, array: NDArray[Any]) -> bool:
        """Whether an array has its place here."""
        return id(_owner(array)) in self._owners

    def offset(self, array: NDArray[Any]) -> int:
        """Bytes from the base."""
        start, owner = self._owners[id(_owner(array))]
        return start + _address(array) - _address(owner)

    def content(self) -> bytes:
        """The arrays as they are now."""
        out = bytearray(self.size)
        for start, owner in self._owners.values():
            out[start : start + owner.nbytes] = owner.tobytes("A")
        return bytes(out)


def _owner(array: NDArray[Any]) -> NDArray[Any]:
    while isinstance(array.base, np.ndarray):
        array = array.base
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        raise ValueError(f"only whole arrays have a place, got strides {array.strides}")
    return array


def _address(array: NDArray[Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def make_view(constants: Region, stream: Region, value: Any) -> Any:
    """A function for kernels, of two base addresses, that gives ``value`` back as it lies there."""
    kind: Any = typeof(value)  # type: ignore[no-untyped-call]

    def build(context: Any, builder: Any, bases: Any, kind: Any, value: Any) -> Any:
        if isinstance(kind, types.Array):
            base, region = (bases[0], constants) if constants.holds(value) else (bases[1], stream)
            place = builder.gep(base, [ir.Constant(ir.IntType(32), region.offset(value))])
            array = context.make_array(kind)(context, builder)
            number = context.get_value_type(types.intp)
            array.data = builder.bitcast(place, array.data.type)
            array.shape = cgutils.pack_array(builder, [number(n) for n in value.shape])  # type: ignore[no-untyped-call]
            array.strides = cgutils.pack_array(builder, [number(n) for n in value.strides])  # type: ignore[no-untyped-call]
            array.itemsize, array.nitems = number(value.itemsize), number(value.size)
            array.meminfo = cgutils.get_null_value(array.meminfo.type)  # type: ignore[no-untyped-call]
            array.parent = cgutils.get_null_value(array.parent.type)  # type: ignore[no-untyped-call]
            return array._getvalue()
        if isinstance(kind, types.BaseTuple):
            kinds: Any = kind
            parts = [build(context, builder, bases, *each) for each in zip(kinds, value, strict=True)]
            return context.make_tuple(builder, kind, parts)
        return context.get_constant(kind, value)

    def view(typing_context: Any, constants_base: Any, stream_base: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return build(context, builder, arguments, kind, value)

        return kind(types.voidptr, types.voidptr), generate

    made: Any = intrinsic(view)
    return made
