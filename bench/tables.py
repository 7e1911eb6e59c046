"""Write the tables of README.md and docs/ from the figures in ``bench/results``.

Example::

    python -m bench.tables            # write them
    python -m bench.tables --check    # say which pages are out of date, and exit with 1

A page asks for a table by the line ``<!-- table NAME -->``; what stands between it and ``<!-- end -->`` is replaced.
Each table says from which file, commit and day its figures are: ``bench/results/stamps.json`` keeps that by the
file's content, so figures that were measured anew get the commit of the day when this command first sees them.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.research_tables import Table, TableError, research_tables, training_minutes
from streamcodec.evaluation import METRICS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
STAMPS = RESULTS / "stamps.json"
PLOT = ROOT / "docs" / "images" / "quality.svg"
PLACE = re.compile(r"(?P<start><!-- table (?P<name>[\w-]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)

TABLES: dict[str, Callable[[], Table]] = {}


def table(function: Callable[[], Table]) -> Callable[[], Table]:
    """Offer a table under its function's name, with hyphens."""
    TABLES[function.__name__.replace("_", "-")] = function
    return function


@functools.cache
def results(name: str) -> Any:
    """Figures of one file below ``bench/results``."""
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def digest(name: str) -> str:
    """What a results file is known by."""
    return hashlib.sha256((RESULTS / name).read_bytes()).hexdigest()[:16]


def number(value: float | None, digits: int = 2) -> str:
    """A figure, or a dash where there is none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def with_interval(score: dict[str, float], digits: int = 2) -> str:
    """Mean and half of the 95 % interval."""
    return f"{score['mean']:.{digits}f} ± {score['half_width']:.{digits}f}"


# Quality

OWN_NAMES = {
    "streamcodec": "streamcodec, 20 ms",
    "streamcodec 60 ms": "streamcodec, 60 ms",
    "streamcodec file": "streamcodec, file",
}
SCORES = (
    ("pesq", "PESQ-WB", 2),
    ("visqol", "ViSQOL", 2),
    ("stoi", "STOI", 3),
    ("si_sdr", "SI-SDR dB", 1),
    ("mel16", "mel16 ↓", 3),
    ("mel24", "mel24 ↓", 3),
    ("lsd16", "LSD dB ↓", 1),
    ("dnsmos", "DNSMOS", 2),
)
SPEECH, OTHERS = "quality_dev_speech.json", "quality_dev_music_environment.json"


def quality(file: str, kind: str, wanted: Iterable[str]) -> Table:
    """Every system at every rate, by rate."""
    summaries = [row for row in results(file)["summaries"] if row["kind"] == kind]
    shown = [each for each in SCORES if each[0] in wanted and any(each[0] in row["scores"] for row in summaries)]
    rows = []
    for row in sorted(summaries, key=lambda row: float(row["payload_kbps"])):
        scores = [with_interval(row["scores"][name], digits) for name, _, digits in shown]
        rows.append([OWN_NAMES.get(row["system"], row["system"]), number(row["payload_kbps"]), *scores])
    return file, ["codec", "kbps", *(title for _, title, _ in shown)], rows


@table
def quality_speech() -> Table:
    return quality(SPEECH, "speech", ("pesq", "visqol", "stoi", "si_sdr", "mel16", "mel24", "dnsmos"))


@table
def quality_music() -> Table:
    return quality(OTHERS, "music", ("mel16", "mel24", "lsd16"))


@table
def quality_environment() -> Table:
    return quality(OTHERS, "environment", ("mel16", "mel24", "lsd16"))


@table
def summary() -> Table:
    """The README's table: one line for each codec and rate that a call would use."""
    named = ("streamcodec", "Opus", "Opus WB+LACE")
    rows = []
    for row in sorted(results(SPEECH)["summaries"], key=lambda row: float(row["payload_kbps"])):
        if row["system"] in named and row["nominal_kbps"] > 2 and row["payload_kbps"] < 13:
            scores = [number(row["scores"][name]["mean"], digits) for name, _, digits in SCORES[:3]]
            title = "**streamcodec**" if row["system"] == "streamcodec" else row["system"].replace(" WB+", " + ")
            rows.append([title, number(row["payload_kbps"], 1), *scores])
    return SPEECH, ["codec", "kbps", "PESQ-WB", "ViSQOL", "STOI"], rows


