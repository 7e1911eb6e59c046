"""What a fresh process needs until its first frame."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

from streamcodec.runtime.backend import Backend

_SCRIPT = """
import time
began = time.perf_counter()
import streamcodec
imported = time.perf_counter()
import json, sys
import numpy
encoder = streamcodec.StreamEncoder({rate_hz}, {bitrate_bps}, model={model!r}, backend={backend!r})
decoder = streamcodec.StreamDecoder({rate_hz}, model={model!r}, backend={backend!r})
ready = time.perf_counter()
decoder.push(encoder.push(numpy.zeros(encoder.block_samples, numpy.float32))[0])
done = time.perf_counter()
print(json.dumps({{
    "import_s": imported - began, "ready_s": ready - began, "first_frame_s": done - began,
    "first_packet_ms": 1000.0 * (done - ready), "torch_imported": "torch" in sys.modules,
}}))
"""


def measure_start_up(rate_hz: int, bitrate_bps: float, model: str, backend: Backend = "auto") -> dict[str, Any]:
    """Seconds to import, to be ready and to the first frame, in a new interpreter (``process_s``: all of it)."""
    script = _SCRIPT.format(rate_hz=rate_hz, bitrate_bps=bitrate_bps, model=model, backend=backend)
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    process_s = time.perf_counter() - began
    found: dict[str, Any] = {"process_s": process_s, **json.loads(done.stdout)}
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in found.items()}
