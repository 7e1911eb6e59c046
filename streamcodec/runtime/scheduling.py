"""Priority and cores of the thread that steps a stream.

Neither makes a frame cheaper: they keep others from coming between (see ``docs/performance.md`` for what was
measured).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal, get_args

from streamcodec.errors import SchedulingError

Priority = Literal["normal", "high", "real-time"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)
HIGH_NICENESS = -10
REAL_TIME_LEVEL = 10
"""Of 1 to 99: above every ordinary thread, below the threads of sound servers and of the kernel."""


@dataclass(frozen=True)
class Scheduling:
    """How a thread is to be scheduled; ``cores`` empty: any.

    ``"high"`` is a niceness of -10, ``"real-time"`` round-robin real time, which an ordinary thread never interrupts:
    one that never sleeps can starve a core. Both need permission on most systems.
    """

    priority: Priority = "normal"
    cores: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.priority not in PRIORITIES:
            raise SchedulingError(f"priority must be one of {', '.join(PRIORITIES)}, got {self.priority!r}")

    def apply(self) -> None:
        """To the calling thread, and to threads it starts from now on; raises SchedulingError where refused."""
        if self.cores:
            self._keep_to_cores()
        if self.priority == "high":
            self._be_high()
        elif self.priority == "real-time":
            self._be_real_time()

    def _keep_to_cores(self) -> None:
        system: Any = os
        if not hasattr(os, "sched_setaffinity"):
            raise SchedulingError("this system lets no thread choose its cores: leave affinity out")
        try:
            system.sched_setaffinity(0, self.cores)
        except (OSError, ValueError, OverflowError) as error:
            usable = ", ".join(map(str, sorted(system.sched_getaffinity(0))))
            raise SchedulingError(
                f"cores {', '.join(map(str, self.cores))} cannot be used ({error}): this process may run on {usable}"
            ) from error

    def _be_high(self) -> None:
        if not hasattr(os, "setpriority"):
            raise SchedulingError("this system has no niceness: leave priority at 'normal'")
        try:
            os.setpriority(os.PRIO_PROCESS, 0, HIGH_NICENESS)
        except PermissionError as error:
            raise SchedulingError(
                "high priority is not permitted: raise the limit (ulimit -e 30, or 'nice' in limits.conf), "
                "or leave priority at 'normal'"
            ) from error

    def _be_real_time(self) -> None:
        system: Any = os
        if not hasattr(os, "sched_setscheduler"):
            raise SchedulingError("this system has no real-time scheduling from Python: leave priority at 'normal'")
        try:
            system.sched_setscheduler(0, system.SCHED_RR, system.sched_param(REAL_TIME_LEVEL))
        except PermissionError as error:
            raise SchedulingError(
                "real-time priority is not permitted: raise the limit (ulimit -r 20, or 'rtprio' in limits.conf), "
                "or leave priority at 'normal'"
            ) from error
