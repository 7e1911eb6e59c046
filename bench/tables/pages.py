"""Pages with tables in them, and where each table's figures are from."""

from __future__ import annotations

import datetime
import json
import re
import subprocess
from pathlib import Path

from bench.tables import browser, cost, listening, quality, training, waveform
from bench.tables.plot import PLOT
from bench.tables.quality import SPEECH
from bench.tables.research import TableError, research_tables, training_minutes
from bench.tables.sources import RESULTS, ROOT, TABLES, digest, results

STAMPS = RESULTS / "stamps.json"
PLACE = re.compile(r"(?P<start><!-- table (?P<name>[\w-]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)

MODULES = (quality, waveform, cost, training, browser, listening)
"""Imported for the tables that they offer."""
TABLES.update(research_tables(results))


def stamp_of(name: str) -> dict[str, str]:
    """Commit and day of the figures in a results file; raises TableError where they are not known yet."""
    stamps = json.loads(STAMPS.read_text(encoding="utf-8")) if STAMPS.exists() else {}
    try:
        found: dict[str, str] = stamps[digest(name)]
    except KeyError as error:
        raise TableError(f"bench/results/{name} has changed: run python -m bench.tables") from error
    return found


def run_of(name: str) -> str:
    """Seed of a research result and the time that its training took, as far as they are known."""
    if not name.startswith("research/"):
        return ""
    minutes = training_minutes(results, name)
    return f", seed {results(name)['seed']}" + (f", trained for {minutes:,.0f} minutes" if minutes else "")


def rendered(name: str) -> str:
    """A table as Markdown, and where its figures are from; raises TableError."""
    if name == "players":
        return f"{listening.players()}\n"
    if name not in TABLES:
        raise TableError(f"there is no table {name!r}; there are {', '.join(sorted(TABLES))}")
    file, columns, rows = TABLES[name]()
    lines = [columns, ["---"] * len(columns), *rows]
    stamp = stamp_of(file)
    source = f"<small>`bench/results/{file}`, commit {stamp['commit']}, {stamp['date']}{run_of(file)}</small>"
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{source}\n"


def with_tables(text: str) -> str:
    """A page with its tables as they should be."""
    return PLACE.sub(lambda found: found["start"] + "\n" + rendered(found["name"]) + "\n" + found["end"], text)


def pages() -> list[Path]:
    """Every page that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def out_of_date() -> list[str]:
    """Pages whose tables are not what the figures say, and plots of other figures."""
    found = []
    for path in pages():
        text = path.read_text(encoding="utf-8")
        if with_tables(text) != text:
            found.append(str(path.relative_to(ROOT)))
    if not PLOT.exists() or digest(SPEECH) not in PLOT.read_text(encoding="utf-8"):
        found.append(str(PLOT.relative_to(ROOT)))
    return found


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def write_stamps() -> None:
    """Note commit and day for every results file whose content is new, and forget what is no more."""
    known = json.loads(STAMPS.read_text(encoding="utf-8")) if STAMPS.exists() else {}
    stamps = {}
    for path in sorted(RESULTS.rglob("*.json")):
        if path == STAMPS:
            continue
        name = path.relative_to(RESULTS).as_posix()
        key = digest(name)
        if key not in known:
            committed = not _git("status", "--porcelain", "--", str(path))
            commit, date = _git("log", "-1", "--format=%h %cs", *(["--", str(path)] if committed else [])).split()
            known[key] = {"commit": commit[:7], "date": date if committed else f"{datetime.date.today():%F}"}
        stamps[key] = {"file": name, **known[key]}
    STAMPS.write_text(json.dumps(stamps, indent=1, sort_keys=True) + "\n", encoding="utf-8")
