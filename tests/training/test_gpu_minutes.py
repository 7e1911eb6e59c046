"""What is taken along to a GPU, and a run in parts, here on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.training import gpu_minutes
from streamcodec.errors import StreamcodecError
from streamcodec.training.codec_task import CodecTask
from streamcodec.training.loop import RunLimits, TrainingLoop
from tests.helpers.tiny_model import SETTINGS, TINY


@pytest.fixture
def voices(tmp_path: Path) -> Path:
    """Three voices of three clips of 2 s, with a manifest above them."""
    root = tmp_path / "sound"
    rows = ["file,split,speaker"]
    for speaker in "abc":
        folder = root / "speech" / speaker
        folder.mkdir(parents=True)
        for k in range(3):
            noise = 0.1 * np.random.default_rng(k).standard_normal(32_000)
            soundfile.write(folder / f"{k}.ogg", noise, 16_000)
            rows.append(f"speech/{speaker}/{k}.ogg,train,{speaker}")
    (root / "manifest.csv").write_text("\n".join(rows) + "\n")
    return root


def test_voices_take_turns_within_time_and_size(voices: Path, tmp_path: Path) -> None:
    chosen = gpu_minutes.choose(voices / "speech", seconds=8.5)
    assert [path.parent.name for path in chosen] == ["a", "b", "c", "a"]
    size = chosen[0].stat().st_size
    assert len(gpu_minutes.choose(voices / "speech", seconds=100.0, most_bytes=2 * size + size // 2)) == 2
    out = tmp_path / "packed"
    assert gpu_minutes.main(["pack", "--data", str(voices / "speech"), "--out", str(out), "--hours", "0.0024"]) == 0
    packed = sorted(str(path.relative_to(out)) for path in out.rglob("*.ogg"))
    assert packed == ["speech/a/0.ogg", "speech/a/1.ogg", "speech/b/0.ogg", "speech/c/0.ogg"]
    assert (out / "manifest.csv").read_text().splitlines() == [
        "file,split,speaker",
        "speech/a/0.ogg,train,a",
        "speech/a/1.ogg,train,a",
        "speech/b/0.ogg,train,b",
        "speech/c/0.ogg,train,c",
    ]


def test_nothing_to_pack_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StreamcodecError, match="no sound"):
        gpu_minutes.choose(tmp_path, 10.0)
    assert gpu_minutes.main(["pack", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "no sound" in capsys.readouterr().err


def test_a_run_stops_at_a_progress_and_goes_on_to_its_bounds(cache: Path, tmp_path: Path) -> None:
    loop = TrainingLoop(CodecTask(TINY, SETTINGS, cache), tmp_path)
    loop.run(RunLimits(max_steps=4, until_progress=0.5))
    assert loop.step == 2
    loop.run(RunLimits(max_steps=4))
    assert loop.step == 4
