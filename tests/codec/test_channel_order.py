"""Surround in Ogg: every loudspeaker plays its own channel, there and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamcodec.codec.files.sound_file import SoundReader
from streamcodec.codec.files.sound_writer import SoundWriter

RATE_HZ = 48_000
PITCHES_HZ = (300, 500, 700, 900, 1_100, 1_300, 1_500, 1_700)
LOW_HZ = 60


def pitches(sound: np.ndarray) -> list[int]:
    spectra = np.abs(np.fft.rfft(sound[:RATE_HZ] * np.hanning(RATE_HZ)[:, np.newaxis], axis=0))
    return [int(k) for k in np.argmax(spectra, axis=0)]


@pytest.mark.parametrize("suffix", [".ogg", ".opus"])
@pytest.mark.parametrize("channels", [3, 4, 5, 6, 7, 8])
def test_surround_in_ogg_keeps_its_order(tmp_path: Path, suffix: str, channels: int) -> None:
    hertz = list(PITCHES_HZ[:channels])
    if channels > 5:
        hertz[3] = LOW_HZ  # in WAV the fourth is for low frequencies, and coded as such
    time_s = np.arange(RATE_HZ * 5 // 4) / RATE_HZ
    said = np.stack([0.1 * np.sin(2.0 * np.pi * each * time_s) for each in hertz], axis=1).astype(np.float32)
    target = tmp_path / f"surround{suffix}"
    with SoundWriter(target, RATE_HZ, channels, 16, {}) as out:
        out.write(said)
    with SoundReader(target) as sound:
        read = sound.read()
    assert pitches(read) == hertz
    assert np.sqrt((read[:RATE_HZ] ** 2).mean(axis=0)).min() > 0.06
    if channels > 6:
        return  # PyAV's own arrays of more end the process
    av = pytest.importorskip("av")
    with av.open(str(target)) as file:
        blocks = [frame.to_ndarray() for frame in file.decode(file.streams.audio[0])]
    assert pitches(np.concatenate(blocks, axis=1).T) == hertz
