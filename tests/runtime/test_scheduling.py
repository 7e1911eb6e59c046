"""Priority and cores: given where the system gives them, refused in one sentence where not."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from streamcodec import SchedulingError
from streamcodec.runtime.scheduling import HIGH_NICENESS, Scheduling


def in_thread(work: Callable[[], object]) -> object:
    """What ``work`` gives on a thread of its own, so that this one stays as it is; raises what it raises."""
    found: list[object] = []

    def run() -> None:
        try:
            found.append(work())
        except SchedulingError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(found[0], SchedulingError):
        raise found[0]
    return found[0]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen on this system")
def test_a_thread_keeps_to_its_cores_and_the_others_keep_theirs() -> None:
    before = os.sched_getaffinity(0)
    core = min(before)

    def work() -> set[int]:
        Scheduling(cores=(core,)).apply()
        return os.sched_getaffinity(0)

    assert in_thread(work) == {core}
    assert os.sched_getaffinity(0) == before
    with pytest.raises(SchedulingError, match="cannot be used"):
        in_thread(Scheduling(cores=(100_000,)).apply)


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)


@pytest.mark.skipif(not hasattr(os, "sched_setscheduler"), reason="no real-time scheduling on this system")
@pytest.mark.parametrize("priority", ["high", "real-time"])
def test_priority_is_taken_or_refused_in_words(priority: str) -> None:
    def work() -> tuple[int, int]:
        Scheduling(priority).apply()  # type: ignore[arg-type]
        return os.sched_getscheduler(0), niceness()

    refused: SchedulingError | None = None
    try:
        policy, nice = in_thread(work)  # type: ignore[misc]
    except SchedulingError as error:
        refused = error
    if refused is not None:
        assert "not permitted" in str(refused)
    else:
        assert policy == (os.SCHED_RR if priority == "real-time" else os.SCHED_OTHER)
        assert priority == "real-time" or nice == HIGH_NICENESS
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


@pytest.mark.parametrize(
    ("call", "scheduling"),
    [
        ("sched_setaffinity", Scheduling(cores=(0,))),
        ("setpriority", Scheduling("high")),
        ("sched_setscheduler", Scheduling("real-time")),
    ],
)
def test_systems_without_it_say_so(monkeypatch: pytest.MonkeyPatch, call: str, scheduling: Scheduling) -> None:
    monkeypatch.delattr(os, call, raising=False)
    with pytest.raises(SchedulingError, match="this system"):
        scheduling.apply()


def test_nothing_asked_is_nothing_done(monkeypatch: pytest.MonkeyPatch) -> None:
    for call in ("sched_setaffinity", "setpriority", "sched_setscheduler"):
        monkeypatch.delattr(os, call, raising=False)
    Scheduling().apply()
    with pytest.raises(SchedulingError, match="must be one of"):
        Scheduling("urgent")  # type: ignore[arg-type]