@table
def naturalness() -> Table:
    file = "naturalness_24_voices.json"
    rows = [
        [row["codec"], number(row["kbps"], 1), *(number(row[name]) for name in ("distill_mos", "pesq", "visqol"))]
        for row in results(file)["rows"]
    ]
    return file, ["codec", "kbps", "Distill-MOS", "PESQ-WB", "ViSQOL"], rows


FIELD_NAMES = {"streamcodec": "streamcodec", "Opus WB+LACE": "Opus + LACE", "Opus WB+NoLACE": "Opus + NoLACE"}


@table
def field() -> Table:
    """Rooms by codecs, a cell of PESQ-WB, ViSQOL and Distill-MOS."""
    file = "field.json"
    found = results(file)["rows"]
    columns = list(dict.fromkeys((row["system"], row["nominal_kbps"]) for row in found))
    rows = []
    for room in dict.fromkeys(row["room"] for row in found):
        cells = {(row["system"], row["nominal_kbps"]): row["scores"] for row in found if row["room"] == room}
        shown = [
            " / ".join(number(cells[c][name]["mean"]) for name in ("pesq", "visqol", "distill_mos")) for c in columns
        ]
        rows.append([room, *shown])
    return file, ["", *(f"{FIELD_NAMES.get(name, name)} {kbps:g}" for name, kbps in columns)], rows


@table
def field_other_clips() -> Table:
    file = "field_other_clips.json"
    found = results(file)
    rows = [
        [row["room"], *(f"{number(a)} / {number(b)}" for a, b in zip(row["pesq"], row["visqol"], strict=True))]
        for row in found["rows"]
    ]
    return file, ["", *found["columns"]], rows


WIRE_SLACK_KBPS = 0.5


@table
def loss() -> Table:
    return _over_wire("loss_dev.json", ("pesq", "plcmos"))


@table
def loss_free() -> Table:
    return _over_wire("wire_quality_dev.json", ("pesq", "visqol", "distill_mos", "words"))


@table
def wire_plans() -> Table:
    file = "wire_plans.json"
    found = results(file)["rows"]
    losses = list(dict.fromkeys(row["loss"] for row in found))
    rows = []
    for kbps in dict.fromkeys(row["wire_kbps"] for row in found):
        plans = {row["loss"]: row for row in found if row["wire_kbps"] == kbps}
        rows.append([number(kbps, 0), *(_plan(plans[loss]) for loss in losses)])
    titles = ["to begin with" if loss is None else f"{loss:.0%} lost".replace("%", " %") for loss in losses]
    return file, ["kbps on the wire", *titles], rows


def _plan(row: dict[str, Any]) -> str:
    """Packet length and payload kbps; in brackets the size of the copies and how many packets later they come."""
    ages = " and ".join(map(str, row["ages"]))
    copies = f" ({row['copy_share']:g}, {ages} later)" if ages else ""
    return f"{row['packet_ms']} ms, {number(row['payload_kbps'], 1)}{copies}"


def _over_wire(file: str, scores: Sequence[str]) -> Table:
    """Ours, and in brackets the best Opus that takes no more of the wire."""
    rows = results(file)["rows"]
    rates = sorted({row["loss"] for row in rows})
    names = list(dict.fromkeys(row["system"] for row in rows if row["system"].startswith("streamcodec")))
    lines = []
    for name in names:
        own = {row["loss"]: row for row in rows if row["system"] == name}
        cells = [name.split()[1]]
        for rate in rates:
            opus = [row for row in rows if row["system"].startswith("Opus") and row["loss"] == rate]
            within = [row for row in opus if row["wire_kbps"] <= own[rate]["wire_kbps"] + WIRE_SLACK_KBPS]
            for score in scores:
                best = (min if METRICS[score].better == "low" else max)(
                    (other[score]["mean"] for other in within), default=None
                )
                cells.append(f"{own[rate][score]['mean']:.2f} ({number(best)})")
        lines.append(cells)
    titles = [METRICS[score].title for score in scores]
    if len(rates) > 1:
        titles = [f"{title}, {rate:.0%}".replace("%", " %") for rate in rates for title in titles]
    return file, ["kbps on the wire", *titles], lines


