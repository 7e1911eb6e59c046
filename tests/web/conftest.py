"""The browser's files, built once for all tests of this folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from streamcodec.errors import StreamcodecError
from streamcodec.web.tools import check_numba, find_linker

ROOT = Path(__file__).parents[2]


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
    """The package, built as users build it; or taken from a folder that BUILT_WEB names, to save its minute."""
    if "BUILT_WEB" in os.environ:
        return Path(os.environ["BUILT_WEB"])
    try:
        check_numba()
        find_linker()
    except StreamcodecError as error:
        pytest.skip(str(error))
    out = tmp_path_factory.mktemp("web") / "built"
    command = [sys.executable, "-m", "streamcodec.web.build", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out
