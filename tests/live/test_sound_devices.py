"""Microphone and loudspeaker for callers with a clock of their own, on a simulated device."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcodec.live import DeviceError, SoundDevices, lasting_stream, sound_devices
from tests.helpers.fake_stream import FakeStream, look_until

Samples = NDArray[np.float32]
RATE_HZ = 48_000
BLOCK = 480


class Devices:
    """A microphone and a loudspeaker whose callbacks a test calls."""

    def __init__(self) -> None:
        self.streams: dict[str, FakeStream] = {}
        self.callbacks: dict[str, Callable[[Samples], None]] = {}
        self.fails: set[str] = set()

    def opener(self, name: str) -> Callable[..., FakeStream]:
        def open_fake(rate_hz: int, block: int, callback: Callable[[Samples], None], *_: object) -> FakeStream:
            assert (rate_hz, block) == (RATE_HZ, BLOCK)
            if name in self.fails:
                raise DeviceError("no such device")
            self.callbacks[name] = callback
            self.streams[name] = FakeStream()
            return self.streams[name]

        return open_fake

    def run(self, captured: Samples) -> Samples:
        self.callbacks["microphone"](np.stack([captured, captured], axis=1))
        return self.play(len(captured))

    def play(self, frames: int) -> Samples:
        played = np.full((frames, 2), np.nan, np.float32)
        self.callbacks["loudspeaker"](played)
        assert np.array_equal(played[:, 0], played[:, 1])
        return played[:, 0]


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> Devices:
    made = Devices()
    monkeypatch.setattr(sound_devices, "open_microphone", made.opener("microphone"))
    monkeypatch.setattr(sound_devices, "open_loudspeaker", made.opener("loudspeaker"))
    monkeypatch.setattr(lasting_stream, "PAUSES_S", (0.0,))
    return made


def test_sound_passes_both_ways_unchanged_at_the_devices_own_pace(devices: Devices) -> None:
    rng = np.random.default_rng(1)
    heard = rng.standard_normal(100 * BLOCK).astype(np.float32)
    spoken = rng.standard_normal(200 * BLOCK).astype(np.float32)
    position = 0
    got, played = [], []
    with SoundDevices(RATE_HZ) as sound:
        assert sound.microphone is not None
        assert sound.loudspeaker is not None
        for k in range(100):
            played.append(devices.run(heard[k * BLOCK : (k + 1) * BLOCK]))
            if k % 3 == 2:  # a caller that looks in less often than the device turns
                got.append(sound.microphone.read())
                wanted = sound.loudspeaker.wanted_samples
                sound.loudspeaker.write(spoken[position : position + wanted])
                position += wanted
                assert sound.loudspeaker.wanted_samples == 0
        assert sound.underruns() == 0
    assert all(stream.closed for stream in devices.streams.values())
    np.testing.assert_array_equal(np.concatenate(got), heard[: 99 * BLOCK])
    out = np.concatenate(played)[3 * BLOCK :]
    np.testing.assert_array_equal(out, spoken[: out.size])


def test_a_loudspeaker_that_underruns_and_is_opened_again_costs_the_microphone_nothing(devices: Devices) -> None:
    """As ALSA does after each underrun: with one stream for both the microphone stood still for two seconds."""
    with SoundDevices(RATE_HZ) as sound:
        assert sound.microphone is not None
        loudspeaker = sound.loudspeaker
        assert loudspeaker is not None
        loudspeaker.write(np.ones(BLOCK, np.float32))
        got = 0
        for k in range(60):
            devices.callbacks["microphone"](np.full((BLOCK, 2), 0.5, np.float32))
            got += len(sound.microphone.read())
            if k % 20 == 10:
                devices.play(3 * BLOCK)
                before = devices.streams["loudspeaker"]
                before.active = False
                look_until(
                    lambda: loudspeaker.wanted_samples, lambda old=before: devices.streams["loudspeaker"] is not old
                )
        assert got == 60 * BLOCK
        assert not devices.streams["microphone"].closed
        assert sound.underruns() >= 5


def test_a_loudspeaker_that_cannot_be_opened_leaves_no_microphone_on(devices: Devices) -> None:
    devices.fails.add("loudspeaker")
    with pytest.raises(DeviceError), SoundDevices(RATE_HZ):
        pass
    assert devices.streams["microphone"].closed


def gone(*_: object) -> FakeStream:
    raise DeviceError("no such device")


def test_missing_sound_is_silence_and_a_dead_device_says_so(devices: Devices) -> None:
    with SoundDevices(RATE_HZ) as sound:
        assert sound.microphone is not None
        assert sound.loudspeaker is not None
        assert not devices.run(np.ones(BLOCK, np.float32)).any()
        assert sound.loudspeaker.wanted_samples == 3 * BLOCK
        devices.fails.add("microphone")
        devices.streams["microphone"].active = False
        with pytest.raises(DeviceError, match="stopped"):
            look_until(sound.microphone.read, lambda: False)


@pytest.mark.parametrize(("captures", "plays"), [(True, False), (False, True)])
def test_only_the_direction_needed_is_opened(monkeypatch: pytest.MonkeyPatch, captures: bool, plays: bool) -> None:
    fake, opened = FakeStream(), []

    def opener(name: str) -> Callable[..., FakeStream]:
        def open_fake(rate_hz: int, block: int, callback: object, *devices: object) -> FakeStream:
            opened.append((name, rate_hz, block, devices))
            return fake

        return open_fake

    for name in ("open_microphone", "open_loudspeaker"):
        monkeypatch.setattr(sound_devices, name, opener(name))
    with SoundDevices(RATE_HZ, 3, 4, captures=captures, plays=plays) as sound:
        assert (sound.microphone is not None, sound.loudspeaker is not None) == (captures, plays)
        if sound.microphone is not None:
            sound.microphone.take(np.full((BLOCK, 2), 0.5, np.float32))
            assert sound.microphone.read().tolist() == [0.5] * BLOCK
        if sound.loudspeaker is not None:
            sound.loudspeaker.write(np.full(BLOCK, 0.5, np.float32))
            played = np.zeros((BLOCK, 2), np.float32)
            sound.loudspeaker.give(played)
            assert (played == 0.5).all()
            fake.active = False
            monkeypatch.setattr(lasting_stream, "PAUSES_S", (0.0,))
            monkeypatch.setattr(sound_devices, "open_loudspeaker", gone)
            loudspeaker = sound.loudspeaker
            with pytest.raises(DeviceError, match="stopped"):
                look_until(lambda: loudspeaker.wanted_samples, lambda: False)
    assert opened == [
        ("open_microphone", RATE_HZ, BLOCK, (3,)) if captures else ("open_loudspeaker", RATE_HZ, BLOCK, (4,))
    ]
    assert fake.closed
