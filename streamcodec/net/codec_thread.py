"""One thread that runs jobs in order: where a call's codec works, so that the event loop never waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")
Job = Callable[[], Any]
CAPACITY_JOBS = 512


class CodecThread:
    """Start it on the event loop that is to be called back; give it jobs from that loop's thread.

    Bounded: with ``capacity_jobs`` waiting, more are refused and counted, because sound that late is worth nothing.
    """

    def __init__(self, capacity_jobs: int = CAPACITY_JOBS) -> None:
        self._capacity_jobs = capacity_jobs
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="streamcodec-call-codec", daemon=True)
        self._waiting: set[asyncio.Future[Any]] = set()
        self._stopping = False
        self.refused = 0
        """Jobs that came while too many were waiting."""
        self.failure: Exception | None = None
        """What a job raised; nothing runs after it."""

    def start(self) -> None:
        """Begin to work."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Finish the job at hand, drop the others, and end; jobs being awaited are cancelled."""
        self._stopping = True
        self._jobs.put(None)
        await self._loop.run_in_executor(None, self._thread.join)
        for future in list(self._waiting):
            future.cancel()

    def post(self, job: Job, *, refusable: bool = True) -> bool:
        """Have a job done some time; whether it was taken. Never waits."""
        if self._stopping or self.failure is not None:
            return False
        if refusable and self._jobs.qsize() >= self._capacity_jobs:
            self.refused += 1
            return False
        self._jobs.put(job)
        return True

    async def run(self, job: Callable[[], Result], *, refusable: bool = True) -> Result | None:
        """Have a job done and wait for what it returns, without holding up the loop; None if it was refused."""
        future: asyncio.Future[Result] = self._loop.create_future()

        def answered() -> None:
            result = job()
            self.call_back(lambda: None if future.done() else future.set_result(result))

        if not self.post(answered, refusable=refusable):
            return None
        self._waiting.add(future)
        try:
            return await future
        finally:
            self._waiting.discard(future)

    def call_back(self, callback: Callable[[], None]) -> None:
        """From a job: have something done on the event loop."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(callback)

    def _work(self) -> None:
        try:
            while (job := self._jobs.get()) is not None and not self._stopping:
                job()
        except Exception as failure:
            # Kept for whoever asks why the call cannot go on; a thread has nobody to raise it to.
            self.failure = failure
            self.call_back(self._fail)

    def _fail(self) -> None:
        for future in list(self._waiting):
            if not future.done() and self.failure is not None:
                future.set_exception(self.failure)
