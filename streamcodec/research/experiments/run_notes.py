"""What each training run of an experiment took: steps, epochs, clock time, and whether it had settled."""

from __future__ import annotations

import json
from pathlib import Path

from streamcodec.codec.files.output_file import write_whole
from streamcodec.research.experiments.experiment import Cell, Table

NOTE = "run.json"
TITLE = "Training"


def note_run(folder: Path, steps: int, epochs: float, minutes: float, settled: bool | None = None) -> None:
    """Write down what a run took; ``settled`` says whether it had stopped improving, None if that is not known."""
    done = {"steps": steps, "epochs": round(epochs, 3), "minutes": minutes}
    if settled is not None:
        done["settled"] = settled
    write_whole(folder / NOTE, json.dumps(done) + "\n")


def read_note(folder: Path) -> dict[str, float]:
    """What :func:`note_run` wrote."""
    found: dict[str, float] = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    return found


def settled_word(settled: float | None) -> str | None:
    """For a table."""
    return None if settled is None else "yes" if settled else "no"


def training_table(folder: Path) -> Table | None:
    """A row for every network in ``folder/runs`` that has a note of its own, None where there is none."""
    rows: list[tuple[Cell, ...]] = []
    for path in sorted((folder / "runs").glob(f"*/{NOTE}")):
        note = read_note(path.parent)
        minutes = round(note["minutes"], 2)
        word = settled_word(note.get("settled"))
        rows.append((path.parent.name, note["steps"], round(note["epochs"], 1), word, minutes))
    columns = ("network", "steps", "epochs", "settled", "minutes")
    note_text = "Settled: whether it had stopped improving on sound held back, or was stopped; -: nobody looked."
    return Table(TITLE, columns, tuple(rows), note_text, frozenset({"minutes"})) if rows else None


def training_minutes(folder: Path) -> float:
    """Clock time of all training runs of an experiment, by the last line of each one's log."""
    total = 0.0
    for log in (folder / "runs").glob("**/log.jsonl"):
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        total += max((line["minutes"] for line in lines if "minutes" in line), default=0.0)
    return round(total, 1)