@table
def peers_dnsmos() -> Table:
    file = "peers_dnsmos_dev.json"
    rows = [[row["codec"], number(row["dnsmos"]), number(row.get("pesq"))] for row in results(file)["rows"]]
    return file, ["codec and kbps", "DNSMOS", "PESQ-WB"], rows


@table
def corpora() -> Table:
    file = "corpora_dev.json"
    rows = [
        [row["coder"], number(row["MB per hour"], 1), number(row["word errors %"], 1)]
        for row in results(file)["quality"]
    ]
    return file, ["packed speech", "MB an hour", "word errors, %"], rows


# Waveform tiers

LOSSLESS = "waveform_lossless_dev.json"
NEAR_LOSSLESS = "waveform_near_lossless_dev.json"
NEAR_LOSSLESS_LISTENING = "waveform_listening_dev.json"
LOSSLESS_NAMES = {
    "streamcodec": "streamcodec, payloads",
    "streamcodec, packets": "streamcodec, with packet headers",
    "streamcodec, files": "streamcodec, files",
    "streamcodec, key every 2 s": "streamcodec, a key packet every 2 s",
}


@table
def lossless() -> Table:
    kinds = ("environment", "music", "speech", "all")
    rows = [
        [
            LOSSLESS_NAMES.get(row["codec"], row["codec"]),
            *(number(row[f"{kind} / FLAC -8"], 3) for kind in kinds),
            number(row["encode x RT"], 0),
            number(row["decode x RT"], 0),
        ]
        for row in results(LOSSLESS)["lossless"]
    ]
    return LOSSLESS, ["size over FLAC -8", *kinds, "encoding, times real time", "decoding, times real time"], rows


@table
def near_lossless() -> Table:
    kinds = ("environment", "music", "speech")
    rows = [
        [
            f"{row['codec']}, ratio {row['ratio']}",
            number(row["real ratio"], 1),
            *(number(row[f"{kind} SNR dB"], 1) for kind in kinds),
            number(row["mean of kinds dB"], 1),
        ]
        for row in results(NEAR_LOSSLESS)["near-lossless"]
    ]
    return NEAR_LOSSLESS, ["mean SNR, dB", "real ratio", *kinds, "mean of kinds"], rows


@table
def near_lossless_listening() -> Table:
    cells: dict[tuple[str, str], dict[int, list[str]]] = {}
    for row in results(NEAR_LOSSLESS_LISTENING)["listening"]:
        for metric in ("PESQ-WB", "ViSQOL audio"):
            if metric in row:
                at = cells.setdefault((row["kind"], metric), {}).setdefault(row["nominal kbps"], [])
                at.append(number(row[metric]))
    rates = sorted({rate for found in cells.values() for rate in found})
    rows = [[f"{kind}, {metric}", *(" / ".join(at[rate]) for rate in rates)] for (kind, metric), at in cells.items()]
    return NEAR_LOSSLESS_LISTENING, ["streamcodec / Opus at a nominal", *(f"{rate} kbps" for rate in rates)], rows


# Cost

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


# Training and research


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


# The research bench's are in ``bench.research_tables``

TABLES.update(research_tables(results))


# Browser


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def _range(values: Sequence[float], digits: int = 0) -> str:
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} to {high}"


@table
def web_speed() -> Table:
    """Milliseconds of one thread for a packet."""
    file = "web_speed.json"
    rows = []
    for name in ("encode", "decode"):
        native, node, chromium = (results(file)[name][kind] for kind in ("native", "node", "chromium"))
        ratios = f"{node / native:.1f}, {chromium / native:.1f}"
        share = _percent(chromium / results(file)["packet_ms"])
        rows.append([name, number(native), number(node), number(chromium), ratios, share])
    share = f"share of a core in Chromium (load {results(file)['load']:.0f})"
    titles = ["native (compiled backend)", "Node", "Chromium", "ratios", share]
    return file, ["ms a packet of 20 ms", *titles], rows


