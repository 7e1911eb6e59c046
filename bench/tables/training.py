"""Tables of training."""

from __future__ import annotations

from bench.tables.research import Table
from bench.tables.sources import RESULTS, number, results, table


@table
def ablations() -> Table:
    rows = []
    for path in sorted(RESULTS.glob("ablation_*.json")):
        figures = results(path.name)
        at_6 = next(row for row in figures["at_rates"] if row["kbps"] == 6.0)
        scores = [
            number(at_6[key], digits) for key, digits in (("pesq", 2), ("stoi", 3), ("mel16", 3), ("si_sdr", 1))
        ]
        rows.append([path.stem.removeprefix("ablation_").replace("_", " "), figures["what"], *scores])
    return "ablation_base.json", ["variant", "what", "PESQ-WB", "STOI", "mel16 ↓", "SI-SDR dB"], rows
