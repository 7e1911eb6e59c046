"""Microphone, loudspeaker or both, for a caller with a clock of its own, such as a call on an event loop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from streamcodec.live.devices import Device, SoundStream, open_loudspeaker, open_microphone
from streamcodec.live.lasting_stream import LastingStream
from streamcodec.live.ring_buffer import RingBuffer, Samples

BLOCK_S = 0.01
READY_S = 0.03
"""Sound kept ready for the loudspeaker: an event loop is not always on time."""
HELD_S = 0.5
LONGEST_CALLBACK_S = 0.1


class Microphone:
    """What has been captured and not yet read."""

    def __init__(self, sample_rate_hz: int, check: Callable[[], None]) -> None:
        self._check = check
        self._scratch = np.zeros(round(LONGEST_CALLBACK_S * sample_rate_hz), np.float32)
        self._ring = RingBuffer(round(HELD_S * sample_rate_hz))

    def read(self) -> Samples:
        """Everything captured since the last call; raises DeviceError once the device has stopped.

        Shape: ``[n]``.
        """
        self._check()
        out = np.empty(self._ring.available_samples, np.float32)
        self._ring.read_into(out)
        return out

    def take(self, captured: Samples) -> None:
        """One block on the device's thread: copies only, no waiting, no new arrays.

        Shape: ``[frames, channels]``, frames up to 0.1 s.
        """
        mono = self._scratch[: len(captured)]
        np.add.reduce(captured, axis=1, out=mono)
        mono /= captured.shape[1]
        self._ring.write(mono)


class Loudspeaker:
    """What is to be played and has not been yet."""

    underruns = 0
    """Blocks for which there was too little to play, once something had been."""

    def __init__(self, sample_rate_hz: int, check: Callable[[], None]) -> None:
        self._check = check
        self._begun = False
        self._ready_samples = round(READY_S * sample_rate_hz)
        self._scratch = np.zeros(round(LONGEST_CALLBACK_S * sample_rate_hz), np.float32)
        self._ring = RingBuffer(round(HELD_S * sample_rate_hz))

    @property
    def wanted_samples(self) -> int:
        """How many samples to write now; raises DeviceError once the device has stopped."""
        self._check()
        return max(0, self._ready_samples - self._ring.available_samples)

    def write(self, samples: Samples) -> None:
        """Queue for playing.

        Shape: ``[n]``.
        """
        self._ring.write(samples)
        self._begun = self._begun or len(samples) > 0

    def give(self, played: Samples) -> None:
        """One block on the device's thread: copies only, no waiting, no new arrays.

        Shape: ``[frames, channels]``, frames up to 0.1 s.
        """
        mono = self._scratch[: len(played)]
        if self._ring.read_into(mono) < len(mono) and self._begun:
            self.underruns += 1
        played[:] = mono[:, np.newaxis]


class SoundDevices:
    """``with SoundDevices(48_000) as sound``: ``sound.microphone.read()``, ``sound.loudspeaker.write(...)``.

    Reading gives whatever the device has captured and writing asks for whatever it has played, so the device's
    clock may run faster or slower than the caller's. Each direction has a stream of its own: a loudspeaker that runs
    out of sound, and is opened again for it, does not stop the microphone. Only what ``captures`` and ``plays`` ask
    for is opened: no microphone is switched on to listen, and none is needed. Errors: DeviceError on entering.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        input_device: Device = None,
        output_device: Device = None,
        *,
        captures: bool = True,
        plays: bool = True,
    ) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.microphone = Microphone(sample_rate_hz, self._check) if captures else None
        self.loudspeaker = Loudspeaker(sample_rate_hz, self._check) if plays else None
        self._devices = (input_device, output_device)
        self._streams: list[LastingStream] = []

    def __enter__(self) -> SoundDevices:
        try:
            if self.microphone is not None:
                self._streams.append(LastingStream(self._open_microphone))
            if self.loudspeaker is not None:
                self._streams.append(LastingStream(self._open_loudspeaker))
            for stream in self._streams:
                stream.start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def underruns(self) -> int:
        """Times that the loudspeaker had too little to play, and that a device's stream had to be opened again."""
        played = 0 if self.loudspeaker is None else self.loudspeaker.underruns
        return played + sum(stream.reopened for stream in self._streams)

    def _close(self) -> None:
        for stream in self._streams:
            stream.close()
        self._streams.clear()

    def _open_microphone(self) -> SoundStream:
        assert self.microphone is not None
        return open_microphone(self.sample_rate_hz, self._block_samples, self.microphone.take, self._devices[0])

    def _open_loudspeaker(self) -> SoundStream:
        assert self.loudspeaker is not None
        return open_loudspeaker(self.sample_rate_hz, self._block_samples, self.loudspeaker.give, self._devices[1])

    @property
    def _block_samples(self) -> int:
        return round(BLOCK_S * self.sample_rate_hz)

    def _check(self) -> None:
        for stream in self._streams:
            stream.keep()
