"""Hands a target of ``fuzz_parsers`` to atheris, with the code of this package instrumented, but for kernels.

Use: ``python -m tests.helpers.fuzz TARGET [options of libFuzzer] [folders of seeds]``, as ``.ci/fuzz`` does.
"""

from __future__ import annotations

import sys

import atheris

from tests.helpers.kernel_modules import kernel_modules

with atheris.instrument_imports(include=["streamcodec"], exclude=kernel_modules()):
    from tests.helpers.fuzz_parsers import TARGETS


def main() -> None:
    """Fuzz until told to stop."""
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
