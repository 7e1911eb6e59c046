"""Near-lossless for listening beside Opus at the same payload bytes: PESQ on speech, ViSQOL (audio mode) on all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from streamcodec.codec.near_lossless.engine import NearLosslessEncoder, decode_signal, encode_signal
from streamcodec.codec.near_lossless.format import default_block_samples
from streamcodec.codec.near_lossless.rate import TargetBitrate
from streamcodec.evaluation.alignment import AlignedPair
from streamcodec.evaluation.clips import PcmClip
from streamcodec.evaluation.full_reference import pesq_wideband, visqol_audio
from streamcodec.evaluation.libopus import OpusSettings
from streamcodec.evaluation.peers.opus import OpusPeer

RATES_KBPS = (24, 32, 48, 64)
SECONDS = 6.0
KEY_PERIOD_S = 1.0

Row = dict[str, Any]


def _scores(clip: PcmClip, decoded: Any) -> tuple[float, float]:
    pair = AlignedPair(clip.samples[:, 0] / 32768, clip.sample_rate_hz, decoded, clip.sample_rate_hz)
    pesq = pesq_wideband(*pair.at(16_000)) if clip.kind == "speech" else float("nan")
    return pesq, visqol_audio(*pair.at(48_000))


def _streamcodec(sound: Any, clip: PcmClip, payload_bytes: int) -> tuple[int, Any]:
    """Bytes and sound, as a stream is coded: at a bitrate, without knowing what comes, a key block every second."""
    target = TargetBitrate(payload_bytes * 8 * clip.sample_rate_hz / len(sound))
    encoder = NearLosslessEncoder(clip.sample_rate_hz, 1, target)
    period = round(KEY_PERIOD_S * clip.sample_rate_hz / default_block_samples(clip.sample_rate_hz))
    payloads = encode_signal(encoder, sound[:, None], period)
    return sum(map(len, payloads)), decode_signal(payloads, len(sound))[:, 0]


def listening_rows(clips: list[PcmClip]) -> list[Row]:
    """Means per kind and rate, every clip at its own rate, the first channel alone.

    Opus (libopus, VBR, 20 ms, complexity 10) is asked for the nominal rate; what it really takes is what streamcodec
    is asked for.
    """
    rows = []
    for kind in dict.fromkeys(clip.kind for clip in clips):
        settings = OpusSettings(signal="voice" if kind == "speech" else "auto")
        for kbps in RATES_KBPS:
            found: dict[str, list[tuple[float, float, float]]] = {"streamcodec": [], "Opus": []}
            for clip in clips:
                if clip.kind != kind:
                    continue
                sound = clip.samples[: int(SECONDS * clip.sample_rate_hz), 0].astype(np.float32) / np.float32(32768)
                short = PcmClip(clip.kind, clip.name, clip.sample_rate_hz, clip.samples[: len(sound)])
                opus = OpusPeer(settings)(sound, clip.sample_rate_hz, kbps)
                real_bytes, ours = _streamcodec(sound, short, opus.payload_bytes)
                to_kbps = 0.008 * clip.sample_rate_hz / len(sound)
                found["streamcodec"].append((real_bytes * to_kbps, *_scores(short, ours)))
                found["Opus"].append((opus.payload_bytes * to_kbps, *_scores(short, opus.samples)))
            for codec, results in found.items():
                real, pesq, visqol = np.mean(results, axis=0)
                row = {"kind": kind, "codec": codec, "clips": len(results), "nominal kbps": kbps}
                row |= {"real kbps": round(float(real), 2), "ViSQOL audio": round(float(visqol), 3)}
                rows.append(row | ({"PESQ-WB": round(float(pesq), 3)} if kind == "speech" else {}))
    return rows


def plot_listening(rows: list[Row], path: Path) -> None:
    """One panel per kind and metric: score over real kbps."""
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys((row["kind"], m) for row in rows for m in ("PESQ-WB", "ViSQOL audio") if m in row))
    figure = Figure(figsize=(3.6 * len(panels), 3.2), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (kind, metric) in zip(axes, panels, strict=True):
        for codec, colour in (("streamcodec", "#c8102e"), ("Opus", "#4c6a92")):
            points = [row for row in rows if row["kind"] == kind and row["codec"] == codec]
            axis.plot(
                [row["real kbps"] for row in points], [row[metric] for row in points], "o-", color=colour, label=codec
            )
        axis.set_title(f"{kind}: {metric}", fontsize=10)
        axis.set_xlabel("kbps (payload)")
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(path, dpi=110)
