"""What steps the networks on this machine, and why."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numba
import numpy as np
import onnxruntime

from streamcodec.runtime.onnx_step import PROVIDERS, THREADS_PER_STREAM


def describe_runtime() -> dict[str, Any]:
    """Backend, versions, threads and processor, as plain values."""
    return {
        "backend": "onnxruntime",
        "version": onnxruntime.__version__,
        "providers": list(PROVIDERS),
        "threads_per_stream": THREADS_PER_STREAM,
        "precision": "float32 (weights stored in 8 and 16 bits)",
        "reason": "the only backend of live streams; one thread, since a packet is too little to share",
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
    }


def processor_name() -> str:
    """What the processor calls itself, as far as the system tells."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
