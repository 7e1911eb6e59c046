"""Microphone and loudspeaker for a caller with a clock of its own, such as a call on an event loop."""

from __future__ import annotations

import numpy as np

from streamcodec.live.devices import Device, DuplexStream, open_duplex
from streamcodec.live.errors import DeviceError
from streamcodec.live.ring_buffer import RingBuffer, Samples

BLOCK_S = 0.01
READY_S = 0.03
"""Sound kept ready for the loudspeaker: an event loop is not always on time."""
HELD_S = 0.5
LONGEST_CALLBACK_S = 0.1


class DuplexSound:
    """``with DuplexSound(48_000) as sound``, then :meth:`read` what was heard and :meth:`write` what is to be played.

    Reading gives whatever the device has captured and writing asks for whatever it has played, so the device's
    clock may run faster or slower than the caller's. Errors: DeviceError on entering, and from :meth:`read` once the
    device has stopped.
    """

    def __init__(self, sample_rate_hz: int, input_device: Device = None, output_device: Device = None) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._devices = (input_device, output_device)
        self._block_samples = round(BLOCK_S * sample_rate_hz)
        self._ready_samples = round(READY_S * sample_rate_hz)
        longest = round(LONGEST_CALLBACK_S * sample_rate_hz)
        self._mic = np.zeros(longest, np.float32)
        self._play = np.zeros(longest, np.float32)
        self._captured = RingBuffer(round(HELD_S * sample_rate_hz))
        self._played = RingBuffer(round(HELD_S * sample_rate_hz))
        self._stream: DuplexStream | None = None

    def __enter__(self) -> DuplexSound:
        stream = open_duplex(self.sample_rate_hz, self._block_samples, self.callback, *self._devices)
        try:
            stream.start()
        except DeviceError:
            stream.close()
            raise
        self._stream = stream
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.abort()
            self._stream.close()
            self._stream = None

    def read(self) -> Samples:
        """Everything the microphone has given since the last call.

        Shape: ``[n]``.
        """
        if self._stream is not None and not self._stream.active:
            raise DeviceError("the sound device has stopped: was it unplugged?")
        out = np.empty(self._captured.available_samples, np.float32)
        self._captured.read_into(out)
        return out

    @property
    def wanted_samples(self) -> int:
        """How many samples to write now."""
        return max(0, self._ready_samples - self._played.available_samples)

    def write(self, samples: Samples) -> None:
        """Queue for the loudspeaker.

        Shape: ``[n]``.
        """
        self._played.write(samples)

    def callback(self, captured: Samples, played: Samples) -> None:
        """One block on the device's thread: copies only, no waiting, no new arrays.

        Shape: ``[frames, channels]`` each, frames up to 0.1 s; channels may differ.
        """
        frames = len(captured)
        mic, play = self._mic[:frames], self._play[:frames]
        np.add.reduce(captured, axis=1, out=mic)
        mic /= captured.shape[1]
        self._captured.write(mic)
        self._played.read_into(play)
        played[:] = play[:, np.newaxis]
