"""What ``streamcodec restore`` brings to sound coded at low rates: ``python -m bench.restoration data/dev``.

Every recording of 32 kHz or more is coded as below, decoded, and filled in; ViSQOL (audio) and spectral distortion
before and after are against the original. The first row is the originals themselves, which ought to come back as they
are. Writes ``bench/results/restoration_dev.json``; with ``--only MP3`` other codecs' rows stay as they are.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from streamcodec.evaluation.alignment import resample
from streamcodec.evaluation.full_reference import visqol_audio
from streamcodec.evaluation.libopus import OpusSettings
from streamcodec.evaluation.peers.lossy_files import AacPeer, Mp3Peer
from streamcodec.evaluation.peers.opus import OpusPeer
from streamcodec.evaluation.spectral import spectral_distortion
from streamcodec.evaluation.systems import CodecUnderTest
from streamcodec.research.bandwidth_extension import extend_array

Float32Array = NDArray[np.float32]
RESULTS = Path(__file__).parent / "results" / "restoration_dev.json"
CODECS: dict[str, tuple[CodecUnderTest | None, tuple[int, ...]]] = {
    "originals": (None, (0,)),
    "MP3": (Mp3Peer(), (32, 48, 64)),
    "AAC": (AacPeer(), (24, 32, 48)),
    "Opus": (OpusPeer(OpusSettings(signal="auto")), (8, 12, 16, 24)),
}
SECONDS = 5.0
SCORED_HZ = 48_000


def measure(path: Path, codec: CodecUnderTest | None, kbps: int) -> dict[str, float | str | bool]:
    """Scores of one recording before and after; ``codec`` is None for the original."""
    sound, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    original = np.ascontiguousarray(sound[: int(SECONDS * rate_hz), 0])
    heard = codec(original, rate_hz, kbps).samples if codec else original
    original = original[: len(heard)]
    restored = extend_array(heard, rate_hz)

    def visqol(samples: Float32Array) -> float:
        return visqol_audio(
            resample(original, rate_hz, SCORED_HZ).astype(np.float32),
            resample(samples, rate_hz, SCORED_HZ).astype(np.float32),
        )

    changed = not np.array_equal(heard, restored)
    before = visqol(heard)
    return {
        "file": path.stem,
        "changed": changed,
        "visqol_before": before,
        "visqol_after": visqol(restored) if changed else before,
        "distortion_before_db": spectral_distortion(original, heard),
        "distortion_after_db": spectral_distortion(original, restored),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m bench.restoration"
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=CODECS, default=list(CODECS))
    options = parser.parse_args(arguments)
    paths = [path for path in sorted(options.folder.rglob("*.flac")) if soundfile.info(path).samplerate >= 32_000]
    found: dict[str, list[dict[str, float | str | bool]]] = (
        json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    )
    for codec_name in options.only:
        codec, rates_kbps = CODECS[codec_name]
        for kbps in rates_kbps:
            name = f"{codec_name} {kbps} kbps" if codec else codec_name
            found[name] = []
            for path in paths:
                found[name].append(measure(path, codec, kbps))
                print(name, json.dumps(found[name][-1]), flush=True)
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
