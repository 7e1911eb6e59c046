"""What building needs besides Python: a linker for WebAssembly, and a mathematics library to link."""

from __future__ import annotations

import glob
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numba

from streamcodec.errors import StreamcodecError

NUMBA = "0.68.1"
OLDEST_LLVM, NEWEST_LLVM = 14, 40
STACK_BYTES = 1 << 18
MATHEMATICS = "/usr/lib/wasm32-wasi/libc.a"
BUILTINS = "/usr/lib/llvm-*/lib/clang/*/lib/wasi/libclang_rt.builtins-wasm32.a"


class WebBuildError(StreamcodecError):
    """The browser's files cannot be built here."""


@dataclass(frozen=True)
class Linker:
    """A command, and libraries to give it."""

    command: tuple[str, ...]
    libraries: tuple[Path, ...]


def check_numba() -> None:
    """Raise WebBuildError for a numba that cross-compilation was not written for."""
    if numba.__version__ != NUMBA:
        raise WebBuildError(
            f"cross-compilation needs numba {NUMBA}, and {numba.__version__} is installed: "
            "pip install 'streamcodec[web-build]'"
        )


def find_linker() -> Linker:
    """The newest ``wasm-ld`` here and Debian's ``wasi-libc``; WebBuildError."""
    names = ("wasm-ld", *(f"wasm-ld-{version}" for version in range(NEWEST_LLVM, OLDEST_LLVM - 1, -1)))
    command = next((found for name in names if (found := shutil.which(name))), None)
    if command is None:
        raise WebBuildError(
            "there is no wasm-ld here, which links WebAssembly: install LLVM's linker (apt-get install lld-19)"
        )
    if not Path(MATHEMATICS).exists():
        raise WebBuildError(
            f"there is no {MATHEMATICS}, where exponentials and logarithms come from: apt-get install wasi-libc"
        )
    builtins = sorted(glob.glob(BUILTINS))[-1:]
    return Linker((command,), (Path(MATHEMATICS), *map(Path, builtins)))


def link(linker: Linker, codes: Sequence[bytes], exports: Sequence[str]) -> bytes:
    """A module of object files: its memory comes from outside, its heap begins at ``__heap_base``."""
    with TemporaryDirectory() as folder:
        out = Path(folder, "module.wasm")
        objects = [Path(folder, f"{k}.o") for k in range(len(codes))]
        for path, code in zip(objects, codes, strict=True):
            path.write_bytes(code)
        command = [
            *linker.command, "--no-entry", "--import-memory", "--no-check-features", "--gc-sections", "-O3",
            "--strip-all", "--stack-first", "-z", f"stack-size={STACK_BYTES}", *map(str, objects), "-o", str(out),
            "--export=__heap_base", *(f"--export={name}" for name in exports), *map(str, linker.libraries),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise WebBuildError(
                f"the linker failed, as it does where a kernel allocates memory:\n{done.stderr.strip()}"
            )
        return out.read_bytes()