@table
def web_calls() -> Table:
    """Rates and the workers' time of calls between two pages."""
    file = "web_calls.json"
    ways = {"auto": "SRTP", "data-channel": "data channel", "relay": "relay"}
    rows = [
        [
            ways[call["transport"]],
            f"{call['packet_ms']} ms",
            _range(call["payload_kbps"], 1),
            _range(call["wire_kbps"], 1),
            _range([100 * share for share in call["worker_share_of_a_core"]]) + " %",
            _range(call["jitter_buffer_ms"]) + " ms",
            _range(call["first_sound_ms"]) + " ms",
        ]
        for call in results(file)["calls"]
    ]
    share = f"worker, share of a core (load {results(file)['load']:.0f})"
    titles = ["way", "packet", "payload kbps", "wire kbps each way", share]
    return file, [*titles, "jitter buffer", "first sound after joining"], rows


@table
def web_profile() -> Table:
    """What a call's worker does."""
    file = "web_profile.json"
    found = results(file)
    rows = [[name, _percent(share)] for name, share in found["parts"].items() if share >= 0.001]
    return file, ["part", "share of the worker's time"], rows


@table
def web_delay() -> Table:
    """Mouth to ear."""
    file = "web_delay.json"
    names = {
        "nodes": "page to page, node to node",
        "alone": "Chromium alone, microphone on loudspeaker",
        "page-page": "page to page, devices included",
        "python-page": "Python to page, devices included",
        "page-python": "page to Python, devices included",
        "python-python": "Python to Python, devices included",
    }
    rows = []
    for way, name in names.items():
        found = results(file)[way]
        delay = found.get("delay_ms", {})
        figures = [number(delay.get(key), 0) for key in ("median", "p95", "least", "most")]
        rows.append([name, *figures, f"{found['chirps']}", f"{found['rejected']}", f"{found['load']:.0f}"])
    return file, ["way", "median ms", "p95", "least", "most", "chirps", "rejected", "load"], rows


@table
def web_room() -> Table:
    """Many people in many tabs."""
    file = "web_room.json"
    found = results(file)
    row = [
        f"{found['tabs']} of {found['people']} people, {found['seconds']} s",
        f"{found['gaps']:,} of {found['blocks']:,}",
        f"{found['made_up']:,} of {found['frames']:,}",
        _percent(found["share_of_a_core_a_person"]),
    ]
    share = f"a person's share of a core (load {found['load']:.0f})"
    return file, ["tabs", "gaps", "frames made up", share], [row]


# Listening page


@table
def listening() -> Table:
    """Naturalness of what the listening page plays: means over its clean voices and over those in noise."""
    file = "listening.json"
    groups = {"five voices": "voice", "two in noise": "noise"}
    scores: dict[str, dict[str, list[float]]] = {}
    kbps: dict[str, list[float]] = {}
    for clip in results(file)["clips"]:
        for row in clip["versions"]:
            kbps.setdefault(row["version"], []).append(row["kbps"])
            if "distill_mos" in row:
                by_group = scores.setdefault(row["version"], {})
                by_group.setdefault(clip["name"].split("-")[0], []).append(row["distill_mos"])
    rows = []
    for version, rates in kbps.items():
        means = [scores.get(version, {}).get(group, []) for group in groups.values()]
        rate = sum(rates) / len(rates)
        cells = [number(sum(each) / len(each) if each else None) for each in means]
        rows.append([version, number(rate if rate > 0.0 else None, 1), *cells])
    return file, ["version", "kbps", *(f"Distill-MOS, {title}" for title in groups)], rows


def players() -> str:
    """Links to every sound of the listening page; its script makes players of them."""
    parts = []
    for clip in results("listening.json")["clips"]:
        parts += [f"### {clip['title']}", ""]
        parts += [f"- [{row['version']}]({row['file']})" for row in clip["versions"]]
        parts += ["", f"*{clip['credit']}.*", ""]
    return "\n".join(parts)


# Pages


def stamp_of(name: str) -> dict[str, str]:
    """Commit and day of the figures in a results file; raises TableError where they are not known yet."""
    stamps = json.loads(STAMPS.read_text(encoding="utf-8")) if STAMPS.exists() else {}
    try:
        found: dict[str, str] = stamps[digest(name)]
    except KeyError as error:
        raise TableError(f"bench/results/{name} has changed: run python -m bench.tables") from error
    return found


def run_of(name: str) -> str:
    """Seed of a research result and the time that its training took, as far as they are known."""
    if not name.startswith("research/"):
        return ""
    minutes = training_minutes(results, name)
    return f", seed {results(name)['seed']}" + (f", trained for {minutes:,.0f} minutes" if minutes else "")


