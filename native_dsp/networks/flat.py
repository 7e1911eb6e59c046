"""A contiguous array as one row, for compiled code."""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.extending import intrinsic


def _flat_typed(typing_context: Any, array: Any) -> Any:
    """The array's memory; unlike ``ravel`` it asks nothing at run time, and so needs no helper of numba's."""
    if array.layout != "C":
        raise TypingError(f"only a contiguous array is one row, got {array}")
    row = array.copy(ndim=1)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole = context.make_array(signature.args[0])(context, builder, arguments[0])
        made = context.make_array(row)(context, builder)
        size = context.get_value_type(types.intp)
        itemsize = ir.Constant(size, context.get_abi_sizeof(context.get_data_type(row.dtype)))
        made.data, made.nitems, made.itemsize = whole.data, whole.nitems, itemsize
        made.shape = cgutils.pack_array(builder, [whole.nitems])  # type: ignore[no-untyped-call]
        made.strides = cgutils.pack_array(builder, [itemsize])  # type: ignore[no-untyped-call]
        made.meminfo, made.parent = whole.meminfo, whole.parent
        result = made._getvalue()
        if context.enable_nrt:
            context.nrt.incref(builder, row, result)
        return result

    return row(array), generate


flat: Any = intrinsic(_flat_typed)
