"""Tables of the waveform tiers."""

from __future__ import annotations

from bench.tables.research import Table
from bench.tables.sources import number, results, table

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
