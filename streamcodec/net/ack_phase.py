"""When to send over the relay, so that TCP need not acknowledge by segments of their own.

Two who talk to each other acknowledge with what they say, as long as each says something within 40 ms of hearing
something (delayed acknowledgements of Linux and Windows) and does not hear twice before it speaks. Whether they do is
a matter of the phase between their packets, which chance decides: at 60 ms bare acknowledgements can cost 5 kbps each
way. Where many are seen, the one whose packets go out soon after the other's have come holds them back a little,
until each speaks about midway between two packets of the other. Where packets come and go irregularly there is no
phase to choose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

LONGEST_HOLD_MS = 32.0
INTERVAL_MS = 750.0
LEAST_PACKETS = 6
FEW = 0.05
"""Bare acknowledgements, beside packets sent, that are borne."""
SOON, AT_ONCE = 0.4, 0.1
"""Shares of the time between two packets within which one is soon, or as good as together."""
LEAST_COHERENCE = 0.5
"""Where packets go and come as irregularly as this, there is no phase (1: always the same, 0: any)."""
REST_MS = 60_000.0
"""Holding did not help: other things decide, such as a long way."""


@dataclass(frozen=True, slots=True)
class Segments:
    """Counts of a TCP connection since its start, both ways together."""

    bare: int
    """Without data: acknowledgements."""
    data_sent: int


class AckPhase:
    """Tell it what goes and comes and what TCP counts; :attr:`hold_ms` is for how long to hold packets back.

    Times: milliseconds of any one clock.
    """

    def __init__(self) -> None:
        self.hold_ms = 0.0
        self._heard_ms: float | None = None
        self._sent_ms: float | None = None
        self._period_ms = 0.0
        self._cosine = self._sine = 0.0
        self._noted: tuple[float, Segments] | None = None
        self._resting_until_ms = float("-inf")

    def hear(self, now_ms: float) -> None:
        """A packet came."""
        self._heard_ms = now_ms

    def send(self, now_ms: float) -> None:
        """A packet goes out, held back or not."""
        if self._sent_ms is not None:
            since_ms = now_ms - self._sent_ms
            weight = 1.0 if self._period_ms == 0.0 else 0.2
            if 5.0 <= since_ms <= 150.0:
                self._period_ms += weight * (since_ms - self._period_ms)
        self._sent_ms = now_ms
        if self._heard_ms is not None and self._period_ms > 0.0:
            angle = 2.0 * math.pi * (now_ms - self._heard_ms) / self._period_ms
            self._cosine += 0.2 * (math.cos(angle) - self._cosine)
            self._sine += 0.2 * (math.sin(angle) - self._sine)

    def note(self, segments: Segments, first: bool, now_ms: float) -> None:
        """Take TCP's counts, several times a second. ``first``: which of the two gives way if they send together."""
        if self._noted is None or now_ms - self._noted[0] > 2.0 * INTERVAL_MS:
            self._noted = now_ms, segments
            return
        since_ms, before = self._noted
        sent = segments.data_sent - before.data_sent
        if now_ms - since_ms < INTERVAL_MS or sent < LEAST_PACKETS:
            return
        self._noted = now_ms, segments
        if segments.bare - before.bare > FEW * sent and now_ms >= self._resting_until_ms:
            self._shift(first, now_ms)

    def _shift(self, first: bool, now_ms: float) -> None:
        if math.hypot(self._sine, self._cosine) < LEAST_COHERENCE:
            return
        turn = math.atan2(self._sine, self._cosine) / (2.0 * math.pi)
        if abs(turn) < AT_ONCE and not first:
            return
        if not -AT_ONCE < turn < SOON:
            return
        wanted_ms = self.hold_ms + (0.5 - turn) * self._period_ms
        if self.hold_ms > 0.0 and wanted_ms > LONGEST_HOLD_MS:
            self.hold_ms, self._resting_until_ms = 0.0, now_ms + REST_MS
            return
        self.hold_ms = min(LONGEST_HOLD_MS, wanted_ms)
        # The phase is to be measured anew, and what was counted on the way to say nothing of it.
        self._cosine = self._sine = 0.0
        self._noted = None
