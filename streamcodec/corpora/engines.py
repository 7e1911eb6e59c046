"""Where jobs run: in processes of this machine, or on a Ray cluster whose machines share the two folders."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import wait as wait_for_sentinel
from typing import Any, Literal, cast

from streamcodec.corpora.manifest import Entry
from streamcodec.corpora.work import Job, prepare_worker, run_job
from streamcodec.errors import StreamcodecError
from streamcodec.extras import command_for

Engine = Literal["processes", "ray"]
ENGINES: tuple[Engine, ...] = ("processes", "ray")
JOBS_AHEAD = 2
"""Jobs handed out for each worker, so that none waits for the next."""


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(jobs: Sequence[Job], engine: Engine = "processes", workers: int | None = None) -> Iterator[list[Entry]]:
    """Entries of each job as it is done, in no order. Raises StreamcodecError where an engine is not there."""
    if engine == "ray":
        yield from _on_ray(jobs, workers)
    elif (workers or usable_cores()) == 1 or len(jobs) <= 1:
        for job in jobs:
            yield run_job(job)
    else:
        yield from _in_processes(jobs, min(workers or usable_cores(), len(jobs)))


def _in_processes(jobs: Sequence[Job], workers: int) -> Iterator[list[Entry]]:
    # Spawned, not forked: a fork of a process with threads (onnxruntime's) may hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker)
    pending: set[Future[list[Entry]]] = set()
    coming = iter(jobs)
    try:
        while True:
            for job in islice(coming, JOBS_AHEAD * workers - len(pending)):
                pending.add(pool.submit(run_job, job))
            if not pending:
                break
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    except BrokenProcessPool as error:
        raise StreamcodecError(
            "a worker was killed, perhaps for want of memory: give the same command again, which goes on where this "
            "one stopped, with fewer --workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Ctrl-C is the parent's to answer; a worker whose parent is gone, however it went, goes too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    prepare_worker()


def _end_with(sentinel: int) -> None:
    wait_for_sentinel([sentinel])
    os._exit(1)


def _on_ray(jobs: Iterable[Job], workers: int | None) -> Iterator[list[Entry]]:
    if importlib.util.find_spec("ray") is None:
        raise StreamcodecError(f"--engine ray needs Ray: run '{command_for('ray')}' and try again")
    import ray

    started = not ray.is_initialized()
    if started:
        # Ray reports its use to its makers unless it is told not to.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        # A cluster that RAY_ADDRESS names, or one of this machine.
        ray.init(num_cpus=None if os.environ.get("RAY_ADDRESS") else workers, log_to_driver=False)
    try:
        remote = ray.remote(num_cpus=1)(run_job)
        most = JOBS_AHEAD * (workers or max(1, int(ray.cluster_resources().get("CPU", 1))))
        coming = iter(jobs)
        pending: list[Any] = []
        while True:
            pending += [remote.remote(job) for job in islice(coming, most - len(pending))]
            if not pending:
                break
            done, pending = ray.wait(pending, num_returns=1)
            for found in done:
                yield cast(list[Entry], ray.get(found))
    finally:
        if started:
            ray.shutdown()
