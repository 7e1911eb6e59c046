"""A device's stream that outlives its ends: opened again after an underrun, given up once the device stays away."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from streamcodec.live.devices import SoundStream
from streamcodec.live.errors import DeviceError

PAUSES_S = (0.0, 0.3, 1.0, 2.0)
"""Before each attempt to open the device again."""
MOST_REOPENINGS, PER_S = 5, 10.0
"""A device that ends its stream more often than this is of no use."""


class LastingStream:
    """Opened on construction, started once, watched by :meth:`keep`, ended by :meth:`close`.

    Where a machine stalls, ALSA and the sound servers behind it end a stream whose device is there as before; the
    sound of that moment is lost, what follows need not be. Reopening happens on a thread of its own, since it can
    take longer than sound may wait. Errors: DeviceError on construction.
    """

    def __init__(self, open_stream: Callable[[], SoundStream]) -> None:
        self._open_stream = open_stream
        self._stream: SoundStream | None = open_stream()
        self._reopener: threading.Thread | None = None
        self._reopened_at_s: deque[float] = deque(maxlen=MOST_REOPENINGS)
        self._failure: DeviceError | None = None
        self._closing = threading.Event()
        self.reopened = 0
        """How often the device's stream had to be opened again."""

    def start(self) -> None:
        """Sound flows from here on; raises DeviceError, and is then closed."""
        stream, self._stream = self._stream, None
        assert stream is not None
        self._stream = _started(stream)

    def keep(self) -> None:
        """Look whether it still runs, and see to it: to be called several times a second.

        Returns at once; raises DeviceError once the device has stayed away.
        """
        if self._reopener is not None:
            if self._reopener.is_alive():
                return
            self._reopener = None
        if self._failure is not None:
            raise self._failure
        if self._stream is None or not self._stream.active:
            self._reopener = threading.Thread(target=self._reopen, name="streamcodec-reopen", daemon=True)
            self._reopener.start()

    def close(self) -> None:
        """End it, at once; a second time does nothing."""
        self._closing.set()
        if self._reopener is not None:
            self._reopener.join()
            self._reopener = None
        if self._stream is not None:
            self._stream.abort()
            self._stream.close()
            self._stream = None

    def _reopen(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        now_s = time.monotonic()
        often = len(self._reopened_at_s) == MOST_REOPENINGS and now_s - self._reopened_at_s[0] < PER_S
        cause: DeviceError | None = None
        for pause_s in () if often else PAUSES_S:
            if self._closing.wait(pause_s):
                return
            try:
                self._stream = _started(self._open_stream())
            except DeviceError as error:
                cause = error
                continue
            self._reopened_at_s.append(now_s)
            self.reopened += 1
            return
        self._failure = DeviceError("the sound device has stopped and cannot be opened again: was it unplugged?")
        self._failure.__cause__ = cause


def _started(stream: SoundStream) -> SoundStream:
    try:
        stream.start()
    except DeviceError:
        stream.close()
        raise
    return stream
