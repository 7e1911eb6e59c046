"""Writes what a loopback heard and played to a WAV file, away from the threads that must not wait for a disk."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from streamcodec.codec.audio_format import clean
from streamcodec.codec.files.sound_writer import SoundWriter, warn_of_unfinished
from streamcodec.errors import FileFormatError
from streamcodec.live.ring_buffer import RingBuffer

PERIOD_S = 0.1


class Recorder:
    """Drains a ring into a 16-bit WAV file on a thread of its own.

    Use: ``recorder = Recorder(path, rate, ring)``, and ``close()`` once nothing more is written, which gives the file
    its name. A full disk ends the recording and nothing else. Errors: FileFormatError where the file cannot be
    written.
    """

    def __init__(self, path: str | Path, sample_rate_hz: int, ring: RingBuffer) -> None:
        warn_of_unfinished(path)
        self._file = SoundWriter(path, sample_rate_hz, 2, 16, {}, recording=True)
        self._failure: FileFormatError | None = None
        self._ring = ring
        self._scratch = np.zeros((ring.capacity_samples, 2), np.float32)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="streamcodec-recorder", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what is left and close the file; raises FileFormatError where not everything could be written."""
        self._closing.set()
        self._thread.join()
        self._file.finish(as_far_as_it_goes=self._failure is not None)
        if self._failure is not None:
            raise FileFormatError(f"{self._failure}; the recording ends there")

    def _run(self) -> None:
        while not self._closing.wait(PERIOD_S):
            self._drain()
        self._drain()

    def _drain(self) -> None:
        pair = self._scratch[: self._ring.available_samples]
        self._ring.read_into(pair)
        clean(pair.reshape(-1))
        if self._failure is None:
            try:
                self._file.write(pair)
            except FileFormatError as error:
                self._failure = error
