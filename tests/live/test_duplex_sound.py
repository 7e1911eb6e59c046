"""Microphone and loudspeaker for callers with a clock of their own, on a simulated device."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcodec.live import DeviceError, DuplexSound, duplex_sound

Samples = NDArray[np.float32]
RATE_HZ = 48_000
BLOCK = 480


class FakeStream:
    latency = (0.01, 0.01)

    def __init__(self) -> None:
        self.active = False
        self.closed = False

    def start(self) -> None:
        self.active = True

    def abort(self) -> None:
        self.active = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> FakeStream:
    fake = FakeStream()

    def open_fake(rate_hz: int, block: int, callback: Callable[[Samples, Samples], None], *_: object) -> FakeStream:
        assert (rate_hz, block) == (RATE_HZ, BLOCK)
        return fake

    monkeypatch.setattr(duplex_sound, "open_duplex", open_fake)
    return fake


def run_device(sound: DuplexSound, captured: Samples) -> Samples:
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
    with DuplexSound(RATE_HZ) as sound:
        for k in range(100):
            played.append(run_device(sound, heard[k * BLOCK : (k + 1) * BLOCK]))
            if k % 3 == 2:  # a caller that looks in less often than the device turns
                got.append(sound.read())
                wanted = sound.wanted_samples
                sound.write(spoken[position : position + wanted])
                position += wanted
                assert sound.wanted_samples == 0
    assert stream.closed
    np.testing.assert_array_equal(np.concatenate(got), heard[: 99 * BLOCK])
    out = np.concatenate(played)[3 * BLOCK :]
    np.testing.assert_array_equal(out, spoken[: out.size])


def test_missing_sound_is_silence_and_a_dead_device_says_so(stream: FakeStream) -> None:
    with DuplexSound(RATE_HZ) as sound:
        assert not run_device(sound, np.ones(BLOCK, np.float32)).any()
        assert sound.wanted_samples == 3 * BLOCK
        stream.active = False
        with pytest.raises(DeviceError, match="stopped"):
            sound.read()
