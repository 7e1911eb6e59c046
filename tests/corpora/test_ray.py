"""The same on a local Ray of two workers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from streamcodec.corpora.pack import pack_folder


def test_ray_packs_what_processes_pack(
    tmp_path: Path, speech: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))
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
