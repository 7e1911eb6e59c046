"""Nothing that this package loads tells anybody that it runs, or leaves an identity behind."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
USE = """
import numpy as np
from streamcodec import StreamDecoder, StreamEncoder
encoder, decoder = StreamEncoder(24_000), StreamDecoder(24_000)
for packet in encoder.push(np.zeros(24_000, np.float32)):
    decoder.push(packet)
import streamcodec.net.call, streamcodec.evaluation, streamcodec.live
import onnxruntime
"""
# Packets and connections tried, those that found no way out included.
COUNT = """
def tried(prefix, names):
    heads, values = [line.split() for line in open("/proc/net/snmp") if line.startswith(prefix)]
    return [int(dict(zip(heads, values))[name]) for name in names]
print(tried("Ip:", ["OutRequests", "OutNoRoutes"]) + tried("Tcp:", ["ActiveOpens"]) + tried("Udp:", ["OutDatagrams"]))
"""
ATTEMPT = """
import contextlib, socket
with contextlib.suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as asking:
    asking.sendto(b"x", ("192.0.2.1", 53))
"""


def environment(home: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "CI", "XDG_CACHE_HOME")}
    return {**kept, "HOME": str(home), "PYTHONPATH": str(ROOT), "MPLCONFIGDIR": str(home.parent)}


def left_in(home: Path) -> list[str]:
    return [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]


def test_no_identity_is_left_in_the_home_folder(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    subprocess.run([sys.executable, "-c", USE], env=environment(home), check=True, timeout=100)
    assert left_in(home) == []


def test_a_user_cannot_be_reported_by_an_inherited_setting(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    told = {**environment(home), "ORT_DISABLE_TELEMETRY": "0"}
    subprocess.run([sys.executable, "-c", USE], env=told, check=True, timeout=100)
    assert left_in(home) == []


def test_nothing_is_asked_of_the_network(tmp_path: Path) -> None:
    """In a network namespace of its own, whose counters show every attempt, with or without a way out."""
    if shutil.which("unshare") is None or os.geteuid() != 0:
        pytest.skip("needs root and unshare")
    probe = subprocess.run(["unshare", "-n", "true"], capture_output=True)
    if probe.returncode:
        pytest.skip("no network namespaces here")
    home = tmp_path / "home"
    home.mkdir()
    for script, expected in ((USE + COUNT, 0), (ATTEMPT + COUNT, 1)):
        found = subprocess.run(
            ["unshare", "-n", sys.executable, "-c", script],
            env=environment(home),
            check=True,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert (sum(json.loads(found.stdout)) > 0) == bool(expected), found.stdout


@pytest.mark.parametrize(
    ("adapter", "library", "variable", "off"),
    [
        ("fastrtc", "fastrtc", "GRADIO_ANALYTICS_ENABLED", "False"),
        ("datasets", "datasets.features.features", "HF_HUB_DISABLE_TELEMETRY", "1"),
    ],
)
def test_neighbours_are_told_before_they_are_loaded(
    adapter: str, library: str, variable: str, off: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str | None] = []

    class Library(types.ModuleType):
        def __getattr__(self, name: str) -> type:
            told.append(os.environ.get(variable))
            return object

    name = f"streamcodec.adapters.{adapter}"
    for each in {library, library.partition(".")[0], "datasets.table", "pyarrow"}:
        monkeypatch.setitem(sys.modules, each, Library(each))
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setenv(variable, "")
    monkeypatch.delenv(variable)
    with contextlib.suppress(TypeError, AttributeError):  # of what is not there
        importlib.import_module(name)
    monkeypatch.delitem(sys.modules, name, raising=False)
    assert told
    assert told[0] == off
