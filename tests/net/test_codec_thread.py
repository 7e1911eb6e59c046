"""The thread that codes for a call: order, bounds, failures, and a loop that never waits."""

from __future__ import annotations

import asyncio
import threading

import pytest

from streamcodec.net.codec_thread import CodecThread
from tests.helpers.relay import run, until


def test_jobs_run_in_order_away_from_the_loop() -> None:
    async def test() -> None:
        codec, done = CodecThread(), []
        codec.start()
        for index in range(100):
            assert codec.post(lambda index=index: done.append((index, threading.current_thread())))  # type: ignore[misc]
        assert await codec.run(lambda: len(done)) == 100
        assert [index for index, _ in done] == list(range(100))
        assert threading.current_thread() not in {thread for _, thread in done}
        before = threading.active_count()
        await codec.stop()
        assert threading.active_count() == before - 1 or threading.active_count() <= before
        assert not codec.post(lambda: None)

    run(test())


def test_a_codec_that_hangs_holds_up_nobody_and_its_queue_is_bounded() -> None:
    async def test() -> None:
        codec, free = CodecThread(capacity_jobs=8), threading.Event()
        codec.start()
        codec.post(free.wait)
        ticks = 0
        while ticks < 50:
            codec.post(lambda: None)
            await asyncio.sleep(0)
            ticks += 1
        assert codec.refused >= 40
        # Whoever asks for sound meanwhile is told that there is none; what must not be lost is still taken.
        assert await codec.run(lambda: "sound") is None
        assert codec.post(lambda: None, refusable=False)
        free.set()
        await until(lambda: codec.post(lambda: None))
        assert await codec.run(lambda: "sound") == "sound"
        await codec.stop()

    run(test())


def test_a_failure_is_kept_and_reaches_those_who_wait() -> None:
    async def test() -> None:
        codec, begun = CodecThread(), threading.Event()
        codec.start()

        def fail() -> None:
            begun.wait(5)
            raise ValueError("broken codec")

        codec.post(fail)
        waiting = asyncio.create_task(codec.run(lambda: "never"))
        await asyncio.sleep(0.01)
        begun.set()
        with pytest.raises(ValueError, match="broken codec"):
            await waiting
        assert isinstance(codec.failure, ValueError)
        assert not codec.post(lambda: None)
        await codec.stop()

    run(test())


def test_those_who_wait_when_it_stops_are_let_go() -> None:
    async def test() -> None:
        codec, free = CodecThread(), threading.Event()
        codec.start()
        codec.post(free.wait)
        waiting = asyncio.create_task(codec.run(lambda: "never"))
        await asyncio.sleep(0.01)
        stopping = asyncio.create_task(codec.stop())
        await asyncio.sleep(0.01)
        free.set()
        await stopping
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run(test())
