"""Streams of devices that end by themselves: opened again, given up, or closed meanwhile."""

from __future__ import annotations

import threading

import pytest

from streamcodec.live import DeviceError, lasting_stream
from streamcodec.live.lasting_stream import MOST_REOPENINGS, LastingStream
from tests.helpers.fake_stream import FakeStream, look_until


class Device:
    """Opens streams, or fails as many times as it is told to."""

    def __init__(self) -> None:
        self.opened: list[FakeStream] = []
        self.refusals = 0

    def open(self) -> FakeStream:
        if self.refusals:
            self.refusals -= 1
            raise DeviceError("busy")
        self.opened.append(FakeStream())
        return self.opened[-1]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting_stream, "PAUSES_S", (0.0, 0.0, 0.0))


def test_nothing_happens_while_it_runs() -> None:
    device = Device()
    stream = LastingStream(device.open)
    stream.start()
    for _ in range(100):
        stream.keep()
    stream.close()
    stream.close()
    assert len(device.opened) == 1
    assert device.opened[0].closed
    assert stream.reopened == 0


def test_a_stream_that_ended_is_closed_and_another_started() -> None:
    device = Device()
    stream = LastingStream(device.open)
    stream.start()
    device.opened[0].active = False
    device.refusals = 2  # a sound server that is just starting again
    look_until(stream.keep, lambda: stream.reopened == 1)
    first, second = device.opened
    assert (first.closed, second.active, second.closed) == (True, True, False)
    stream.close()
    assert second.closed


def test_a_device_that_does_not_start_is_closed_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device()
    stream = LastingStream(device.open)
    stream.start()

    def refuse(_: FakeStream) -> None:
        raise DeviceError("cannot be started")

    monkeypatch.setattr(FakeStream, "start", refuse)
    device.opened[0].active = False
    with pytest.raises(DeviceError, match="unplugged") as raised:
        look_until(stream.keep, lambda: False)
    assert "cannot be started" in str(raised.value.__cause__)
    stream.close()
    assert len(device.opened) == 4
    assert all(each.closed for each in device.opened)


def test_a_device_that_keeps_ending_its_stream_is_given_up() -> None:
    device = Device()
    stream = LastingStream(device.open)
    stream.start()

    def fail_at_once() -> bool:
        device.opened[-1].active = False
        return False

    with pytest.raises(DeviceError, match="unplugged"):
        look_until(stream.keep, fail_at_once)
    assert stream.reopened == MOST_REOPENINGS
    stream.close()
    assert all(each.closed for each in device.opened)


def test_it_closes_while_it_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lasting_stream, "PAUSES_S", (0.0, 60.0))
    device = Device()
    stream = LastingStream(device.open)
    stream.start()
    device.opened[0].active = False
    device.refusals = 1
    look_until(stream.keep, lambda: device.refusals == 0)
    stream.close()
    assert not any(thread.name == "streamcodec-reopen" for thread in threading.enumerate())
    assert len(device.opened) == 1
