"""Step pools of growing size until the deadline is missed, then close in on the largest that keeps it.

A step deals with one packet, 20 ms of sound, of every stream, encoder and decoder, so it must be done within 20 ms;
figures are per 10 ms of sound, against 10 ms. On a busy machine ``--clock processor`` judges by the time of the
processor instead of the wall's.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from streamcodec.evaluation.latency.pool import pool_times
from streamcodec.evaluation.latency.summary import summarise
from streamcodec.models.shipped import DEFAULT_MODEL
from streamcodec.runtime.backend import BACKENDS, Backend
from streamcodec.runtime.describe import describe_runtime
from streamcodec.runtime.scheduling import PRIORITIES, Scheduling

DEADLINE_MS = 10.0
BAR_STREAMS = 20
SIZES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
LIMITS = {"wall": "p99_ms", "processor": "processor_p99_ms"}
CLOSE_ENOUGH = 1.05
"""Ratio of the sizes between which the largest that keeps the deadline is known to lie."""


def row_of(streams: int, steps: int, model: str, backend: Backend, threads: int) -> dict[str, float]:
    """Figures of a pool of so many streams."""
    times = pool_times(streams, steps, model, backend, threads)
    total, processor = summarise(times.total_ms), summarise(times.processor_ms)
    return {
        "streams": streams,
        **total,
        "encode_p50_ms": summarise(times.encode_ms)["p50_ms"],
        "decode_p50_ms": summarise(times.decode_ms)["p50_ms"],
        "processor_p50_ms": processor["p50_ms"],
        "processor_p99_ms": processor["p99_ms"],
        "processor_p50_ms_per_stream": round(processor["p50_ms"] / streams, 5),
    }


def curve(measure: Callable[[int], dict[str, float]], most: int, limit: str) -> tuple[list[dict[str, float]], int]:
    """Rows of growing size, and the largest number of streams whose figure ``limit`` keeps the deadline (0: none)."""
    rows = []
    kept, missed = 0, 0
    for streams in (size for size in SIZES if size <= most):
        rows.append(measure(streams))
        if rows[-1][limit] > DEADLINE_MS:
            missed = streams
            break
        kept = streams
    while kept and missed > CLOSE_ENOUGH * kept + 1:
        between = (kept + missed) // 2
        rows.append(measure(between))
        if rows[-1][limit] > DEADLINE_MS:
            missed = between
        else:
            kept = between
    return sorted(rows, key=lambda row: row["streams"]), kept


def plot(report: dict[str, Any], path: Path) -> None:
    """Cost of a step, and of each stream, against the number of streams."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = report["rows"]
    streams = [row["streams"] for row in rows]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), constrained_layout=True)
    prefix = "" if report["clock"] == "wall" else "processor_"
    for name, colour in (("p50", "#0f766e"), ("p99", "#b45309")):
        left.plot(streams, [row[f"{prefix}{name}_ms"] for row in rows], marker="o", color=colour, label=name)
    left.axhline(DEADLINE_MS, color="#dc2626", label="deadline, p99")
    left.axvline(report["largest"], color="#9aa5b1", linestyle="--", label=f"{report['largest']} streams")
    left.set(xscale="log", yscale="log", xlabel="streams in the pool")
    left.set(ylabel=f"{'processor ' if prefix else ''}ms per 10 ms of sound, all streams")
    left.legend()
    right.plot(streams, [row["processor_p50_ms_per_stream"] for row in rows], marker="o", color="#0f766e")
    right.set(xscale="log", ylim=(0, None), xlabel="streams in the pool")
    right.set(ylabel="processor ms per 10 ms of one stream, p50")
    runtime = report["runtime"]
    figure.suptitle(
        f"{runtime['backend']} on {runtime['processor']} ({runtime['device']}), {report['threads']} thread(s)"
    )
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main() -> None:
    """Measure, print, store, draw."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--backend", choices=BACKENDS, default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=300, help="per pool; a step is 20 ms of sound")
    parser.add_argument("--most", type=int, default=SIZES[-1], help="largest pool to try")
    parser.add_argument("--clock", choices=LIMITS, default="wall", help="which p99 must keep the deadline")
    parser.add_argument("--priority", choices=PRIORITIES, default="normal")
    parser.add_argument("--affinity", type=int, nargs="*", default=[], help="cores to keep to")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    Scheduling(options.priority, tuple(options.affinity)).apply()

    def measure(streams: int) -> dict[str, float]:
        row = row_of(streams, options.steps, options.model, options.backend, options.threads)
        print(
            f"{streams:5d} streams: p50 {row['p50_ms']:8.3f} ms, p99 {row['p99_ms']:8.3f} ms, "
            f"processor p50 {row['processor_p50_ms']:8.3f} ms, p99 {row['processor_p99_ms']:8.3f} ms, "
            f"each {row['processor_p50_ms_per_stream']:.4f} ms",
            flush=True,
        )
        return row

    rows, largest = curve(measure, options.most, LIMITS[options.clock])
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "unit": "milliseconds per 10 ms of sound; a step (20 ms) takes twice that, against twice the deadline",
        "clock": options.clock,
        "runtime": describe_runtime(options.backend),
        "threads": options.threads,
        "priority": options.priority,
        "cores_used": options.affinity,
        "steps": options.steps,
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "deadline_ms": DEADLINE_MS,
        "largest": largest,
        "rows": rows,
    }
    print(
        f"largest pool with p99 ({options.clock}) within {DEADLINE_MS:g} ms: "
        f"{largest} streams (bar: {BAR_STREAMS} per core)"
    )
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    if options.plot is not None:
        plot(report, options.plot)


if __name__ == "__main__":
    main()
