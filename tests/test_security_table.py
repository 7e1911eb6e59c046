"""The table of attacks names its tests, and they exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
TABLE = TESTS.parent / "docs" / "security.md"


def test_every_test_that_the_table_names_exists() -> None:
    named = re.findall(r"`((?:[\w-]+/)*test_\w+\.py)(?:::(test_\w+))?`", TABLE.read_text())
    assert len(named) > 20
    for file, name in named:
        text = (TESTS / file).read_text()
        assert not name or re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), f"{file} has no {name}"


def test_every_row_says_how_it_is_shown() -> None:
    rows = [line for line in TABLE.read_text().splitlines() if line.startswith("| ") and "| attack |" not in line]
    assert len(rows) > 20
    for row in rows:
        shown = row.rstrip("| ").rpartition(" | ")[2]
        assert re.search(r"test_|workflow", shown), row
