"""What steps the networks on this machine, and why."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from streamcodec.extras import command_for
from streamcodec.runtime.backend import Backend, choose, device_of, installed
from streamcodec.runtime.step import THREADS_PER_STREAM

_PRECISION: dict[Backend, str] = {
    "onnxruntime": "float32, or 8-bit products where the model was exported so (weights stored in 8 and 16 bits)",
    "compiled": "weights as stored: those of 8 bits times inputs of 15, those of 16 bits in float32",
}


def describe_runtime(asked: Backend = "auto") -> dict[str, Any]:
    """Backend, versions, threads and processor, as plain values; raises BackendError."""
    choice = choose(asked)
    package = {"onnxruntime": "onnxruntime", "compiled": "numba"}.get(choice.backend, "torch")
    return {
        "backend": choice.backend,
        "version": installed(package),
        "reason": choice.reason,
        "asked": asked,
        "installed": {
            "onnxruntime": installed("onnxruntime"),
            "torch": installed("torch") or f"no: {command_for('torch')}",
        },
        "device": device_of(choice.backend),
        "threads_per_stream": THREADS_PER_STREAM,
        "threads_reason": "a packet is too little work to share",
        "precision": _PRECISION.get(choice.backend, "float32 (weights stored in 8 and 16 bits)"),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": installed("numpy"),
        "numba": installed("numba"),
    }


def processor_name() -> str:
    """What the processor calls itself, as far as the system tells."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
