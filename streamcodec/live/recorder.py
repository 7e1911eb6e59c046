"""Writes what a loopback heard and played to a WAV file, away from the threads that must not wait for a disk."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import soundfile

from streamcodec.errors import StreamcodecError
from streamcodec.live.ring_buffer import RingBuffer

PERIOD_S = 0.1


class Recorder:
    """Drains a ring into a 16-bit WAV file on a thread of its own.

    Use: ``recorder = Recorder(path, rate, ring)``, and ``close()`` once nothing more is written. Errors:
    StreamcodecError where the file cannot be written.
    """

    def __init__(self, path: str | Path, sample_rate_hz: int, ring: RingBuffer) -> None:
        try:
            self._file = soundfile.SoundFile(path, "w", sample_rate_hz, 2, subtype="PCM_16", format="WAV")
        except (soundfile.LibsndfileError, OSError) as error:
            raise StreamcodecError(f"cannot write the recording {path}: {error}") from error
        self._ring = ring
        self._scratch = np.zeros((ring.capacity_samples, 2), np.float32)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="streamcodec-recorder", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what is left and close the file."""
        self._closing.set()
        self._thread.join()
        self._file.close()

    def _run(self) -> None:
        while not self._closing.wait(PERIOD_S):
            self._drain()
        self._drain()

    def _drain(self) -> None:
        pair = self._scratch[: self._ring.available_samples]
        self._ring.read_into(pair)
        self._file.write(pair)
