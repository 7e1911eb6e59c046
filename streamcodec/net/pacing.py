"""Sound pushed faster than it is spoken, let out at the pace at which it is heard."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from streamcodec.errors import StreamcodecError
from streamcodec.net.time_scale import Samples

AHEAD_S = 0.12
"""What may be sent before its time: a listener's buffer takes that much at once."""
SPEED = 1.01
"""A little faster than real time, so that a sound device whose clock is fast never builds up a queue."""
BLOCK_S = 0.02
LONGEST_QUEUE_S = 600.0
LEAST_PAUSE_S = 0.05
"""Nothing pushed for so long beyond what was sent is a pause. Pauses not told add up for a listener, who takes them
for a queue that grows; whoever was merely late, and makes up for it, is early from then on: that is told once."""


class Pacer:
    """Blocks in at any pace, out at that of the clock through ``send``; on one thread, with the caller's clock.

    ``pause(seconds)`` is called before what comes after a pause of whoever pushes.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        send: Callable[[Samples], None],
        pause: Callable[[float], None] = lambda pause_s: None,
    ) -> None:
        self._rate_hz = sample_rate_hz
        self._send = send
        self._pause = pause
        self._queue: deque[Samples] = deque()
        self._queued_samples = 0
        self._until_s = float("-inf")
        self._passing = False
        """Whether the last that went out did not wait here."""

    @property
    def queued_s(self) -> float:
        """Sound that waits for its time, in seconds."""
        return self._queued_samples / self._rate_hz

    def push(self, samples: Samples, now_s: float) -> None:
        """Take a block of any length. Errors: StreamcodecError where more than ten minutes would wait."""
        if self.queued_s + len(samples) / self._rate_hz > LONGEST_QUEUE_S:
            raise StreamcodecError(
                f"more than {LONGEST_QUEUE_S:g} s of sound wait to be sent: it goes out at the pace at which it is "
                "heard; wait for it with drained(), or drop it with clear()"
            )
        block = max(1, round(BLOCK_S * self._rate_hz))
        for start in range(0, len(samples), block):
            piece = samples[start : start + block]
            self._queue.append(piece)
            self._queued_samples += len(piece)
        self.step(now_s)

    def step(self, now_s: float) -> float | None:
        """Send what is due; seconds until there is more to do, None where nothing waits."""
        if not self._queue:
            return None
        self._note_pause(now_s)
        self._passing = False
        while self._queue and self._until_s - now_s < AHEAD_S:
            piece = self._queue.popleft()
            self._queued_samples -= len(piece)
            self._until_s += len(piece) / self._rate_hz / SPEED
            self._send(piece)
        return self._until_s - now_s - AHEAD_S + 0.001 if self._queue else None

    def passed_by(self, now_s: float) -> None:
        """Sound goes out without waiting here, at a device's own pace: no pause but before the first of it."""
        if self._passing:
            self._until_s = max(self._until_s, now_s)
        else:
            self._note_pause(now_s)
        self._passing = True

    def clear(self) -> float:
        """Drop what waits; seconds of sound dropped."""
        dropped_s = self.queued_s
        self._queue.clear()
        self._queued_samples = 0
        return dropped_s

    def _note_pause(self, now_s: float) -> None:
        pause_s = now_s - self._until_s
        if LEAST_PAUSE_S <= pause_s < math.inf:
            self._pause(pause_s)
        self._until_s = max(self._until_s, now_s)
