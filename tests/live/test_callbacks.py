"""What runs on a device's thread: no memory that stays, no garbage to collect, no lock, whatever the codec does."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcodec.live import LoopbackConfig, LoopbackEngine
from streamcodec.live.sound_devices import Loudspeaker, Microphone
from streamcodec.live.wake_up import WakeUp
from tests.helpers.traced_memory import traced_stretches

Samples = NDArray[np.float32]
Callback = Callable[[Samples, Samples], None]
BLOCK = 480
CALLBACKS = 5_000


def loopback(*, record: bool) -> Callback:
    engine = LoopbackEngine(LoopbackConfig(), record=record)
    wake_up = WakeUp()

    def on_block(captured: Samples, played: Samples) -> None:
        engine.callback(captured, played)
        wake_up.ring()

    return on_block


def halves() -> Callback:
    microphone, loudspeaker = Microphone(48_000, lambda: None), Loudspeaker(48_000, lambda: None)

    def on_block(captured: Samples, played: Samples) -> None:
        microphone.take(captured)
        loudspeaker.give(played)

    return on_block


CALLBACKS_OF = {
    "loopback": lambda: loopback(record=False),
    "loopback that records": lambda: loopback(record=True),
    "call": halves,
}


@pytest.fixture(params=CALLBACKS_OF)
def callback(request: pytest.FixtureRequest) -> Callback:
    made: Callback = CALLBACKS_OF[request.param]()
    return made


@pytest.fixture
def blocks() -> tuple[Samples, Samples]:
    captured = np.random.default_rng(1).normal(0, 0.1, (BLOCK, 2)).astype(np.float32)
    return captured, np.zeros((BLOCK, 2), np.float32)


@pytest.fixture
def collections() -> Iterator[list[str]]:
    """Every pass of the garbage collector while the test runs."""
    seen: list[str] = []

    def note(phase: str, info: dict[str, int]) -> None:
        seen.append(f"{phase} of generation {info['generation']}")

    gc.collect()
    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)


def test_thousands_of_callbacks_allocate_no_array_and_keep_nothing(
    callback: Callback, blocks: tuple[Samples, Samples]
) -> None:
    callback(*blocks)

    def call(times: int) -> None:
        for _ in range(times):
            callback(*blocks)

    stretches = list(traced_stretches(lambda: call(100), lambda: call(CALLBACKS // 5), 5))
    # What a callback makes for a moment are views and numbers; the smallest array of samples would show.
    assert max(stretch.peak_bytes for stretch in stretches) < BLOCK * blocks[0].itemsize, stretches
    # Counters grow by a few bytes as numbers get longer, over all of the calls.
    assert min(stretch.kept_bytes for stretch in stretches) < 256, stretches


def test_thousands_of_callbacks_leave_nothing_to_the_garbage_collector(
    callback: Callback, blocks: tuple[Samples, Samples], collections: list[str]
) -> None:
    callback(*blocks)
    collections.clear()
    allocated = sys.getallocatedblocks()
    for _ in range(CALLBACKS):
        callback(*blocks)
    assert sys.getallocatedblocks() - allocated < 50
    assert collections == []


def test_a_codec_that_hangs_holds_up_no_callback(blocks: tuple[Samples, Samples]) -> None:
    """The codec's thread stops in the middle of a packet; the device is served all the same."""
    engine, inside, free = LoopbackEngine(LoopbackConfig()), threading.Event(), threading.Event()

    def hang() -> float:
        inside.set()
        free.wait(30)
        return 0.0

    engine._clock_s = hang
    for _ in range(4):
        engine.callback(*blocks)
    codec = threading.Thread(target=engine.process, daemon=True)
    codec.start()
    assert inside.wait(10)
    for _ in range(CALLBACKS):
        engine.callback(*blocks)
    assert codec.is_alive()
    assert engine.stats().underruns > CALLBACKS - 20
    free.set()
    codec.join(10)
    assert not codec.is_alive()


def test_callbacks_take_no_lock(
    callback: Callback, blocks: tuple[Samples, Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profiler sees every function that is called, in Python and in C: none of them waits."""
    called: set[str] = set()

    def note(frame: object, event: str, argument: object) -> None:
        if event == "c_call":
            called.add(getattr(argument, "__qualname__", str(argument)))

    callback(*blocks)
    sys.setprofile(note)
    try:
        for _ in range(300):
            callback(*blocks)
    finally:
        sys.setprofile(None)
    waiting = {"acquire", "wait", "join", "sleep", "get", "put", "select", "write", "flush", "__enter__"}
    assert {name.rpartition(".")[2] for name in called} & waiting == set()
    assert called
