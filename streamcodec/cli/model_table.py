"""The shipped models, as ``streamcodec info --models`` lists them."""

from __future__ import annotations

from typing import Any

from streamcodec.cli.common import print_json

SHOWN_KBPS = 6.0


def _scores_at(facts: dict[str, Any], kbps: float) -> dict[str, list[float]]:
    """Scores of packets of 20 ms that decode alone, mean and half interval, as a release writes them."""
    for row in facts.get("figures", []):
        if row["nominal_kbps"] == kbps and row["packets"] == "independent packets of 20 ms":
            return {
                name: row["scores"][name] for name in ("pesq", "visqol", "stoi", "dnsmos") if name in row["scores"]
            }
    return {}


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
                    "kbps": [m.kbps_by_quality("independent")[0], m.kbps_by_quality("independent")[-1]],
                    "cost": m.facts.get("cost", {}),
                    "figures": m.facts.get("figures", []),
                }
                for m in models
            }
        )
        return
    table = Table("model", "kbps", "delay ms", "size MB", "p50 / p99 ms per 10 ms", "at 6 kbps on development speech")
    for m in models:
        rates, cost = m.kbps_by_quality("independent"), m.facts.get("cost", {})
        figures = ", ".join(f"{metric} {found[0]:g}" for metric, found in _scores_at(m.facts, SHOWN_KBPS).items())
        table.add_row(
            m.name,
            f"{rates[0]:.1f} to {rates[-1]:.1f}",
            f"{1000 * m.config.delay_samples / m.config.sample_rate_hz:g}",
            f"{m.size_bytes / 1e6:.2f}",
            " / ".join(f"{cost[k]:.2f}" for k in ("p50_ms", "p99_ms") if k in cost),
            figures,
        )
    Console().print(table)
