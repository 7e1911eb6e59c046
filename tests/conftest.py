"""Sound and helpers that several tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
FIXTURES = Path(__file__).parent / "fixtures"
REAL_TIME = ("cli", "live", "net", "web")
"""Folders whose tests wait for sockets, devices and browsers, one after another; all others are spread by file."""
SPEECH = Path(__file__).parents[1] / "streamcodec" / "demo_data" / "speech.flac"


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
    """What pytest-xdist may run side by side (``-n 2 --dist loadgroup``); without it this changes nothing."""
    for item in items:
        file = item.path.relative_to(Path(__file__).parent)
        group = "real time" if file.parts[0] in REAL_TIME else str(file)
        item.add_marker(pytest.mark.xdist_group(group))
