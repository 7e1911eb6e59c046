from __future__ import annotations

import asyncio
import fractions

import numpy as np
import pytest
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from streamcodec.codec.audio_format import to_int16
from streamcodec.net.time_scale import Samples
from streamcodec.net.tracks import SpeakerTrack, feed
from tests.helpers.relay import run


class Tone(MediaStreamTrack):
    """Half a second of a 48 kHz stereo tone, then the end."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._position = 0

    async def recv(self) -> AudioFrame:
        if self._position >= 24_000:
            raise MediaStreamError
        time_s = (self._position + np.arange(960)) / 48_000
        mono = to_int16(np.asarray(0.5 * np.sin(2 * np.pi * 440 * time_s), np.float32), 16)
        frame = AudioFrame.from_ndarray(np.repeat(mono, 2)[np.newaxis], format="s16", layout="stereo")
        frame.sample_rate = 48_000
        frame.pts = self._position
        frame.time_base = fractions.Fraction(1, 48_000)
        self._position += 960
        return frame


class Recorder:
    def __init__(self) -> None:
        self.heard: list[Samples] = []

    def push(self, samples: Samples, /) -> None:
        self.heard.append(samples)


class Ramp:
    async def pull(self, count_samples: int, /) -> Samples:
        return np.linspace(-1.5, 1.5, count_samples, dtype=np.float32)


def test_a_track_is_fed_into_a_call_at_its_rate() -> None:
    recorder = Recorder()
    run(feed(recorder, Tone(), 24_000))
    heard = np.concatenate(recorder.heard)
    assert heard.dtype == np.float32
    assert len(heard) == pytest.approx(12_000, abs=100)
    spectrum = np.abs(np.fft.rfft(heard[:11_000]))
    assert np.argmax(spectrum) * 24_000 / 11_000 == pytest.approx(440, abs=3)
    assert float(np.abs(heard[1_000:-1_000]).max()) == pytest.approx(0.5, abs=0.02)


def test_a_call_is_heard_as_a_track_in_real_time() -> None:
    async def test() -> None:
        track = SpeakerTrack(Ramp(), 24_000)
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        frames = [await track.recv() for _ in range(6)]
        assert loop.time() - start_s >= 0.099
        assert [frame.pts for frame in frames] == [480 * index for index in range(6)]
        assert {(frame.samples, frame.sample_rate) for frame in frames} == {(480, 24_000)}
        samples = frames[0].to_ndarray()[0]
        assert (samples.min(), samples.max()) == (-32_767, 32_767)
        track.stop()
        with pytest.raises(MediaStreamError):
            await track.recv()

    run(test())
