"""The inner loop of products with constant matrices, written as vectors.

Left to the compiler the sums would lie along the inputs and be added up across lanes for every output, half as fast,
and pairs of 16-bit products would not be found. The vectors are those of LLVM, for any processor; wider ones than it
has are several of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

Kind = Literal["integers", "shorts", "halves", "floats"]
INTEGER_KINDS = ("integers", "shorts")

LANES, VECTORS = 16, 2
TILE = LANES * VECTORS
"""Outputs of which the sums stay in registers while the inputs pass by."""
PHASES = 2
"""Inputs, or pairs of them, in a step. Each has sums of its own, so that additions need not wait for one another, but
where there are too few registers for that."""
FEW_REGISTERS, MANY_REGISTERS = 12, 24
"""Of 16 (AVX2, WebAssembly on x86) and of 32, those that sums may take."""
PAIR = 2
"""Integers that are multiplied and added up in one instruction."""

_INT8, _INT16, _INT32, _FLOAT = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.FloatType()


def _vector(kind: Any, lanes: int = LANES) -> Any:
    return ir.VectorType(kind, lanes)


_WEIGHTS = {
    "integers": _vector(_INT8, PAIR * LANES),
    "shorts": _vector(_INT16, PAIR * LANES),
    "halves": _vector(_INT16),
    "floats": _vector(_FLOAT),
}


_WEIGHT_BYTES = {"integers": 1, "shorts": 2, "halves": 2, "floats": 4}


def inputs_together(kind: Kind) -> int:
    """Inputs whose weights for one output lie side by side."""
    return PAIR if kind in INTEGER_KINDS else 1


def step_bytes(kind: Kind) -> int:
    """Bytes of weights of one tile that one step reads."""
    return TILE * PHASES * inputs_together(kind) * _WEIGHT_BYTES[kind]


def make_simd_product(kind: Kind, rows: int) -> Callable[..., Any]:
    """A loop over all inputs of one tile, for so many rows of inputs at once.

    Returns a function for kernels, of arrays, where in them to begin, how far apart their rows are, and how many
    ``steps`` of ``PHASES * inputs_together(kind)`` inputs there are: ``(weights, first_byte, inputs, first_input,
    input_stride, sums, first_sum, sum_stride, steps)``.

    Shape: weights, the bytes of int8, int16, float16 or float32 ``[steps, PHASES, TILE, inputs_together]``; inputs
    int16 for integers and shorts, else float32; sums ``[rows, TILE]``, int32 for shorts, else float32.
    """
    together = inputs_together(kind)
    integer = kind in INTEGER_KINDS
    weight_bytes = _WEIGHT_BYTES[kind]
    zero = ir.Constant(_vector(_INT32 if integer else _FLOAT), [0] * LANES)

    @intrinsic  # type: ignore[misc, unused-ignore]
    def simd_product(  # type: ignore[no-untyped-def]
        typing, weights, first_byte, inputs, first_input, input_stride, sums, first_sum, sum_stride, steps
    ):
        signature = types.void(
            weights, first_byte, inputs, first_input, input_stride, sums, first_sum, sum_stride, steps
        )

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            weights, inputs, sums = (
                context.make_array(signature.args[k])(context, builder, args[k]).data for k in (0, 2, 5)
            )
            weights = builder.bitcast(weights, _INT8.as_pointer())
            first_byte, first_input, input_stride, first_sum, sum_stride, steps = (
                context.cast(builder, args[k], signature.args[k], types.intp) for k in (1, 3, 4, 6, 7, 8)
            )
            triple, _, features = context.codegen().magic_tuple()
            processor = [triple.split("-")[0], *features.split(",")]

            def number(value: int) -> Any:
                return ir.Constant(steps.type, value)

            def pointer(base: Any, *offsets: Any, to: Any) -> Any:
                place = base
                for offset in offsets:
                    place = builder.gep(place, [offset])
                return builder.bitcast(place, to.as_pointer())

            sums_of_output, passes = _division(kind, processor, rows)
            starts = [builder.add(first_input, builder.mul(input_stride, number(r))) for r in range(rows)]
            for vectors in passes:
                each = [(r, p, v) for r in range(rows) for p in range(sums_of_output) for v in vectors]
                total = {key: cgutils.alloca_once(builder, zero.type) for key in each}  # type: ignore[no-untyped-call]
                for slot in total.values():
                    builder.store(zero, slot)
                with cgutils.for_range(builder, steps, intp=steps.type) as loop:
                    step = builder.mul(loop.index, number(PHASES * together))
                    step_start = builder.add(first_byte, builder.mul(loop.index, number(step_bytes(kind))))
                    for p in range(PHASES):
                        offset = number(p * together)
                        places = [pointer(inputs, r, step, offset, to=_INT32 if integer else _FLOAT) for r in starts]
                        same = [_in_all_lanes(builder, builder.load(place, align=4 // together)) for place in places]
                        for v in vectors:
                            offset = number((p * VECTORS + v) * LANES * together * weight_bytes)
                            place = pointer(weights, step_start, offset, to=_WEIGHTS[kind])
                            read = _widened(builder, kind, processor, builder.load(place, align=weight_bytes))
                            for r in range(rows):
                                slot = total[r, p % sums_of_output, v]
                                add = _add_integers if integer else _add_floats
                                builder.store(add(builder, processor, builder.load(slot), read, same[r]), slot)
                for r in range(rows):
                    start = builder.add(first_sum, builder.mul(sum_stride, number(r)))
                    for v in vectors:
                        whole, *others = (builder.load(total[r, p, v]) for p in range(sums_of_output))
                        for other in others:
                            whole = builder.add(whole, other) if integer else builder.fadd(whole, other)
                        stored = builder.sitofp(whole, _vector(_FLOAT)) if kind == "integers" else whole
                        builder.store(stored, pointer(sums, start, number(v * LANES), to=stored.type), align=4)
            return context.get_dummy_value()

        return signature, generate

    made: Callable[..., Any] = simd_product
    return made


def _division(kind: Kind, processor: list[str], rows: int) -> tuple[int, list[range]]:
    """Sums of each output, and the vectors of outputs that each pass over the inputs computes.

    Sums that do not stay in registers go to memory and back at every step. Those of integers are exact; those of
    floats are as many whatever the rows, so that a row's result does not depend on the rows beside it.
    """
    wasm = _is_wasm_simd(processor)
    lanes = 16 if "+avx512f" in processor else 8 if "+avx2" in processor else 4
    registers = LANES // lanes
    room = FEW_REGISTERS if wasm or (processor[0].startswith("x86") and lanes < 16) else MANY_REGISTERS
    sums = PHASES
    if wasm or (kind in INTEGER_KINDS and rows * VECTORS * registers * PHASES > room):
        sums = 1
    if rows * VECTORS * registers * sums <= room:
        return sums, [range(VECTORS)]
    return sums, [range(v, v + 1) for v in range(VECTORS)]


def _in_all_lanes(builder: Any, value: Any) -> Any:
    nothing = ir.Constant(_vector(value.type), ir.Undefined)
    first = builder.insert_element(nothing, value, ir.Constant(_INT32, 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(_vector(_INT32), [0] * LANES))


def _widened(builder: Any, kind: Kind, processor: list[str], weights: Any) -> Any:
    """Weights as they are multiplied: int16 or float32."""
    if kind == "integers":
        return builder.sext(weights, _vector(_INT16, PAIR * LANES))
    return _from_halves(builder, processor, weights) if kind == "halves" else weights


def _from_halves(builder: Any, processor: list[str], halves: Any) -> Any:
    """Bits of float16 to float32.

    Processors that cannot would call a function for every number, one that may not be there. Moved to where float32
    has them, exponent and mantissa are those of a number 2 ** 112 times too small.
    """
    if "+f16c" in processor or "aarch64" in processor or "arm64" in processor:
        return builder.fpext(builder.bitcast(halves, _vector(ir.HalfType())), _vector(_FLOAT))

    def each(value: Any, kind: Any = _INT32) -> Any:
        return ir.Constant(_vector(kind), [value] * LANES)

    bits = builder.zext(halves, _vector(_INT32))
    magnitude = builder.shl(builder.and_(bits, each(0x7FFF)), each(13))
    size = builder.fmul(builder.bitcast(magnitude, _vector(_FLOAT)), each(2.0**112, _FLOAT))
    sign = builder.shl(builder.and_(bits, each(0x8000)), each(16))
    return builder.bitcast(builder.or_(builder.bitcast(size, _vector(_INT32)), sign), _vector(_FLOAT))


def _add_floats(builder: Any, processor: list[str], total: Any, weights: Any, inputs: Any) -> Any:
    product = builder.fmul(weights, inputs, flags=("contract",))
    return builder.fadd(total, product, flags=("contract",))


def _add_integers(builder: Any, processor: list[str], total: Any, weights: Any, inputs: Any) -> Any:
    """Products of 16-bit integers, added up two by two.

    x86 and WebAssembly have an instruction for it, which the compiler does not see once it knows that the inputs are
    all the same.
    """
    inputs = builder.bitcast(inputs, weights.type)
    if "+avx512bw" in processor:
        return builder.add(total, x86_pairs(builder, weights, inputs, name="llvm.x86.avx512.pmaddw.d.512"))
    if "+avx2" in processor:
        halves = []
        for half in (range(LANES), range(LANES, 2 * LANES)):
            both = [_lanes(builder, vector, half) for vector in (weights, inputs)]
            halves.append(x86_pairs(builder, *both, name="llvm.x86.avx2.pmadd.wd"))
        return builder.add(total, builder.shuffle_vector(*halves, ir.Constant(_vector(_INT32), list(range(LANES)))))
    if _is_wasm_simd(processor):
        quarters = []
        for start in range(0, PAIR * LANES, 8):
            both = [_lanes(builder, vector, range(start, start + 8)) for vector in (weights, inputs)]
            quarters.append(wasm_dot(builder, *both))
        halves = [_joined(builder, *quarters[:2]), _joined(builder, *quarters[2:])]
        return builder.add(total, _joined(builder, *halves))
    for first in range(PAIR):
        both = [_lanes(builder, vector, range(first, PAIR * LANES, PAIR)) for vector in (weights, inputs)]
        total = builder.add(total, builder.mul(*(builder.sext(vector, total.type) for vector in both)))
    return total


def x86_pairs(builder: Any, weights: Any, inputs: Any, *, name: str) -> Any:
    """Products of 16-bit integers, added up two by two: the instruction of x86 that has this name."""
    sums = _vector(_INT32, weights.type.count // PAIR)
    signature = ir.FunctionType(sums, [weights.type] * 2)
    function = cgutils.get_or_insert_function(builder.module, signature, name)  # type: ignore[no-untyped-call]
    return builder.call(function, [weights, inputs])


def _is_wasm_simd(processor: list[str]) -> bool:
    return processor[0].startswith("wasm") and "+simd128" in processor


def wasm_dot(builder: Any, first: Any, second: Any) -> Any:
    """Products of eight 16-bit integers each, added up two by two: one instruction of WebAssembly."""
    signature = ir.FunctionType(_vector(_INT32, 4), [_vector(_INT16, 8)] * 2)
    function = cgutils.get_or_insert_function(builder.module, signature, "llvm.wasm.dot")  # type: ignore[no-untyped-call]
    return builder.call(function, [first, second])


def _joined(builder: Any, first: Any, second: Any) -> Any:
    lanes = 2 * first.type.count
    return builder.shuffle_vector(first, second, ir.Constant(_vector(_INT32, lanes), list(range(lanes))))


def _lanes(builder: Any, vector: Any, which: range) -> Any:
    numbers = ir.Constant(_vector(_INT32, len(which)), list(which))
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), numbers)
