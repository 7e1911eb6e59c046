"""Tables of cost: stages, peers, pools, relays."""

from __future__ import annotations

from bench.tables.research import Table
from bench.tables.sources import number, percent, results, table

STAGES = {
    "encode.network": "encoder network",
    "decode.network": "decoder network",
    "encode.entropy": "quantising and range coding",
    "decode.entropy": "range decoding",
    "decode.render": "noise, inverse STFT, post-filters",
    "encode.stft": "STFT and companding",
}
PERCENTILES = {"p50_ms": "p50", "p95_ms": "p95", "p99_ms": "p99", "p99_9_ms": "p99.9", "max_ms": "max"}


def cost(file: str) -> Table:
    """Times of a whole packet, its stages and less friendly conditions, per 10 ms of sound."""
    figures = results(file)
    lines = {"encode and decode": figures["total"], "encode": figures["encode"], "decode": figures["decode"]}
    lines |= {title: figures["stages"][name] for name, title in STAGES.items()}
    lines["encode and decode, sleeping between packets"] = figures["sleeping"]
    lines["encode and decode, a busy process on the other core"] = figures["busy_neighbour"]
    rows = [[title, *(number(times[key], 3) for key in PERCENTILES)] for title, times in lines.items()]
    return file, ["ms per 10 ms of sound", *PERCENTILES.values()], rows


@table
def cost_onnxruntime() -> Table:
    return cost("bench_cpu.json")


@table
def cost_compiled() -> Table:
    return cost("bench_compiled_cpu.json")


def peers(kind: str) -> Table:
    """Peers of one kind in one run."""
    file = "peers_cpu.json"
    rows = [
        [
            row["name"],
            *(number(row[key], 4) for key in ("processor_ms", "p50_ms", "p99_ms")),
            number(row["times_first"]),
            row["note"],
        ]
        for row in results(file)["rows"]
        if row["kind"] == kind
    ]
    return file, ["ms per 10 ms of sound", "processor", "p50", "p99", "over the first", "what"], rows


@table
def peers_codecs() -> Table:
    return peers("encode and decode")


@table
def peers_transforms() -> Table:
    return peers("STFT and back")


def pool(file: str) -> Table:
    """Cost of a pool by its number of streams."""
    figures = results(file)
    rows = [
        [
            str(row["streams"]),
            *(number(row[key]) for key in ("p50_ms", "p99_ms")),
            number(row["p50_ms"] / row["streams"], 3),
            "yes" if row["p99_ms"] <= figures["deadline_ms"] else "no",
        ]
        for row in sorted(figures["rows"], key=lambda row: int(row["streams"]))
    ]
    return file, ["streams", "all, p50 ms", "all, p99 ms", "each, p50 ms", "within 10 ms"], rows


@table
def pool_onnxruntime() -> Table:
    return pool("pool_cpu.json")


@table
def pool_compiled() -> Table:
    return pool("pool_compiled_cpu.json")


@table
def relay() -> Table:
    file = "relay_load.json"
    rows = [
        [
            f"{step['participants']:,}",
            *(number(step[key], 1) for key in ("p50_ms", "p99_ms")),
            f"{100 * step['relay_cpu']:.0f} %",
            number(step["relay_rss_mb"], 0),
        ]
        for step in results(file)["steps"]
    ]
    return file, ["people", "delay p50 ms", "delay p99 ms", "of one core", "memory MB"], rows


@table
def packing() -> Table:
    file = "packing.json"
    found = results(file)["speed"]
    cores = found["cores"]
    rows = [
        ["one process", number(found["alone, files a second"]), number(found["alone, hours an hour"], 0), "-"],
        [
            f"{cores} such processes at once",
            number(found["at once, files a second"]),
            number(found["at once, hours an hour"], 0),
            percent(found["at once, files a second"] / (cores * found["alone, files a second"])),
        ],
        [
            f"one command on {cores} cores",
            number(found["all cores, files a second"]),
            number(found["all cores, hours an hour"], 0),
            percent(found["all cores / sum of alone"]),
        ],
    ]
    return file, ["`pack`", "files a second", "hours of speech an hour", "of the sum of single-core speeds"], rows


@table
def packing_ray() -> Table:
    file = "packing_ray.json"
    found = results(file)["rows"]
    alone = found[0]["files a second"]
    rows = [
        [str(row["workers"]), number(row["files a second"]), number(row["files a second"] / alone)] for row in found
    ]
    return file, ["workers of Ray", "files a second", "times one worker"], rows
