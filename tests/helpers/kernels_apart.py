"""Runs a module whose kernels are compiled each for itself, not as parts of their callers, and optimised little.

Use: ``python -m tests.helpers.kernels_apart MODULE [ARGUMENTS]``. They do the same, more slowly, and compile in less
than half the time: for runs that end before their kernels have paid for themselves.
"""

from __future__ import annotations

import os
import runpy
import sys
from typing import Any

# Read when numba is imported.
os.environ |= {"NUMBA_OPT": "1", "NUMBA_LOOP_VECTORIZE": "0", "NUMBA_SLP_VECTORIZE": "0"}

from native_dsp import jit


def compile_apart() -> None:
    """Of all kernels that are imported from now on."""
    cached = jit._cached
    jit.INLINED_OPTIONS = jit.OPTIONS

    def apart(function: Any, options: Any) -> Any:
        return cached(function, {name: value for name, value in options.items() if "inline" not in name})

    jit._cached = apart


def main() -> None:
    """Run the module that is named."""
    compile_apart()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
