"""The browser's files, built once for all tests of this folder."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from streamcodec.web.build import build


@pytest.fixture(scope="session")
def node() -> str:
    """The command that runs JavaScript."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node here to run JavaScript: apt-get install nodejs")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").split(".")[0]) < 18:
        pytest.skip(f"node {version.strip()} is too old to run these tests: 18 or newer does")
    return node


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that browsers fetch, with the compiled kernels of the package."""
    out = tmp_path_factory.mktemp("web") / "built"
    build(out)
    return out
