"""The whole measurement as plain values: what ``streamcodec bench`` prints and stores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from streamcodec.codec.neural.encoder import FRAMES_PER_SECOND
from streamcodec.codec.options import PacketMode
from streamcodec.evaluation.latency.link import HOPS_PER_PACKET, Link, PacketTimes, run, run_by_stage
from streamcodec.evaluation.latency.memory import measure_allocation
from streamcodec.evaluation.latency.neighbour import CAN_SHARE_A_CORE, busy_neighbour, on_one_core
from streamcodec.evaluation.latency.pool import pool_times
from streamcodec.evaluation.latency.stages import StageClock
from streamcodec.evaluation.latency.start_up import measure_start_up
from streamcodec.evaluation.latency.summary import by_tenths, summarise
from streamcodec.models.shipped import DEFAULT_MODEL
from streamcodec.runtime.backend import Backend
from streamcodec.runtime.describe import describe_runtime
from streamcodec.runtime.scheduling import Scheduling

BUDGET_P50_MS = 0.30
BUDGET_P99_MS = 1.0
WARM_UP_PACKETS = 100
SMALL_RUNS = 8
"""Runs that vary one thing take one in so many of the hops of the main run."""


@dataclass(frozen=True)
class BenchOptions:
    """What to measure."""

    hops: int = 20_000
    """Hops of 10 ms in the main run and in the run by stage."""
    rate_hz: int = 24_000
    bitrate_bps: float = 6_000.0
    mode: PacketMode = "independent"
    model: str = DEFAULT_MODEL
    backend: Backend = "auto"
    scheduling: Scheduling = field(default_factory=Scheduling)
    bitrates_bps: tuple[float, ...] = (2_000.0, 6_000.0, 12_000.0)
    streams: tuple[int, ...] = (1, 4, 16)
    pools: tuple[int, ...] = (4, 16, 64)
    """Sizes of pools, whose streams are stepped together."""
    paced_s: float = 5.0
    """Seconds of a run that sleeps between packets as a live stream does; 0 leaves it out."""
    neighbour: bool = True
    """Runs beside a process that keeps a core and the caches busy."""
    start_up: bool = True

    @property
    def packets(self) -> int:
        """Packets of the main run."""
        return max(10, self.hops // HOPS_PER_PACKET)


def measure(options: BenchOptions, progress: Callable[[float], None]) -> tuple[dict[str, Any], PacketTimes]:
    """All figures, times in milliseconds per 10 ms of sound, and the times of the main run.

    The calling thread is scheduled as the options say, and stays so. Errors: BackendError, SchedulingError.
    """
    options.scheduling.apply()
    link = _link(options, options.bitrate_bps)
    run([link], WARM_UP_PACKETS)
    main = run([link], options.packets)
    progress(0.3)
    by_stage = _link(options, options.bitrate_bps, StageClock())
    run([by_stage], WARM_UP_PACKETS)
    staged = run_by_stage(by_stage, options.packets)
    progress(0.6)
    report: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "runtime": describe_runtime(options.backend),
        "scheduling": {"priority": options.scheduling.priority, "cores": list(options.scheduling.cores)},
        "hops": options.packets * HOPS_PER_PACKET,
        "rate_hz": options.rate_hz,
        "mode": options.mode,
        "model": options.model,
        "payload_bps": round(main.payload_bps, 1),
        "budget": {"p50_ms": BUDGET_P50_MS, "p99_ms": BUDGET_P99_MS},
        "total": summarise(main.total_ms),
        "encode": summarise(main.encode_ms),
        "decode": summarise(main.decode_ms),
        "stages": {stage: summarise(times_ms) for stage, times_ms in staged.stage_ms.items()},
        "p50_ms_by_tenth_of_run": by_tenths(main.total_ms),
        "allocation": measure_allocation(link),
    }
    packets = max(10, options.packets // SMALL_RUNS)
    report["bitrates"] = [_at_bitrate(options, bitrate_bps, packets) for bitrate_bps in options.bitrates_bps]
    progress(0.75)
    report["streams"] = [_interleaved(options, count, packets) for count in options.streams]
    progress(0.85)
    report["pools"] = [_together(options, count, packets) for count in options.pools]
    progress(0.9)
    if options.neighbour:
        report |= _beside_a_neighbour(link, packets)
    if options.paced_s > 0:
        report["sleeping"] = summarise(run([link], max(10, int(options.paced_s * FRAMES_PER_SECOND)), True).total_ms)
    if options.start_up:
        report["start_up"] = measure_start_up(options.rate_hz, options.bitrate_bps, options.model, options.backend)
    progress(1.0)
    return report, main


def _link(options: BenchOptions, bitrate_bps: float, clock: StageClock | None = None) -> Link:
    return Link(options.rate_hz, bitrate_bps, options.mode, options.model, options.backend, clock)


def _at_bitrate(options: BenchOptions, bitrate_bps: float, packets: int) -> dict[str, float]:
    link = _link(options, bitrate_bps)
    run([link], WARM_UP_PACKETS)
    times = run([link], packets)
    return {"asked_bps": bitrate_bps, "payload_bps": round(times.payload_bps, 1), **summarise(times.total_ms)}


def _interleaved(options: BenchOptions, count: int, packets: int) -> dict[str, float]:
    """Many streams taking turns on one core; each one's cost, and how many such streams a core could carry."""
    links = [_link(options, options.bitrate_bps) for _ in range(count)]
    run(links, WARM_UP_PACKETS + count)
    summary = summarise(run(links, packets).total_ms)
    return {"streams": count, **summary, "streams_per_core_at_p50": int(10.0 / summary["p50_ms"])}


def _together(options: BenchOptions, count: int, packets: int) -> dict[str, float]:
    """Many streams of a pool stepped together; each one's share of the cost."""
    steps = max(4, packets // count)
    times = pool_times(count, steps, options.model, options.backend, bitrate_bps=options.bitrate_bps)
    summary = summarise(times.total_ms / count)
    return {"streams": count, **summary, "streams_per_core_at_p50": int(10.0 / summary["p50_ms"])}


def _beside_a_neighbour(link: Link, packets: int) -> dict[str, dict[str, float]]:
    """With another process busy wherever the system puts it, and, where threads can be pinned, on the same core."""
    with busy_neighbour():
        found = {"busy_neighbour": summarise(run([link], packets).total_ms)}
    if CAN_SHARE_A_CORE:
        with on_one_core() as core, busy_neighbour(core):
            found["neighbour_on_the_same_core"] = summarise(run([link], packets).total_ms)
    return found
