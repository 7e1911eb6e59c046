"""The browser's files, built once for all tests of this folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import soundfile

from streamcodec.web.build import build

HERE = Path(__file__).parent


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
def tools(node: str) -> Path:
    """Where vitest, TypeScript and esbuild are, as locked beside this; fetched unless ``.ci/packages`` has."""
    found = HERE / "node_modules"
    if not found.is_dir():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("there is no npm here to fetch what JavaScript is tested with: apt-get install npm")
        with TemporaryDirectory(prefix="node_modules-", dir=HERE) as apart:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, apart)
            command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(command, cwd=apart, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"npm cannot fetch what JavaScript is tested with: {done.stderr.strip()[-200:]}")
            # Another process may have been faster.
            with contextlib.suppress(OSError):
                Path(apart, "node_modules").rename(found)
    return found


@pytest.fixture(scope="session")
def vitest(node: str, tools: Path, built: Path) -> Callable[..., None]:
    """Runs one file of tests in JavaScript, which finds the built package and other folders in its environment."""

    def run(name: str, **folders: Path) -> None:
        command = [node, "--no-warnings", tools / "vitest" / "vitest.mjs", "run", name, "--root", HERE]
        environment = os.environ | {"BUILT": str(built), "NO_COLOR": "1"}
        environment |= {key: str(folder) for key, folder in folders.items()}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        print(done.stdout)
        assert done.returncode == 0, done.stdout + done.stderr

    return run


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that browsers fetch, with the compiled kernels of the package."""
    out = tmp_path_factory.mktemp("web") / "built"
    build(out)
    return out


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, speech: np.ndarray[Any, Any]) -> Iterator[Any]:
    """Chromium, whose microphone hears speech without end; for one module, since it keeps an event loop running."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="there is no playwright: pip install playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    voice = tmp_path_factory.mktemp("voice") / "voice.wav"
    soundfile.write(voice, speech, 24_000, subtype="PCM_16")
    arguments = [
        "--no-sandbox",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={voice}",
        # A worker whose script a test has changed comes from no address, and may open no socket to this machine.
        "--disable-features=LocalNetworkAccessChecks",
    ]
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield launched
        launched.close()
