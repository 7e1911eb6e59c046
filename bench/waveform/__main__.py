"""Tables of the waveform tiers over a folder of clips, one subfolder per kind.

Example::

    python -m bench.waveform dev --every 4
    python -m bench.waveform dev --results bench/results
    python -m bench.waveform dev --results bench/results --only lossless

Every part has a file of its own, written as soon as it is measured.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from rich.console import Console
from rich.table import Table

from bench.waveform.listening import listening_rows, plot_listening
from streamcodec.codec.files.oneshot import encode_file
from streamcodec.codec.lossless.engine import LosslessDecoder, LosslessEncoder
from streamcodec.codec.near_lossless.engine import (
    NearLosslessDecoder,
    NearLosslessEncoder,
    decode_signal,
    encode_signal,
    step_for_bytes,
)
from streamcodec.codec.near_lossless.format import default_block_samples
from streamcodec.codec.packet import Packet, PacketFlags, Tier
from streamcodec.evaluation.clips import KINDS, PcmClip, read_clips
from streamcodec.evaluation.peers.at_size import LOSSY_PEERS, peer_snr_db
from streamcodec.evaluation.peers.programs import LOSSLESS_PEERS

NEAR_RATE_HZ = 44_100
NEAR_SECONDS = 6.0
RATIOS = (8, 30)
PARTS = ("lossless", "near-lossless", "listening", "speed")
# A peer's real ratio, as a share of the one asked for, from which on it counts as being at the same size.
LEAST_REAL_SHARE = 0.85

Row = dict[str, Any]


def lossless_clip(clip: PcmClip, key_seconds: float, block_ms: int) -> tuple[int, int, float, float]:
    """Bytes of payloads and of whole packets, and CPU seconds to code and to decode; every sample is compared."""
    block = clip.sample_rate_hz * block_ms // 1000
    encoder = LosslessEncoder(clip.sample_rate_hz, clip.samples.shape[1], 16, block)
    every = max(1, round(key_seconds * 1000 / block_ms)) if key_seconds else 0
    blocks = [clip.samples[i : i + block] for i in range(0, len(clip.samples), block)]
    start = time.process_time()
    payloads = [encoder.encode(part, bool(every and n % every == 0)) for n, part in enumerate(blocks)]
    middle = time.process_time()
    decoder = LosslessDecoder()
    decoded = [decoder.decode(payload) for payload in payloads]
    end = time.process_time()
    if not np.array_equal(np.concatenate(decoded), clip.samples):
        raise AssertionError(f"{clip.name} did not come back bit for bit")
    packets = [Packet(Tier.LOSSLESS, 0, 0, 0, PacketFlags.NONE, payload).to_bytes() for payload in payloads]
    return sum(map(len, payloads)), sum(map(len, packets)), middle - start, end - middle


def lossless_file_bytes(clip: PcmClip) -> int:
    """Size of a ``.sc`` file with everything that belongs to one: header, records, key packets, index."""
    source, coded = io.BytesIO(), io.BytesIO()
    soundfile.write(source, clip.samples, clip.sample_rate_hz, subtype="PCM_16", format="WAV")
    source.seek(0)
    encode_file(source, coded, tier="lossless")
    return coded.tell()


def lossless_rows(clips: list[PcmClip]) -> list[Row]:
    """Sizes relative to FLAC -8 where that is installed, else to PCM; speeds in multiples of 44.1 kHz mono real time.

    CPU time of the codec alone for streamcodec; wall time with start-up for peers, which shows them too slow.
    """
    sizes: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    seconds: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    pcm: dict[str, int] = defaultdict(int)
    samples = sum(clip.samples.size for clip in clips)
    lossless_clip(clips[0], 0, 20)
    for clip in clips:
        pcm[clip.kind] += clip.pcm_bytes
        for key_seconds in (0.0, 2.0):
            name = f"streamcodec, key every {key_seconds:g} s" if key_seconds else "streamcodec"
            size, packet_bytes, coding, decoding = lossless_clip(clip, key_seconds, 20)
            sizes[name][clip.kind] += size
            seconds[name][0] += coding
            seconds[name][1] += decoding
            if not key_seconds:
                sizes[f"{name}, packets"][clip.kind] += packet_bytes
                sizes[f"{name}, files"][clip.kind] += lossless_file_bytes(clip)
        for peer in LOSSLESS_PEERS:
            if peer.installed:
                size, spent = peer.run(clip)
                sizes[peer.name][clip.kind] += size
                seconds[peer.name][0] += spent
    reference = sizes.get("FLAC -8", pcm)
    rows = []
    for name, by_kind in sizes.items():
        row: Row = {"codec": name}
        for kind in pcm:
            row[f"{kind} / FLAC -8"] = round(by_kind[kind] / reference[kind], 4)
        row["all / FLAC -8"] = round(sum(by_kind.values()) / sum(reference[kind] for kind in pcm), 4)
        row["all / PCM"] = round(sum(by_kind.values()) / sum(pcm.values()), 4)
        coding, decoding = seconds.get(name, (0.0, 0.0))
        row["encode x RT"] = round(samples / NEAR_RATE_HZ / coding, 1) if coding else None
        row["decode x RT"] = round(samples / NEAR_RATE_HZ / decoding, 1) if decoding else None
        rows.append(row)
    return rows


def near_lossless_clip(clip: PcmClip, ratio: float, block_samples: int) -> tuple[float, float, float]:
    """Real ratio, signal-to-noise ratio in dB of the 16-bit result, mean squared error over squared peak."""
    signal = clip.samples.astype(np.float32) / np.float32(32768)
    step = step_for_bytes(signal, clip.sample_rate_hz, int(clip.pcm_bytes / ratio), "mse", block_samples)
    payloads = encode_signal(NearLosslessEncoder(clip.sample_rate_hz, 1, step, "mse", block_samples), signal)
    decoded = np.clip(np.rint(decode_signal(payloads, len(signal)) * 32768.0), -32768, 32767)
    noise = np.mean((decoded - clip.samples) ** 2)
    power = np.mean(clip.samples.astype(np.float64) ** 2)
    peak = float(np.abs(clip.samples.astype(np.int32)).max())
    return (
        clip.pcm_bytes / sum(map(len, payloads)),
        float(10 * np.log10(power / max(noise, 1e-6))),
        float(noise / peak**2),
    )


def fair_snr_db(ratio: float, real_ratio: float, snr_db: float, _error: float) -> float:
    """A peer's figure, or nothing to beat where its file is far too large: Vorbis has a lowest quality."""
    return snr_db if real_ratio > LEAST_REAL_SHARE * ratio else -np.inf


