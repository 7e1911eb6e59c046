"""The programs that the pages quote, started as the pages say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from streamcodec.cli import main

ROOT = Path(__file__).parents[2]
Float32Array = NDArray[np.float32]


def started(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A program, run; ``folder`` is where the reader stands, with the checkout's ``demos`` in it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / words[0]), *words[1:]]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def run(folder: Path, *words: str) -> str:
    """What a program says."""
    found = started(folder, *words)
    assert found.returncode == 0, found.stderr[-2_000:]
    return found.stdout


@pytest.fixture
def recordings(tmp_path: Path, speech: Float32Array) -> Path:
    """Two clips, in the folder that the programs speak of."""
    (tmp_path / "recordings").mkdir()
    for number, seconds in enumerate((0.2, 0.4)):
        soundfile.write(tmp_path / "recordings" / f"clip-{number}.wav", speech[: int(24_000 * seconds)], 24_000)
    return tmp_path


@pytest.mark.parametrize(
    ("loader", "target", "options"),
    [
        ("webdataset", "tars", ["--shards", "webdataset"]),
        ("lhotse", "shar", ["--shards", "shar"]),
        ("datasets", "files", []),
    ],
)
def test_a_packed_folder_is_read_by_each_loader(
    loader: str, target: str, options: list[str], recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(loader)
    monkeypatch.chdir(recordings)
    assert main(["pack", "recordings", target, "--workers", "1", *options]) == 0
    told = run(recordings, "demos/data_loaders.py", loader, target)
    assert sorted(line.rsplit(": ", 1)[1] for line in told.splitlines()) == ["0.20 s", "0.40 s"]


def test_a_language_model_learns_codes_and_speaks(tmp_path: Path, speech: Float32Array) -> None:
    pytest.importorskip("torch")
    (tmp_path / "talk").mkdir()
    soundfile.write(tmp_path / "talk" / "talk.wav", np.resize(speech, 5 * 24_000), 24_000)
    told = run(tmp_path, "demos/codes_language_model.py", "talk", "spoken.wav", "1")
    assert "step 0: " in told
    assert " kbps" in told
    spoken, rate_hz = soundfile.read(tmp_path / "spoken.wav")
    assert (rate_hz, len(spoken)) == (24_000, 251 * 480)
    assert np.abs(spoken).max() > 0.001


@pytest.mark.parametrize(
    ("program", "package"),
    [("data_loaders", "numpy"), ("codes_language_model", "torch"), ("call_in_ten_lines", "aiortc")],
)
def test_without_arguments_a_program_says_its_usage(program: str, package: str, tmp_path: Path) -> None:
    pytest.importorskip(package)
    found = started(tmp_path, f"demos/{program}.py")
    assert found.returncode == 2
    assert found.stderr.startswith(f"usage: python demos/{program}.py ")
    assert len(found.stderr.splitlines()) == 1
