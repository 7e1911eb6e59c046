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


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> FakeStream:
    fake = FakeStream()

    def open_fake(rate_hz: int, block: int, callback: Callable[[Samples, Samples], None], *_: object) -> FakeStream:
        assert (rate_hz, block) == (RATE_HZ, BLOCK)
        return fake

    monkeypatch.setattr(sound_devices, "open_duplex", open_fake)
    return fake


def run_device(sound: SoundDevices, captured: Samples) -> Samples:
    played = np.full((len(captured), 2), np.nan, np.float32)
    sound.callback(np.stack([captured, captured], axis=1), played)
    assert np.array_equal(played[:, 0], played[:, 1])
    return played[:, 0]


def test_sound_passes_both_ways_unchanged_at_the_devices_own_pace(stream: FakeStream) -> None:
    rng = np.random.default_rng(1)
    heard = rng.standard_normal(100 * BLOCK).astype(np.float32)
    spoken = rng.standard_normal(200 * BLOCK).astype(np.float32)
    position = 0
    got, played = [], []
    with SoundDevices(RATE_HZ) as sound:
        assert sound.microphone is not None
        assert sound.loudspeaker is not None
        for k in range(100):
            played.append(run_device(sound, heard[k * BLOCK : (k + 1) * BLOCK]))
            if k % 3 == 2:  # a caller that looks in less often than the device turns
                got.append(sound.microphone.read())
                wanted = sound.loudspeaker.wanted_samples
                sound.loudspeaker.write(spoken[position : position + wanted])
                position += wanted
                assert sound.loudspeaker.wanted_samples == 0
    assert stream.closed
    np.testing.assert_array_equal(np.concatenate(got), heard[: 99 * BLOCK])
    out = np.concatenate(played)[3 * BLOCK :]
    np.testing.assert_array_equal(out, spoken[: out.size])


def gone(*_: object) -> FakeStream:
    raise DeviceError("no such device")


def test_missing_sound_is_silence_and_a_dead_device_says_so(
    stream: FakeStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lasting_stream, "PAUSES_S", (0.0,))
    with SoundDevices(RATE_HZ) as sound:
        assert sound.microphone is not None
        assert sound.loudspeaker is not None
        assert not run_device(sound, np.ones(BLOCK, np.float32)).any()
        assert sound.loudspeaker.wanted_samples == 3 * BLOCK
        stream.active = False
        monkeypatch.setattr(sound_devices, "open_duplex", gone)
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

    for name in ("open_duplex", "open_microphone", "open_loudspeaker"):
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
