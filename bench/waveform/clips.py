"""Development clips for the waveform tiers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Clip:
    """A 16-bit clip; ``samples [n, channels]`` int16."""

    kind: str
    name: str
    sample_rate_hz: int
    samples: NDArray[np.int16]

    @property
    def pcm_bytes(self) -> int:
        """Size without any coding."""
        return self.samples.size * 2

    def resampled(self, sample_rate_hz: int, seconds: float) -> Clip:
        """The first ``seconds`` at another rate, rounded to 16 bits."""
        head = self.samples[: int(seconds * self.sample_rate_hz)]
        if self.sample_rate_hz != sample_rate_hz:
            wide = soxr.resample(head / 32768, self.sample_rate_hz, sample_rate_hz)
            head = np.clip(np.rint(wide * 32768), -32768, 32767).astype(np.int16)
        return Clip(self.kind, self.name, sample_rate_hz, head)


def read_clips(root: Path, every: int = 1) -> list[Clip]:
    """Every n-th clip of each kind; kinds are the folders below ``root``, clips their FLAC or WAV files."""
    clips = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        files = sorted(path for path in folder.iterdir() if path.suffix in {".flac", ".wav"})
        for path in files[::every]:
            samples, rate_hz = soundfile.read(path, dtype="int16", always_2d=True)
            clips.append(Clip(folder.name, path.name, rate_hz, samples))
    return clips
