"""Tables as JSON, as Markdown and as cells that people read."""

from __future__ import annotations

import math
from typing import Any

from streamcodec.research.experiments.experiment import Cell, Table


def split_columns(table: Table, timed: bool) -> dict[str, Any]:
    """The clock's columns of a table, or the others, each row by its name."""
    keep = [k for k, column in enumerate(table.columns) if k > 0 and (column in table.timed) == timed]
    rows = {str(row[0]): {table.columns[k]: _finite(row[k]) for k in keep} for row in table.rows}
    return {"title": table.title, "columns": [table.columns[k] for k in keep], "rows": rows, "note": table.note}


def _finite(cell: Cell) -> Cell:
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def markdown(table: Table) -> str:
    """A table as Markdown."""
    lines = [f"### {table.title}", "", " | ".join(("", *table.columns, "")).strip()]
    lines.append("|---" * len(table.columns) + "|")
    lines += [" | ".join(("", *(format_cell(cell) for cell in row), "")).strip() for row in table.rows]
    return "\n".join((*lines, "", table.note, ""))


def format_cell(cell: Cell) -> str:
    """A cell as people read it: four significant digits, ``-`` for nothing."""
    if cell is None:
        return "-"
    if isinstance(cell, float):
        if not math.isfinite(cell):
            return "-" if math.isnan(cell) else "inf"
        return f"{cell:.4g}" if abs(cell) < 1000 else f"{cell:.0f}"
    return str(cell)
