"""Command-line peers, each skipped where it is not installed; sizes are of whole files."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import soundfile

from streamcodec.evaluation.clips import PcmClip


@dataclass(frozen=True, slots=True)
class LosslessPeer:
    """A lossless coder: how to run it, in words of its command line."""

    name: str
    command: Callable[[Path, Path], list[str]]
    suffix: str

    @property
    def installed(self) -> bool:
        """Whether its program is on the path."""
        return shutil.which(self.command(Path(), Path())[0]) is not None

    def run(self, clip: PcmClip) -> tuple[int, float]:
        """Bytes of the coded file, and seconds it took with start-up."""
        with tempfile.TemporaryDirectory() as folder:
            source, coded = Path(folder, "a.wav"), Path(folder, "a" + self.suffix)
            soundfile.write(source, clip.samples, clip.sample_rate_hz, subtype="PCM_16")
            start = time.perf_counter()
            subprocess.run(self.command(source, coded), check=True, capture_output=True)
            return coded.stat().st_size, time.perf_counter() - start


def _flac(effort: str) -> Callable[[Path, Path], list[str]]:
    return lambda source, coded: [
        "flac",
        effort,
        "-s",
        "-f",
        "--no-padding",
        "--no-seektable",
        "-o",
        str(coded),
        str(source),
    ]


def _wavpack(*effort: str) -> Callable[[Path, Path], list[str]]:
    return lambda source, coded: ["wavpack", *effort, "-q", "-y", str(source), "-o", str(coded)]


def _monkey(effort: int) -> Callable[[Path, Path], list[str]]:
    """Monkey's Audio as its ports to Unix have it (github.com/fernandotcl/monkeys-audio)."""
    return lambda source, coded: ["mac", str(source), str(coded), f"-c{effort}"]


LOSSLESS_PEERS = (
    LosslessPeer("FLAC -5", _flac("-5"), ".flac"),
    LosslessPeer("FLAC -8", _flac("-8"), ".flac"),
    LosslessPeer("WavPack -h", _wavpack("-h"), ".wv"),
    LosslessPeer("WavPack -hh -x6", _wavpack("-hh", "-x6"), ".wv"),
    LosslessPeer("Monkey's Audio, extra high", _monkey(4000), ".ape"),
    LosslessPeer("Monkey's Audio, insane", _monkey(5000), ".ape"),
)