def rendered(name: str) -> str:
    """A table as Markdown, and where its figures are from; raises TableError."""
    if name == "players":
        return f"{players()}\n"
    if name not in TABLES:
        raise TableError(f"there is no table {name!r}; there are {', '.join(sorted(TABLES))}")
    file, columns, rows = TABLES[name]()
    lines = [columns, ["---"] * len(columns), *rows]
    stamp = stamp_of(file)
    source = f"<small>`bench/results/{file}`, commit {stamp['commit']}, {stamp['date']}{run_of(file)}</small>"
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{source}\n"


def with_tables(text: str) -> str:
    """A page with its tables as they should be."""
    return PLACE.sub(lambda found: found["start"] + "\n" + rendered(found["name"]) + "\n" + found["end"], text)


def pages() -> list[Path]:
    """Every page that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def out_of_date() -> list[str]:
    """Pages whose tables are not what the figures say, and plots of other figures."""
    found = []
    for path in pages():
        text = path.read_text(encoding="utf-8")
        if with_tables(text) != text:
            found.append(str(path.relative_to(ROOT)))
    if not PLOT.exists() or digest(SPEECH) not in PLOT.read_text(encoding="utf-8"):
        found.append(str(PLOT.relative_to(ROOT)))
    return found


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def write_stamps() -> None:
    """Note commit and day for every results file whose content is new, and forget what is no more."""
    known = json.loads(STAMPS.read_text(encoding="utf-8")) if STAMPS.exists() else {}
    stamps = {}
    for path in sorted(RESULTS.rglob("*.json")):
        if path == STAMPS:
            continue
        name = path.relative_to(RESULTS).as_posix()
        key = digest(name)
        if key not in known:
            committed = not _git("status", "--porcelain", "--", str(path))
            commit, date = _git("log", "-1", "--format=%h %cs", *(["--", str(path)] if committed else [])).split()
            known[key] = {"commit": commit[:7], "date": date if committed else f"{datetime.date.today():%F}"}
        stamps[key] = {"file": name, **known[key]}
    STAMPS.write_text(json.dumps(stamps, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def draw_quality() -> None:
    """PESQ-WB and ViSQOL over rate, this codec beside Opus, as one small SVG file."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "streamcodec", "svg.fonttype": "path", "font.size": 9.0})
    from matplotlib import pyplot as plt

    lines = {
        "streamcodec": ("streamcodec, 20 ms", "#d1495b", "o-"),
        "streamcodec 60 ms": ("streamcodec, 60 ms", "#d1495b", "o--"),
        "Opus": ("Opus", "#30638e", "s-"),
        "Opus WB+LACE": ("Opus + LACE", "#30638e", "s--"),
    }
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.0), layout="constrained")
    for axis, (metric, title) in zip(axes, (("pesq", "PESQ-WB"), ("visqol", "ViSQOL")), strict=True):
        for system, (label, colour, style) in lines.items():
            rows = [row for row in results(SPEECH)["summaries"] if row["system"] == system]
            points = sorted((row["payload_kbps"], row["scores"][metric]["mean"]) for row in rows)
            points = [point for point in points if point[0] < 13]
            axis.plot(*zip(*points, strict=True), style, color=colour, label=label, markersize=3.5, linewidth=1.2)
        axis.set(xlabel="payload kbps", title=title)
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(lines), frameon=False)
    PLOT.parent.mkdir(exist_ok=True)
    figure.savefig(PLOT, metadata={"Date": None, "Description": digest(SPEECH)}, facecolor="white")
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, 1 where pages are out of date, 2 after a one-line error."""
    options = argparse.ArgumentParser("python -m bench.tables", description="Tables of the documentation.")
    options.add_argument(
        "--check", action="store_true", help="change nothing; exit with 1 where a page is out of date"
    )
    check = options.parse_args(arguments).check
    try:
        if not check:
            write_stamps()
            for path in pages():
                text = path.read_text(encoding="utf-8")
                if (written := with_tables(text)) != text:
                    path.write_text(written, encoding="utf-8")
            if "docs/images/quality.svg" in out_of_date():
                draw_quality()
        stale = out_of_date()
    except TableError as error:
        print(f"bench.tables: {error}", file=sys.stderr)
        return 2
    for name in stale:
        print(f"{name} is out of date: run python -m bench.tables", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
