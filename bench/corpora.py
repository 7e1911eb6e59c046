"""What packed speech is worth: bytes and word errors beside FLAC and Opus, and how fast ``pack`` is.

Word errors are of pocketsphinx, between what it hears in the original and in what came back (so FLAC has none); give
it speech in English. Bytes are of whole files for streamcodec and FLAC, of packets alone for Opus. Speeds are of
processor time, so other programs on the machine change little in them.

Example::

    python -m bench.corpora dev/speech --only univnet-gt voicefixer --json bench/results/corpora_dev.json
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from streamcodec import StreamcodecWarning, StreamEncoder, decode_file, encode_file
from streamcodec.codec.files.look_ahead import encode_steadily
from streamcodec.codec.files.oneshot import FILE_PACKET_MS
from streamcodec.corpora.pack import pack_folder
from streamcodec.evaluation.alignment import resample
from streamcodec.evaluation.clips import read_clips
from streamcodec.evaluation.peers.opus import OpusPeer
from streamcodec.evaluation.words import SAMPLE_RATE_HZ, word_errors

Samples = NDArray[np.float32]
Coder = Callable[[Samples, int], tuple[int, Samples]]
"""A sound and its rate to coded bytes and the decoded sound at the same rate."""
KBPS = (6.0, 9.0, 12.0, 24.0)
OPUS_KBPS = (16.0, 24.0)
PACKED_FILES, PACKED_S, PACKED_KBPS = 24, 5.0, 6.0


def by_streamcodec(kbps: float) -> Coder:
    """As ``pack`` codes."""

    def code(samples: Samples, rate_hz: int) -> tuple[int, Samples]:
        source, coded, heard = _wav(samples, rate_hz), io.BytesIO(), io.BytesIO()
        encode_file(source, coded, 1_000 * kbps)
        coded.seek(0)
        decode_file(coded, heard, floats=True)
        heard.seek(0)
        return len(coded.getvalue()), soundfile.read(heard, dtype="float32")[0]

    return code


def by_opus(kbps: float) -> Coder:
    """libopus, 20 ms, variable rate."""

    def code(samples: Samples, rate_hz: int) -> tuple[int, Samples]:
        coded = OpusPeer()(samples, rate_hz, kbps)
        return coded.payload_bytes, coded.samples

    return code


def by_flac(samples: Samples, rate_hz: int) -> tuple[int, Samples]:
    """libsndfile's FLAC of 16 bits."""
    coded = io.BytesIO()
    soundfile.write(coded, samples, rate_hz, format="FLAC", subtype="PCM_16")
    return len(coded.getvalue()), samples


def _wav(samples: Samples, rate_hz: int) -> io.BytesIO:
    out = io.BytesIO()
    soundfile.write(out, samples, rate_hz, format="WAV", subtype="PCM_16")
    out.seek(0)
    return out


def quality(clips: list[tuple[Samples, int]]) -> list[dict[str, Any]]:
    """Bytes per hour and word errors of each coder, over all clips together."""
    coders: dict[str, Coder] = {"FLAC": by_flac}
    coders |= {f"Opus, {kbps:g} kbps": by_opus(kbps) for kbps in OPUS_KBPS}
    coders |= {f"streamcodec, {kbps:g} kbps": by_streamcodec(kbps) for kbps in KBPS}
    hours = sum(len(samples) / rate_hz for samples, rate_hz in clips) / 3_600
    rows = []
    for name, code in coders.items():
        coded_bytes, errors = 0, []
        for samples, rate_hz in clips:
            count, heard = code(samples, rate_hz)
            coded_bytes += count
            original = resample(samples, rate_hz, SAMPLE_RATE_HZ)
            errors.append(word_errors(original, resample(heard, rate_hz, SAMPLE_RATE_HZ)))
        row = {"coder": name, "MB per hour": coded_bytes / hours / 1e6, "word errors %": float(np.mean(errors))}
        rows.append(row)
        print(row, flush=True)
    return rows


def speed(samples: Samples, rate_hz: int) -> dict[str, float]:
    """Processor seconds of ``pack`` in one process and in two, and of the codec alone on the same sounds."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "in")
        source.mkdir()
        for number in range(PACKED_FILES):
            sound = np.resize(np.roll(samples, 997 * number), int(PACKED_S * rate_hz))
            soundfile.write(source / f"{number:03d}.flac", sound, rate_hz)
        _alone(source, rate_hz)
        figures: dict[str, list[float]] = {"codec alone": [], "one process": [], "two processes": []}
        for turn in range(3):
            figures["codec alone"].append(_alone(source, rate_hz))
            for workers, name in ((1, "one process"), (2, "two processes")):
                began = _processor_s()
                pack_folder(source, Path(folder, f"{name}-{turn}"), workers=workers, bitrate_bps=1_000 * PACKED_KBPS)
                figures[name].append(_processor_s() - began)
        began = _processor_s()
        few = Path(folder, "few")
        few.mkdir()
        for number in range(2):
            soundfile.write(few / f"{number}.flac", samples[: rate_hz // 10], rate_hz)
        pack_folder(few, Path(folder, "started"), workers=2, bitrate_bps=1_000 * PACKED_KBPS)
        started = _processor_s() - began
    found = {name: float(np.median(each)) for name, each in figures.items()}
    return {
        **{f"{name} s": round(value, 3) for name, value in found.items()},
        "starting two processes s": round(started, 3),
        "sound s": PACKED_FILES * PACKED_S,
        "one process / codec alone": round(found["codec alone"] / found["one process"], 3),
        "two started processes / codec alone": round(found["codec alone"] / (found["two processes"] - started), 3),
    }


def _said(figures: dict[str, float]) -> dict[str, float]:
    print(figures, flush=True)
    return figures


def _alone(source: Path, rate_hz: int) -> float:
    encoder = StreamEncoder(rate_hz, 1_000 * PACKED_KBPS, packet_ms=FILE_PACKET_MS, mode="stream")
    began = _processor_s()
    for path in sorted(source.iterdir()):
        encoder.reset()
        for _ in encode_steadily(encoder, [soundfile.read(path, dtype="float32")[0]]):
            pass
    return _processor_s() - began


def _processor_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def main() -> None:
    """Measure, print, and write JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder of speech")
    parser.add_argument("--only", nargs="+", default=[""], help="take clips whose names begin with one of these")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", StreamcodecWarning)
    clips = []
    for clip in read_clips(arguments.root):
        if clip.path.name.startswith(tuple(arguments.only)):
            samples, rate_hz = soundfile.read(clip.path, dtype="float32", always_2d=True)
            clips.append((np.ascontiguousarray(samples[:, 0]), rate_hz))
    figures = {
        "clips": len(clips),
        "seconds": round(sum(len(samples) / rate_hz for samples, rate_hz in clips), 1),
        "speed": _said(speed(*clips[0])),
        "quality": quality(clips),
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
