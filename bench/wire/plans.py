"""What a rate on the wire is spent on, by loss: half a minute of the same reports on a direct line.

python -m bench.wire.plans --json bench/results/wire_plans.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from streamcodec.net.report import ReceiverReport
from streamcodec.net.wire_rate import FRAME_MS, SendPlan, WireRateConfig, WireRateController

WIRE_KBPS = (8, 10, 14, 18, 22, 28, 36, 44)
LOSSES = (None, 0.0, 0.05, 0.1, 0.2)
ROUND_TRIP_MS, BURST_PACKETS, SECONDS = 60.0, 2.0, 30


def settled(kbps: float, loss: float | None) -> SendPlan:
    """The plan after half a minute; with ``loss`` None the one that a call starts with."""
    controller = WireRateController(WireRateConfig(round(1_000 * kbps)))
    if loss is None:
        return controller.plan
    for tick in range(2 * SECONDS):
        burst_frames = BURST_PACKETS * controller.plan.packet_ms / FRAME_MS if loss else 0.0
        report = ReceiverReport(loss, 0.0, burst_frames, 0, 1.0, 0.0, 0.0, 40.0, 6_000.0, 0, 0, 0)
        controller.on_report("listener", report, ROUND_TRIP_MS, 500.0 * tick)
    return controller.plan


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0."""
    options = argparse.ArgumentParser("python -m bench.wire.plans", description="Plans of a rate on the wire.")
    options.add_argument("--json", type=Path, required=True, help="write the rows here")
    path = options.parse_args(arguments).json
    rows = []
    for kbps in WIRE_KBPS:
        for loss in LOSSES:
            plan = settled(kbps, loss)
            rows.append(
                {
                    "wire_kbps": kbps,
                    "loss": loss,
                    "packet_ms": plan.packet_ms,
                    "payload_kbps": round(plan.bitrate_bps / 1_000, 1),
                    "ages": list(plan.ages),
                    "copy_share": plan.copy_share,
                }
            )
    settings = {"round_trip_ms": ROUND_TRIP_MS, "mean_burst_packets": BURST_PACKETS, "seconds": SECONDS}
    path.write_text(json.dumps({"settings": settings, "rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