def near_lossless_rows(clips: list[PcmClip]) -> list[Row]:
    """Mean SNR per kind at fixed real ratios of 16-bit mono at 44.1 kHz, every clip at its own step."""
    clips = [clip.resampled(NEAR_RATE_HZ, NEAR_SECONDS) for clip in clips]
    short = default_block_samples(NEAR_RATE_HZ)
    coders: dict[str, Callable[[PcmClip, float], tuple[float, float, float]]] = {
        f"streamcodec {1000 * block / NEAR_RATE_HZ:.1f} ms": (
            lambda clip, ratio, block=block: near_lossless_clip(clip, ratio, block)
        )
        for block in (short, 2 * short)
    }
    for peer in LOSSY_PEERS:
        coders[peer] = lambda clip, ratio, peer=peer: (
            *peer_snr_db(peer, clip, int(clip.pcm_bytes / ratio)),
            float("nan"),
        )
    rows = []
    for ratio in RATIOS:
        found = {name: [code(clip, ratio) for clip in clips] for name, code in coders.items()}
        best_peer = np.max([[fair_snr_db(ratio, *result) for result in found[peer]] for peer in LOSSY_PEERS], axis=0)
        for name, results in found.items():
            real, snr_db, errors = (np.array(column) for column in zip(*results, strict=True))
            by_kind = {
                kind: snr_db[[clip.kind == kind for clip in clips]] for kind in dict.fromkeys(c.kind for c in clips)
            }
            row: Row = {"codec": name, "ratio": ratio, "real ratio": round(float(np.mean(real)), 2)}
            row |= {f"{kind} SNR dB": round(float(np.mean(values)), 2) for kind, values in by_kind.items()}
            row["mean of kinds dB"] = round(float(np.mean([np.mean(values) for values in by_kind.values()])), 2)
            row["mean of clips dB"] = round(float(np.mean(snr_db)), 2)
            if name not in LOSSY_PEERS:
                row["clips with MSE <= 4.4e-6"] = f"{sum(errors <= 4.4e-6)}/{len(errors)}"
                row["clips above every peer"] = f"{sum(snr_db > best_peer)}/{len(snr_db)}"
            rows.append(row)
    return rows


