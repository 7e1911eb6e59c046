"""Modules whose functions numba compiles: it cannot read what a fuzzer has put between their instructions."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def kernel_modules() -> list[str]:
    """Names of the modules of ``streamcodec`` that define kernels."""
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "streamcodec").rglob("*.py"))
        if "from native_dsp.jit import" in path.read_text(encoding="utf-8")
    ]
