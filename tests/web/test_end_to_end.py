"""End-to-end keys in JavaScript: the golden exchange to the byte, and what they keep out."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

# Kernels may have to be compiled first.
pytestmark = pytest.mark.timeout(600)


def test_end_to_end_keys_are_pythons(node: str, built: Path, fixtures: Path) -> None:
    command = [node, "--no-warnings", "--test", str(Path(__file__).parent / "end_to_end.test.mjs")]
    environment = {**os.environ, "BUILT": str(built), "FIXTURES": str(fixtures)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout
