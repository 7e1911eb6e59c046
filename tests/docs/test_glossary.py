"""The glossary speaks of identifiers and files that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORDS, PLACES = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").split("## Where to look")
FOLDERS = ("streamcodec", "native_dsp", "bench", "tests")


def test_files_exist() -> None:
    named = re.findall(r"`((?:\w+/)+\w+\.py)`", PLACES)
    assert named
    assert [name for name in named if not (ROOT / name).exists() and not (ROOT / "streamcodec" / name).exists()] == []


def test_identifiers_exist() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for name in FOLDERS for path in (ROOT / name).rglob("*.py"))
    known = set(re.findall(r"\w+", source))
    unknown = []
    for row in (line.split("|") for line in WORDS.splitlines() if line.startswith("| ")):
        identifiers = [
            word for cell in re.findall(r"`([^`]+)`", row[2]) for word in re.findall(r"[A-Za-z_]\w*", cell)
        ]
        unknown += [f"{row[1].strip()}: {word}" for word in identifiers if word not in known]
    assert unknown == []


def test_no_word_is_explained_twice() -> None:
    words = [line.split("|")[1].strip() for line in WORDS.splitlines() if line.startswith("| ") and "---" not in line]
    words = [word for word in words if word != "word"]
    assert len(words) > 80
    assert [word for word in set(words) if words.count(word) > 1] == []
