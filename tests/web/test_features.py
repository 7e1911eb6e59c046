"""What the JavaScript package does in browsers that lack something it would like to have."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

# Kernels may have to be compiled first.
pytestmark = pytest.mark.timeout(600)


def test_browsers_that_lack_something_are_told_or_take_another_way(node: str, built: Path) -> None:
    command = [node, "--test", str(Path(__file__).parent / "features.test.mjs")]
    environment = {**os.environ, "BUILT": str(built)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout
