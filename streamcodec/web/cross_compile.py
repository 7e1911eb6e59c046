"""Numba's kernels, compiled for WebAssembly in place of this machine.

Numba can compile ahead of time for any target of its LLVM, but has no public way to say so: :func:`target_wasm`
changes the one processor context that a process has, for good, so it belongs into a process of its own. This leans on
names private to numba, which is why the ``web-build`` extra pins it.

Memory is never allocated and no reference counted: what would is missed by the linker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import llvmlite.binding as llvm  # type: ignore[import-untyped]
import numba
from llvmlite import ir
from numba.core import cgutils, codegen, cpu, types
from numba.core.callconv import CPUCallConv
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.core.runtime.nrt import rtsys

from native_dsp.jit import OPTIONS
from native_dsp.kernel_cache import KernelCache

TRIPLE = "wasm32-unknown-unknown"
FEATURES = "+simd128,+bulk-memory,+sign-ext,+nontrapping-fptoint,+mutable-globals"
BYTE_POINTER = ir.PointerType(ir.IntType(8))


class WasmCodegen(codegen.AOTCPUCodegen):  # type: ignore[misc,unused-ignore]
    """Numba's code generator with another machine behind it."""

    def _init(self, llvm_module: Any) -> None:
        self._tm_features = FEATURES
        target = llvm.Target.from_triple(TRIPLE)
        self._tm = target.create_target_machine(
            cpu="generic", features=FEATURES, opt=3, reloc="static", codemodel="default"
        )
        self._target_data = self._tm.target_data
        self._data_layout = str(self._target_data)
        self._engine: Any = None
        # A function alone is not optimised, only the whole module at the end.
        self._loopvect, self._opt_level = False, 0

    def _create_empty_module(self, name: str) -> Any:
        module = ir.Module(cgutils.normalize_ir_text(name))  # type: ignore[no-untyped-call]
        module.triple = TRIPLE
        if self._data_layout:
            module.data_layout = self._data_layout
        return module

    def _check_llvm_bugs(self) -> None:
        """Those of this machine's are another's."""

    @property
    def target_data(self) -> Any:
        """Sizes of types."""
        return self._target_data

    def magic_tuple(self) -> tuple[str, str, str]:
        """What kernels ask for the processor by."""
        return TRIPLE, "generic", FEATURES


def target_wasm() -> None:
    """From here on this process compiles kernels for WebAssembly, and can run none."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    KernelCache.off = True
    context: Any = cpu.CPUContext
    init = context.init

    def init_for_wasm(self: Any) -> None:
        init(self)
        self._internal_codegen = WasmCodegen("wasm")  # type: ignore[no-untyped-call]

    context.init = init_for_wasm
    context.create_cpython_wrapper = context.create_cfunc_wrapper = _nothing
    # Numba keys tables by what it gets here: something new each time that is never called.
    context.get_executable = lambda self, library, function, environment: [].append
    _name_no_files()
    runtime: Any = type(rtsys)
    runtime.initialize = _initialise_runtime
    cpu_target.target_context._internal_codegen = WasmCodegen("wasm")  # type: ignore[no-untyped-call]


def _name_no_files() -> None:
    """What kernels would raise is noted without the place in the sources: it would tell the folder, and change with
    it."""
    convention: Any = CPUCallConv
    return_user_exc = convention.return_user_exc

    def without_place(
        self: Any, builder: Any, exc: Any, exc_args: Any = None, loc: Any = None, func_name: Any = None
    ) -> None:
        return_user_exc(self, builder, exc, exc_args)

    convention.return_user_exc = without_place


def _nothing(*arguments: Any, **named: Any) -> None:
    pass


def _initialise_runtime(self: Any, context: Any) -> None:
    """Numba's runtime without anything in it: counting references does nothing."""
    if self._init:
        return
    library = context.codegen().create_library("runtime")
    module = library.create_ir_module("runtime")
    for name in ("NRT_incref", "NRT_decref"):
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), [BYTE_POINTER]), name)
        function.attributes.add("alwaysinline")
        ir.IRBuilder(function.append_basic_block()).ret_void()
    library.add_ir_module(module)
    library.finalize()
    self._library, self._ctx, self._init = library, context, True


Exports = Mapping[str, tuple[Callable[..., Any], Sequence[Any]]]


@global_compiler_lock  # type: ignore[untyped-decorator,no-untyped-call,unused-ignore]
def compile_module(exports: Exports) -> bytes:
    """An object file of these functions, by name with the types of their arguments; each must return an integer.

    What a kernel raises comes back as its status, a number below zero.
    """
    context = cpu_target.target_context
    context.refresh()
    cpu_target.typing_context.refresh()
    generator = context.codegen()
    library = generator.create_library("exports")
    for name, (function, arguments) in exports.items():
        dispatcher: Any = numba.njit(**OPTIONS)(function)
        dispatcher.compile(tuple(arguments))
        compiled = dispatcher.overloads[tuple(arguments)]
        library.add_linking_library(compiled.library)
        module = context.create_module(f"export of {name}")
        _add_wrapper(context, module, name, compiled.fndesc)
        library.add_ir_module(module)
    library.finalize()
    whole = library._final_module
    # Once nothing but the exports can be seen from outside, all else is inlined or dropped.
    for each in (*whole.functions, *whole.global_variables):
        if not each.is_declaration and each.name not in exports:
            each.linkage = "internal"
    manager, builder = generator._module_pass_manager()
    manager.run(whole, builder)
    whole.verify()
    code: bytes = generator._tm.emit_object(whole)
    return code


def _add_wrapper(context: Any, module: Any, name: str, description: Any) -> None:
    """A function of plain arguments that calls numba's, which has a status and a place for the result besides."""
    if not isinstance(description.restype, types.Integer):
        raise TypeError(f"{name} must return an integer, not {description.restype}")
    convention, number = context.call_conv, ir.IntType(32)
    callee_type = convention.get_function_type(description.restype, description.argtypes)
    callee = ir.Function(module, callee_type, description.llvm_func_name)
    kinds = [context.get_value_type(kind) for kind in description.argtypes]
    wrapper = ir.Function(module, ir.FunctionType(number, kinds), name)
    builder = ir.IRBuilder(wrapper.append_basic_block())
    status, result = convention.call_function(
        builder, callee, description.restype, description.argtypes, wrapper.args
    )
    result = context.cast(builder, result, description.restype, types.int32)
    builder.ret(builder.select(status.is_error, ir.Constant(number, -1000), result))
