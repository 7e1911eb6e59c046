"""The kernels in the package are what the sources compile to, to the byte. It takes minutes: only when asked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamcodec.web.files import COMPILED

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif("COMPILE_WEB" not in os.environ, reason="takes minutes: set COMPILE_WEB=1 before a release")
@pytest.mark.timeout(1_800)
def test_the_compiled_kernels_are_those_of_the_sources(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "streamcodec.web.compile", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("codec.wasm", "waveform.wasm", "codec.json"):
        assert (tmp_path / name).read_bytes() == (COMPILED / name).read_bytes(), name
