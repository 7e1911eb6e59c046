"""``streamcodec bench``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from streamcodec.cli.common import (
    add_backend_argument,
    add_mode_argument,
    add_model_argument,
    add_scheduling_arguments,
    need,
    positive,
    print_json,
    progress_bar,
    scheduling_of,
)
from streamcodec.cli.parser import number
from streamcodec.codec.files.output_file import check_figure, check_folder, write_whole

HELP = ("measure what a frame costs on this machine, stage by stage", "streamcodec bench --plot cost.png")
CONDITIONS = {
    "sleeping": "sleeping between packets",
    "busy_neighbour": "beside a busy process",
    "neighbour_on_the_same_core": "sharing the core with it",
}
MAX_PAUSE_S = 3_600
COLUMNS = ("p50_ms", "p95_ms", "p99_ms", "p99_9_ms", "max_ms")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--hops", type=int, default=20_000, help="hops of 10 ms in each run (default 20000)")
    parser.add_argument("--rate", type=int, default=24_000, help="sample rate in Hz; 24000 needs no resampling")
    parser.add_argument("--kbps", type=positive, default=6.0, help="payload rate of the main run (default 6)")
    add_mode_argument(parser, "independent")
    parser.add_argument(
        "--sleep",
        type=pause,
        default=5.0,
        metavar="S",
        help="seconds of sleeping between packets (default 5, 0: none)",
    )
    parser.add_argument("--no-neighbour", action="store_true", help="leave out the runs beside a busy process")
    parser.add_argument("--no-start-up", action="store_true", help="leave out the run in a fresh process")
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="JSON to a file, or instead of the table"
    )
    parser.add_argument("--plot", type=Path, metavar="PNG", help="histogram with the budget line")
    add_model_argument(parser)
    add_backend_argument(parser)
    add_scheduling_arguments(parser)


def pause(text: str) -> float:
    """Argument type: seconds, none to an hour."""
    value = number(text)
    if not 0.0 <= value <= MAX_PAUSE_S:
        raise argparse.ArgumentTypeError(f"must be 0 to {MAX_PAUSE_S} s, got {text}")
    return value


def run(options: argparse.Namespace) -> None:
    """Measure, then print, store and draw."""
    from streamcodec.errors import StreamcodecError
    from streamcodec.evaluation.latency.report import BenchOptions, measure

    if options.hops < 1:
        raise StreamcodecError(f"--hops must be at least 1, got {options.hops}")

    if options.plot is not None:
        need("matplotlib")
        check_figure(options.plot)
    if options.json not in (None, "-"):
        check_folder(options.json)
    wanted = BenchOptions(
        hops=options.hops,
        rate_hz=options.rate,
        bitrate_bps=1000.0 * options.kbps,
        mode=options.mode,
        model=options.model,
        backend=options.backend,
        scheduling=scheduling_of(options),
        paced_s=options.sleep,
        neighbour=not options.no_neighbour,
        start_up=not options.no_start_up,
    )
    with progress_bar("measuring") as progress:
        report, times = measure(wanted, progress)
    if options.plot is not None:
        from streamcodec.evaluation.latency.plot import plot_histogram

        plot_histogram(times, report, options.plot)
    if options.json == "-":
        print_json(report)
        return
    if options.json is not None:
        write_whole(options.json, json.dumps(report, indent=1) + "\n")
    _print_tables(report)


def _print_tables(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    runtime, budget = report["runtime"], report["budget"]
    console.print(
        f"{report['hops']:,} hops of 10 ms at {report['rate_hz']} Hz, {report['payload_bps'] / 1000:.2f} kbps; "
        f"{runtime['backend']} {runtime['version']}, {runtime['threads_per_stream']} thread, {runtime['processor']}"
    )
    table = Table("ms per 10 ms of sound", *(name.removesuffix("_ms").replace("_", ".") for name in COLUMNS))
    for name in ("total", "encode", "decode"):
        table.add_row(name, *_cells(report[name]), style="bold" if name == "total" else None)
    table.add_section()
    for stage, figures in report["stages"].items():
        table.add_row(stage, *_cells(figures))
    table.add_section()
    for row in report["bitrates"]:
        table.add_row(f"at {row['payload_bps'] / 1000:.2f} kbps", *_cells(row))
    for row in report["streams"]:
        table.add_row(f"{row['streams']} streams in turn", *_cells(row))
    for row in report["pools"]:
        table.add_row(f"{row['streams']} streams in a pool, each", *_cells(row))
    for name in ("sleeping", "busy_neighbour", "neighbour_on_the_same_core"):
        if name in report:
            table.add_row(CONDITIONS[name], *_cells(report[name]))
    console.print(table)
    for limit in ("p50_ms", "p99_ms"):
        verdict = "within" if report["total"][limit] <= budget[limit] else "OVER"
        console.print(
            f"total {limit[:3]} {report['total'][limit]:.3f} ms: {verdict} the budget of {budget[limit]:g} ms"
        )
    tenths, memory = report["p50_ms_by_tenth_of_run"], report["allocation"]
    console.print(f"p50 over the run: {min(tenths):.3f} to {max(tenths):.3f} ms by tenths")
    console.print(
        f"memory blocks kept per hop {memory['kept_blocks_per_hop']:g}, "
        f"bytes used for a moment per packet {memory['temporary_bytes_per_packet']:.0f}"
    )
    if "start_up" in report:
        start = report["start_up"]
        console.print(
            f"fresh process: import {start['import_s']:.2f} s, first frame after {start['first_frame_s']:.2f} s, "
            f"torch imported: {start['torch_imported']}"
        )


def _cells(figures: dict[str, float]) -> list[str]:
    return [f"{figures[name]:.4f}" for name in COLUMNS]
