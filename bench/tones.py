"""What codecs make of steady tones and of the keys of a telephone; prints a table.

    python -m bench.tones --json bench/results/tones.json

Levels are of the tone alone against what went in: 0 dB is as loud, -40 dB is hiss in its place.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from streamcodec.codec.files.output_file import write_whole
from streamcodec.evaluation import System
from streamcodec.evaluation.dtmf import KEYS, keys_read
from streamcodec.evaluation.own import streamcodec_systems
from streamcodec.evaluation.peers.opus import opus_systems
from streamcodec.evaluation.tones import tone_levels_db
from streamcodec.models.shipped import DEFAULT_MODEL

TONES_HZ = (300.0, 1_000.0, 2_000.0, 3_000.0, 5_000.0)
RATES_KBPS, OPUS_RATES_KBPS = (3.2, 6.0, 12.0), (9.0,)


def measure(systems: list[System]) -> dict[str, Any]:
    """Every system at each of its rates."""
    rows = []
    for system in systems:
        for kbps in system.rates_kbps:
            levels = tone_levels_db(system.codec, kbps, TONES_HZ)
            rows.append(
                {
                    "system": system.name,
                    "kbps": kbps,
                    "levels_db": {f"{hz:g}": round(level, 1) for hz, level in levels.items()},
                    "keys": keys_read(system.codec, kbps),
                }
            )
    return {"of_keys": len(KEYS), "systems": {s.name: s.description for s in systems}, "rows": rows}


def table(report: dict[str, Any]) -> Table:
    """A line per system and rate."""
    titles = [f"{float(hz) / 1000.0:g} kHz" for hz in report["rows"][0]["levels_db"]]
    out = Table("codec", "kbps", *titles, f"keys of {report['of_keys']}", title="dB against what went in")
    for row in report["rows"]:
        levels = [f"{level:+.1f}" for level in row["levels_db"].values()]
        out.add_row(row["system"], f"{row['kbps']:g}", *levels, str(row["keys"]))
    return out


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser("python -m bench.tones", description=str(__doc__).splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--rates", type=float, nargs="+", default=RATES_KBPS, metavar="KBPS")
    parser.add_argument("--opus-rates", type=float, nargs="*", default=OPUS_RATES_KBPS, metavar="KBPS")
    parser.add_argument("--json", type=Path, help="store the figures in this file")
    options = parser.parse_args()
    systems = streamcodec_systems(options.rates, options.model)[:1]
    if options.opus_rates:
        systems += [system for system in opus_systems(options.opus_rates) if system.name != "Opus"]
    report = measure(systems)
    Console(width=140).print(table(report))
    if options.json is not None:
        write_whole(options.json, json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
