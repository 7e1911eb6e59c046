"""The report of an experiment as one HTML file: tables, pictures and sounds inside, nothing fetched."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streamcodec.codec.files.output_file import write_whole
from streamcodec.research.experiments.experiment import Experiment, Results, Sound, Table
from streamcodec.research.experiments.tables import format_cell

MEDIA = {".png": "image/png", ".svg": "image/svg+xml", ".wav": "audio/wav", ".flac": "audio/flac"}
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2630; max-width: 1200px; margin: 2em auto; padding: 0 1em }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2em }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: 13px }
th, td { padding: .3em .7em; border-bottom: 1px solid #d8dee4; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff }
thead th { border-bottom: 2px solid #1d2630 } tbody tr:hover td { background: #f3f6f9 }
figure { margin: 1.5em 0 } img { max-width: 100% } figcaption, .note { color: #55606b; font-size: 13px }
.sounds { display: flex; flex-wrap: wrap; gap: 1em } .sounds div { font-size: 13px } audio { display: block }
pre { background: #f3f6f9; padding: 1em; overflow-x: auto; font-size: 12px }
"""


def write_page(experiment: Experiment, config: dict[str, Any], results: Results, path: Path) -> None:
    """Write the page; pictures and sounds are taken from the files the results name and put inside it."""
    title = html.escape(experiment.name)
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        f"<meta name=viewport content='width=device-width'><title>{title}</title><style>{STYLE}</style>",
        f"<h1>{title}</h1><p>{html.escape(experiment.summary)}</p>",
        *(f"<p class=note>{html.escape(note)}</p>" for note in results.notes),
        *(_table(table) for table in results.tables),
        _sounds(results.sounds),
    ]
    for picture in results.pictures:
        caption = html.escape(picture.caption)
        parts.append(f"<figure><img alt='{caption}' src='{_inside(picture.path)}'>")
        parts.append(f"<figcaption>{caption}</figcaption></figure>")
    settings = html.escape(json.dumps(config, indent=1))
    parts.append(f"<details><summary>Settings</summary><pre>{settings}</pre></details></html>")
    write_whole(path, "\n".join(parts) + "\n")


def _inside(path: Path) -> str:
    """A file as a data address."""
    coded = base64.b64encode(path.read_bytes()).decode("ascii")
    return f"data:{MEDIA[path.suffix.lower()]};base64,{coded}"


def _table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(column)}" for column in table.columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(format_cell(cell))}" for cell in row) + "</tr>" for row in table.rows
    )
    note = f"<p class=note>{html.escape(table.note)}</p>" if table.note else ""
    return (
        f"<h2>{html.escape(table.title)}</h2><div class=wide><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>{note}"
    )


def _sounds(sounds: Sequence[Sound]) -> str:
    parts = []
    for group in dict.fromkeys(sound.group for sound in sounds):
        parts.append(f"<h2>Listen: {html.escape(group)}</h2><div class=sounds>" if group else "<div class=sounds>")
        parts += [_player(sound) for sound in sounds if sound.group == group]
        parts.append("</div>")
    return "".join(parts)


def _player(sound: Sound) -> str:
    source = _inside(sound.path)
    return f"<div>{html.escape(sound.caption)}<audio controls preload=none src='{source}'></audio></div>"
