"""The same on a local Ray of two workers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from streamcodec.corpora.pack import pack_folder

ROOT = Path(__file__).parents[2]


def test_ray_packs_what_processes_pack(
    tmp_path: Path, speech: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    source = tmp_path / "in"
    source.mkdir()
    for number in range(6):
        soundfile.write(source / f"{number}.wav", np.roll(speech, 500 * number)[:4_800], 24_000)
    (source / "bad.wav").write_bytes(b"no sound")
    here = pack_folder(source, tmp_path / "here", workers=1)
    there = pack_folder(source, tmp_path / "there", workers=2, engine="ray")
    assert [entry.target_sha256 for entry in there.entries] == [entry.target_sha256 for entry in here.entries]
    assert [entry.source for entry in there.failed] == ["bad.wav"]
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"  # nothing is reported, whatever stood there


def test_ray_data_codes_and_decodes(
    tmp_path: Path, speech: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray.data")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    source = tmp_path / "in"
    source.mkdir()
    for number in range(3):
        soundfile.write(source / f"{number}.wav", speech[: 4_800 * (number + 1)], 24_000)
    (source / "bad.wav").write_bytes(b"no sound")
    command = [sys.executable, str(ROOT / "demos" / "ray_corpus.py"), str(source), str(tmp_path / "coded")]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr[-2_000:]
    told = dict(line.rsplit("/", 1)[-1].split(" ", 1) for line in found.stdout.splitlines() if str(source) in line)
    assert {name: text for name, text in told.items() if name != "bad.wav"} == {
        "0.wav": "0.20 s",
        "1.wav": "0.40 s",
        "2.wav": "0.60 s",
    }
    assert told["bad.wav"].startswith("cannot read")
