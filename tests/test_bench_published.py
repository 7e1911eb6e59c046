"""Research results on their way into the documentation: all of them, sounds only where they may be shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench import published


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the documentation would be."""
    for name in ("RESULTS", "IMAGES", "SOUNDS"):
        monkeypatch.setattr(published, name, tmp_path / name.lower())
        (tmp_path / name.lower()).mkdir()
    monkeypatch.setattr(published, "ROOT", tmp_path)
    return tmp_path


def test_figures_pictures_and_free_sounds_are_taken(places: Path) -> None:
    pytest.importorskip("av")
    run = places / "runs" / "per-file-vae"
    for file in ("karoryfer-bearsax__notes__000", "somebody-s-song"):
        (run / "sounds" / file).mkdir(parents=True)
        soundfile.write(run / "sounds" / file / "coded.flac", np.full(4_410, 0.1), 44_100)
    for file in ("metrics.json", "timings.json"):
        (run / file).write_text(json.dumps({"file": file}))
    for file in ("convergence.png", "rmse.png", "plane.png"):
        (run / file).write_bytes(file.encode())
    assert published.main([str(run.parent)]) == 0
    assert json.loads((places / "results" / "per-file-vae.json").read_text()) == {"file": "metrics.json"}
    assert json.loads((places / "results" / "per-file-vae-timings.json").read_text()) == {"file": "timings.json"}
    assert (places / "images" / "research-per-file-vae-rmse.png").read_bytes() == b"rmse.png"
    assert [path.name for path in (places / "sounds").iterdir()] == ["per-file-vae-saxophone-coded.opus"]


def test_a_run_by_steps_has_no_curve_of_epochs(places: Path) -> None:
    run = places / "runs" / "architecture"
    run.mkdir(parents=True)
    for file in ("metrics.json", "timings.json"):
        (run / file).write_text("{}")
    curve = places / "images" / "research-architecture-held-back.png"
    (run / "held-back.png").write_bytes(b"by epochs")
    assert published.main([str(run.parent)]) == 0
    assert curve.read_bytes() == b"by epochs"
    (run / "held-back.png").unlink()
    assert published.main([str(run.parent)]) == 0
    assert not curve.exists()


def test_a_run_that_is_not_finished_is_told(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (places / "runs" / "per-file-vae").mkdir(parents=True)
    assert published.main([str(places / "runs")]) == 2
    assert "no finished experiment" in capsys.readouterr().err


def test_sounds_in_the_documentation_are_free_small_and_on_a_page() -> None:
    sounds = sorted((published.ROOT / "docs" / "published" / "sounds").glob("*"))
    assert sounds
    page = "".join(path.read_text(encoding="utf-8") for path in (published.ROOT / "docs" / "published").glob("*.md"))
    for path in sounds:
        assert any(f"-{shown}-" in path.name for shown in published.FREE.values()), path.name
        assert f"](sounds/{path.name})" in page
    assert sum(path.stat().st_size for path in sounds) < 300_000
