"""The table of the listening page, and its players."""

from __future__ import annotations

from bench.tables.research import Table
from bench.tables.sources import number, results, table


@table
def listening() -> Table:
    """Naturalness of what the listening page plays: means over its clean voices and over those in noise."""
    file = "listening.json"
    groups = {"five voices": "voice", "two in noise": "noise"}
    scores: dict[str, dict[str, list[float]]] = {}
    kbps: dict[str, list[float]] = {}
    for clip in results(file)["clips"]:
        for row in clip["versions"]:
            kbps.setdefault(row["version"], []).append(row["kbps"])
            if "distill_mos" in row:
                by_group = scores.setdefault(row["version"], {})
                by_group.setdefault(clip["name"].split("-")[0], []).append(row["distill_mos"])
    rows = []
    for version, rates in kbps.items():
        means = [scores.get(version, {}).get(group, []) for group in groups.values()]
        rate = sum(rates) / len(rates)
        cells = [number(sum(each) / len(each) if each else None) for each in means]
        rows.append([version, number(rate if rate > 0.0 else None, 1), *cells])
    return file, ["version", "kbps", *(f"Distill-MOS, {title}" for title in groups)], rows


def players() -> str:
    """Links to every sound of the listening page; its script makes players of them."""
    parts = []
    for clip in results("listening.json")["clips"]:
        parts += [f"### {clip['title']}", ""]
        parts += [f"- [{row['version']}]({row['file']})" for row in clip["versions"]]
        parts += ["", f"*{clip['credit']}.*", ""]
    return "\n".join(parts)
