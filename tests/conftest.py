"""Sound and helpers that several tests share."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import settings
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
FIXTURES = Path(__file__).parent / "fixtures"
REAL_TIME = ("adapters", "cli", "live", "net", "web")
"""Folders whose tests wait for sockets, devices and browsers, one after another; all others are spread by file."""
LONG = ("test_export.py", "test_fft.py", "test_fuzz_parsers.py", "test_near_lossless.py", "test_release.py")
"""Files of half a minute, which come early: side by side, whoever takes one last keeps the others waiting."""
SPEECH = Path(__file__).parents[1] / "streamcodec" / "demo_data" / "speech.flac"

# How long an example takes is the machine's doing, and the first one compiles.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(scope="session")
def speech() -> Float32Array:
    """Two seconds of real speech, 24 kHz."""
    samples, rate_hz = soundfile.read(SPEECH, dtype="float32")
    assert rate_hz == 24_000
    return np.asarray(samples[: 2 * rate_hz], np.float32)


@pytest.fixture(scope="session")
def speech_file() -> Path:
    return SPEECH


@pytest.fixture(scope="session")
def fixtures() -> Path:
    return FIXTURES


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What pytest-xdist may run side by side (``-n 3 --dist loadgroup``), and what is given another try: a machine
    that stands still for a second fails a test in real time, and only such a test."""
    for item in items:
        real_time = _in_real_time(item)
        item.add_marker(pytest.mark.xdist_group("real time" if real_time else str(item.path)))
        if real_time and item.get_closest_marker("flaky") is None:
            item.add_marker(pytest.mark.flaky(reruns=2, reruns_delay=1))
    items.sort(key=lambda item: 0 if _in_real_time(item) else 1 if item.path.name in LONG else 2)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile once what every process would else compile."""
    config = session.config
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        subprocess.run([sys.executable, "-m", "streamcodec", "warmup"], cwd=config.rootpath, check=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Side by side, what computes gives way to what runs in real time."""
    if hasattr(item.config, "workerinput") and hasattr(os, "setpriority"):
        with contextlib.suppress(PermissionError):  # back up again, where that takes a privilege
            os.setpriority(os.PRIO_PROCESS, 0, 0 if _in_real_time(item) else 10)


def _in_real_time(item: pytest.Item) -> bool:
    return item.path.relative_to(Path(__file__).parent).parts[0] in REAL_TIME
