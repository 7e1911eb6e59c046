"""Calls as aiortc media tracks, for applications that already speak aiortc."""

from __future__ import annotations

import asyncio
import fractions
from typing import Protocol

import numpy as np

from streamcodec.codec.audio_format import to_int16
from streamcodec.codec.options import FRAME_MS
from streamcodec.extras import extra_imports
from streamcodec.net.time_scale import Samples

with extra_imports("net"):
    from aiortc import MediaStreamTrack
    from aiortc.mediastreams import MediaStreamError
    from av import AudioFrame, AudioResampler


class Listener(Protocol):
    """What takes a track's sound; a :class:`~streamcodec.net.call.Call` does."""

    def push(self, samples: Samples, /) -> None:
        """Take what was said. Shape: ``[n]``."""


class Speaker(Protocol):
    """What gives sound; a :class:`~streamcodec.net.call.Call` does."""

    async def pull(self, count_samples: int, /) -> Samples:
        """The next samples to play. Shape: output ``[count]``."""


class SpeakerTrack(MediaStreamTrack):
    """What a call sounds like, as a track of 20 ms mono frames in real time."""

    kind = "audio"

    def __init__(self, speaker: Speaker, sample_rate_hz: int) -> None:
        super().__init__()
        self._speaker = speaker
        self._sample_rate_hz = sample_rate_hz
        self._frame_samples = sample_rate_hz * FRAME_MS // 1_000
        self._start_s: float | None = None
        self._position = 0

    async def recv(self) -> AudioFrame:
        """The next frame, when it is due; raises MediaStreamError once the track is stopped."""
        if self.readyState != "live":
            raise MediaStreamError
        loop = asyncio.get_running_loop()
        if self._start_s is None:
            self._start_s = loop.time()
        await asyncio.sleep(max(0.0, self._start_s + self._position / self._sample_rate_hz - loop.time()))
        samples = await self._speaker.pull(self._frame_samples)
        frame = AudioFrame.from_ndarray(to_int16(samples, 16)[np.newaxis], format="s16", layout="mono")
        frame.sample_rate = self._sample_rate_hz
        frame.pts = self._position
        frame.time_base = fractions.Fraction(1, self._sample_rate_hz)
        self._position += self._frame_samples
        return frame


async def feed(listener: Listener, track: MediaStreamTrack, sample_rate_hz: int) -> None:
    """Push a track's sound, whatever its rate and layout, until the track ends."""
    # Channels are averaged here: the resampler's own downmix is louder, and clips what is loud on both sides.
    resampler = AudioResampler(format="fltp", rate=sample_rate_hz)
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        if isinstance(frame, AudioFrame):
            for part in resampler.resample(frame):
                listener.push(part.to_ndarray().mean(axis=0, dtype=np.float32))
