"""The notebook runs as it stands, and what is kept of its last run is small and whole."""

from __future__ import annotations

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

NOTEBOOK = Path(__file__).parents[2] / "demos" / "notebook.ipynb"
MAX_BYTES = 1_000_000


def outputs_of(notebook: object) -> list[object]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]  # type: ignore[attr-defined]


def test_the_kept_run_is_small_and_without_errors() -> None:
    assert NOTEBOOK.stat().st_size < MAX_BYTES
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    outputs = outputs_of(notebook)
    assert outputs
    assert all(output.output_type != "error" for output in outputs)  # type: ignore[attr-defined]
    assert "/home" not in NOTEBOOK.read_text()


def test_it_runs_and_shows_a_picture_sounds_and_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    folder = {"metadata": {"path": str(NOTEBOOK.parent)}}
    nbclient.NotebookClient(notebook, timeout=100, kernel_name="python3", resources=folder).execute()
    outputs = outputs_of(notebook)
    kinds = [kind for output in outputs for kind in output.get("data", {})]  # type: ignore[attr-defined]
    assert kinds.count("image/png") == 1
    assert sum("<audio" in output.get("data", {}).get("text/html", "") for output in outputs) >= 4  # type: ignore[attr-defined]
    text = "".join(output.get("text", "") for output in outputs)  # type: ignore[attr-defined]
    assert "kbps" in text
    assert "concealed" in text
