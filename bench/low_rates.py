"""Speech at 1 to 3.2 kbps beside Codec2: packets of 120 ms that decode alone, and files with everything counted.

    python -m bench.low_rates data/dev/speech/univnet* data/dev/speech/voicefixer* --json bench/results/low_rates.json

Codec2 is Debian's ``codec2`` (c2enc, c2dec). Words are those of a recogniser for English. Files hold all clips in a
row.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from streamcodec import decode_array, decode_file, encode_array, encode_file
from streamcodec.codec.files.output_file import write_whole
from streamcodec.evaluation.alignment import AlignedPair, resample
from streamcodec.evaluation.metrics import METRICS

RATE_HZ, CODEC2_HZ = 24_000, 8_000
PACKETS_KBPS, FILES_KBPS, CODEC2_KBPS = (1.0, 1.2, 1.6, 2.4, 3.2), (1.0, 1.6), (1.2, 1.6, 2.4, 3.2)
SCORES = ("words", "stoi", "estoi", "pesq", "distill_mos")
ENVELOPE_S, LONGEST_LAG_S = 0.005, 0.1
Sound = NDArray[np.float32]
Codec = Callable[[list[Sound]], tuple[list[Sound], int, float]]
"""Clips at 24 kHz to decoded clips, their rate in Hz, and bits in all."""


def packets(kbps: float, clips: list[Sound]) -> tuple[list[Sound], int, float]:
    """A live stream of each clip; bits of payloads."""
    coded = [encode_array(clip, RATE_HZ, 1_000.0 * kbps, packet_ms=120) for clip in clips]
    return (
        [np.asarray(decode_array(each)) for each in coded],
        RATE_HZ,
        8.0 * sum(each.payload_bytes for each in coded),
    )


def file(kbps: float, clips: list[Sound]) -> tuple[list[Sound], int, float]:
    """One file of all clips; all its bits."""
    source, target, decoded = io.BytesIO(), io.BytesIO(), io.BytesIO()
    soundfile.write(source, np.concatenate(clips), RATE_HZ, format="WAV", subtype="PCM_16")
    source.seek(0)
    encode_file(source, target, 1_000.0 * kbps)
    target.seek(0)
    decode_file(target, decoded)
    decoded.seek(0)
    sound, _ = soundfile.read(decoded, dtype="float32")
    ends = np.cumsum([len(clip) for clip in clips])
    return np.split(sound, ends[:-1]), RATE_HZ, 8.0 * len(target.getvalue())


def codec2(kbps: float, clips: list[Sound]) -> tuple[list[Sound], int, float]:
    """Debian's Codec2; bits of its frames."""
    mode, decoded, bits = f"{1_000 * kbps:.0f}", [], 0.0
    for clip in clips:
        pcm = np.clip(np.round(32_767.0 * resample(clip, RATE_HZ, CODEC2_HZ)), -32_768, 32_767).astype("<i2")
        coded = subprocess.run(["c2enc", mode, "-", "-"], input=pcm.tobytes(), capture_output=True, check=True).stdout
        heard = subprocess.run(["c2dec", mode, "-", "-"], input=coded, capture_output=True, check=True).stdout
        decoded.append((np.frombuffer(heard, "<i2") / 32_768.0).astype(np.float32))
        bits += 1_000.0 * kbps * len(clip) / RATE_HZ
    lag = round(_lag_s(clips, decoded) * CODEC2_HZ)
    return [each[lag:] for each in decoded], CODEC2_HZ, bits


def _lag_s(clips: list[Sound], decoded: list[Sound]) -> float:
    """By how much Codec2 is late: its phases are its own, so that energies tell, not samples."""

    def energies(sound: Sound, rate_hz: int) -> NDArray[np.float64]:
        length = round(ENVELOPE_S * rate_hz)
        blocks = sound[: len(sound) // length * length].reshape(-1, length).astype(np.float64)
        return np.sqrt((blocks**2).mean(axis=1))

    pairs = [(energies(a, RATE_HZ), energies(b, CODEC2_HZ)) for a, b in zip(clips, decoded, strict=True)]
    lags = range(round(LONGEST_LAG_S / ENVELOPE_S))
    alike = [
        sum(float(np.dot(a[: min(len(a), len(b) - k)], b[k : k + min(len(a), len(b) - k)])) for a, b in pairs)
        for k in lags
    ]
    return ENVELOPE_S * int(np.argmax(alike))


class Pair(AlignedPair):
    """Two sounds that are aligned as they are."""

    def at(self, sample_rate_hz: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Both at a rate, of one length."""
        first, second = (resample(*sound, sample_rate_hz) for sound in (self._reference, self._decoded))
        length = min(len(first), len(second))
        return first[:length], second[:length]


def measure(clips: list[Sound], names: Sequence[str]) -> dict[str, Any]:
    """Means over clips of the scores of these names, of each codec at each of its rates."""
    systems: list[tuple[str, float, Codec]] = [
        *(("streamcodec, packets of 120 ms", kbps, partial(packets, kbps)) for kbps in PACKETS_KBPS),
        *(("streamcodec, file", kbps, partial(file, kbps)) for kbps in FILES_KBPS),
    ]
    if shutil.which("c2enc"):
        systems += [("Codec2", kbps, partial(codec2, kbps)) for kbps in CODEC2_KBPS]
    systems.sort(key=itemgetter(1))
    seconds = sum(len(clip) for clip in clips) / RATE_HZ
    rows = []
    for name, kbps, codec in systems:
        decoded, rate_hz, bits = codec(clips)
        pairs = [Pair(a, RATE_HZ, b, rate_hz) for a, b in zip(clips, decoded, strict=True)]
        scores = {score: float(np.mean([METRICS[score].score(pair) for pair in pairs])) for score in names}
        rows.append({"system": name, "kbps": round(bits / seconds / 1_000.0, 3), **scores})
        print(name, f"{kbps:g}", rows[-1], flush=True)
    return {"clips": len(clips), "seconds": round(seconds, 1), "rows": rows}


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser("python -m bench.low_rates", description=str(__doc__).splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--scores", nargs="+", choices=SCORES, default=SCORES)
    parser.add_argument("--json", type=Path, help="store the figures in this file")
    options = parser.parse_args()
    clips = []
    for path in options.clips:
        sound, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
        clips.append(resample(sound.mean(axis=1), rate_hz, RATE_HZ).astype(np.float32))
    report = measure(clips, options.scores)
    if options.json is not None:
        write_whole(options.json, json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
