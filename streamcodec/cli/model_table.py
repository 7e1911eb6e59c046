"""The shipped models, as ``streamcodec info --models`` lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamcodec.cli.common import print_json
from streamcodec.codec.options import FRAME_MS

if TYPE_CHECKING:
    from streamcodec.models.shipped import ShippedModel

SHOWN_KBPS = 6.0
SHOWN_FRAMES = (1, 3, 6)


def _scores_near(facts: dict[str, Any], kbps: float) -> tuple[float, dict[str, list[float]]] | None:
    """Rate in kbps and scores (mean and half interval) of 20 ms packets that decode alone, at the nearest rate that a
    release has measured."""
    rows = [row for row in facts.get("figures", []) if row["packets"] == "independent packets of 20 ms"]
    if not rows:
        return None
    row = min(rows, key=lambda row: abs(row["kbps"] - kbps))
    scores = {name: row["scores"][name] for name in ("pesq", "visqol", "stoi", "dnsmos") if name in row["scores"]}
    return row["kbps"], scores


def lowest_kbps(model: ShippedModel) -> dict[str, dict[str, float]]:
    """What speech takes at the coarsest quality index, by mode and length of packets in ms."""
    return {
        mode: {str(FRAME_MS * frames): round(model.kbps_of_packets(mode, frames)[0], 1) for frames in SHOWN_FRAMES}
        for mode in ("independent", "stream")
    }


def print_models(as_json: bool) -> None:
    """Every shipped model with rate, delay, size, measured cost and figures."""
    from rich.console import Console
    from rich.table import Table

    from streamcodec.models.shipped import load_model, model_names

    models = [load_model(name) for name in model_names()]
    if as_json:
        print_json(
            {
                m.name: {
                    "size_bytes": m.size_bytes,
                    "delay_ms": 1000 * m.config.delay_samples / m.config.sample_rate_hz,
                    "lowest_kbps": lowest_kbps(m),
                    "cost": m.facts.get("cost", {}),
                    "figures": m.facts.get("figures", []),
                }
                for m in models
            }
        )
        return
    table = Table(
        "model",
        f"lowest kbps in packets of {', '.join(str(FRAME_MS * frames) for frames in SHOWN_FRAMES)} ms",
        *("delay ms", "size MB", "p50 / p99 ms per 10 ms", "scores on development speech"),
    )
    for m in models:
        lowest, cost = lowest_kbps(m), m.facts.get("cost", {})
        found = _scores_near(m.facts, SHOWN_KBPS)
        shown = ", ".join(f"{metric} {score[0]:g}" for metric, score in found[1].items()) if found else "not measured"
        table.add_row(
            m.name,
            "\n".join(
                f"{mode}: {', '.join(f'{kbps:g}' for kbps in by_ms.values())}" for mode, by_ms in lowest.items()
            ),
            f"{1000 * m.config.delay_samples / m.config.sample_rate_hz:g}",
            f"{m.size_bytes / 1e6:.2f}",
            " / ".join(f"{cost[k]:.2f}" for k in ("p50_ms", "p99_ms") if k in cost),
            f"at {found[0]:.1f} kbps: {shown}" if found else shown,
        )
    Console().print(table)