def near_lossless_speed(clip: PcmClip, key: bool) -> Row:
    """CPU time per 10 ms of sound at ratio 8, both ways, in the default block length; ``key``: key blocks alone."""
    signal = clip.resampled(NEAR_RATE_HZ, NEAR_SECONDS).samples.astype(np.float32) / np.float32(32768)
    encoder = NearLosslessEncoder(NEAR_RATE_HZ)
    block = encoder.format.block_samples
    blocks = signal[: len(signal) // block * block].reshape(-1, block, 1)
    decoder, costs = NearLosslessDecoder(), []
    for part in blocks:
        start = time.process_time()
        decoder.decode(encoder.encode(part, key))
        costs.append((time.process_time() - start) * 1000 * 10 / (1000 * block / NEAR_RATE_HZ))
    p50, p95, p99 = np.percentile(costs[5:], [50, 95, 99])
    name = "ms per 10 ms, both ways" + (", key blocks alone" if key else "")
    return {name: {"p50": round(p50, 3), "p95": round(p95, 3), "p99": round(p99, 3)}}


def show(title: str, rows: list[Row]) -> None:
    """Print one table."""
    table = Table(title=title)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*("" if row.get(column) is None else str(row[column]) for column in columns))
    Console(width=200).print(table)


def main() -> None:
    """Measure, print, and write JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder with one subfolder of FLAC or WAV clips per kind")
    parser.add_argument("--every", type=int, default=1, help="take every n-th clip of each kind")
    parser.add_argument("--results", type=Path, help="folder for the figures, as JSON")
    parser.add_argument("--plot", type=Path, help="where to draw quality against rate, as PNG")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="measure these parts")
    arguments = parser.parse_args()
    clips = [PcmClip.of(clip) for clip in read_clips(arguments.root)]
    clips = [clip for kind in KINDS for clip in [c for c in clips if c.kind == kind][:: arguments.every]]
    figures: dict[str, Any] = {}
    for part in arguments.only:
        match part:
            case "lossless":
                figures[part] = lossless_rows(clips)
                show("Lossless, 16 bit", figures[part])
            case "near-lossless":
                figures[part] = near_lossless_rows(clips)
                show("Near-lossless, 44.1 kHz mono, optimised for MSE, real bytes", figures[part])
            case "listening":
                figures[part] = listening_rows(clips)
                show("Near-lossless, for listening, beside Opus at the same bytes", figures[part])
            case "speed":
                figures[part] = near_lossless_speed(clips[0], False) | near_lossless_speed(clips[0], True)
                print(figures[part])
        if arguments.results:
            arguments.results.mkdir(parents=True, exist_ok=True)
            path = arguments.results / f"waveform_{part.replace('-', '_')}_{arguments.root.name}.json"
            path.write_text(json.dumps({"clips": len(clips), part: figures[part]}, indent=1) + "\n")
    if arguments.plot and "listening" in figures:
        plot_listening(figures["listening"], arguments.plot)


if __name__ == "__main__":
    main()
