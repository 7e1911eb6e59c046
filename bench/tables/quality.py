"""Tables of quality: by metric and rate, in rooms, under loss, over the wire."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bench.tables.research import Table
from bench.tables.sources import number, results, table, with_interval
from streamcodec.evaluation import METRICS

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


@table
def tones() -> Table:
    """Levels of steady tones, and keys of a telephone read."""
    file = "tones.json"
    found = results(file)
    rows = [
        [
            row["system"],
            number(row["kbps"], 1),
            *(number(level, 1) for level in row["levels_db"].values()),
            f"{row['keys']} of {found['of_keys']}",
        ]
        for row in found["rows"]
    ]
    titles = [f"{float(hz) / 1_000:g} kHz" for hz in found["rows"][0]["levels_db"]]
    return file, ["codec", "kbps", *titles, "keys"], rows


LOW_RATE_SCORES = (("words", "words", 0), ("stoi", "STOI", 3), ("estoi", "ESTOI", 3), ("pesq", "PESQ-WB", 2))


@table
def low_rates() -> Table:
    """Speech at 1 to 3.2 kbps beside Codec2."""
    file = "low_rates.json"
    rows = [
        [row["system"], number(row["kbps"]), *(number(row.get(name), digits) for name, _, digits in LOW_RATE_SCORES)]
        for row in results(file)["rows"]
    ]
    return file, ["codec", "kbps", *(title for _, title, _ in LOW_RATE_SCORES)], rows


@table
def restored() -> Table:
    """What ``streamcodec restore`` brings."""
    file = "restoration_dev.json"
    rows = []
    for name, clips in results(file).items():
        scores = [
            sum(clip[score] for clip in clips) / len(clips)
            for score in ("visqol_before", "visqol_after", "distortion_before_db", "distortion_after_db")
        ]
        least = min(clip["visqol_after"] - clip["visqol_before"] for clip in clips)
        changed = f"{sum(clip['changed'] for clip in clips)} of {len(clips)}"
        rows.append(
            [name, changed, *(number(v) for v in scores[:2]), number(least), *(number(v, 1) for v in scores[2:])]
        )
    columns = ["", "filled in", "ViSQOL", "restored", "least gain", "SD dB", "restored"]
    return file, columns, rows


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
def loss_visqol() -> Table:
    return _over_wire("loss_dev.json", ("visqol", "words"))


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
        titles = [f"{title}, {100 * rate:.0f} %" for rate in rates for title in titles]
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
